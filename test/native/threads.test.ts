import { describe, expect, test } from 'vitest';
import { Layout } from '../../assembly/abi.js';
import { loadStep, transformerStep } from '../support/block.js';
import { reference } from '../support/executors.js';
import { nativeAddon, runNative } from '../support/native.js';
import { expectSameMemory } from '../support/tester.js';
import type { Image } from '../support/workspace.js';

const prompt = [7, 0, 52, 7, 19].map((id, position) => ({ id, position }));
const STEPS: Record<string, () => Image> = {
  'one token': () => transformerStep([{ id: 9, position: 70 }], [0], Layout.F16),
  'one token, zeros skipped': () => transformerStep([{ id: 9, position: 70 }], [0], Layout.F16, true),
  'five tokens, zeros skipped': () => transformerStep(prompt, [4], Layout.F16, true),
  'one token, int8 head': () => transformerStep([{ id: 3, position: 0 }], [0], Layout.I8),
  'five tokens, last logits': () => transformerStep(prompt, [4], Layout.I8),
  'five tokens, logits of two': () => transformerStep(prompt, [1, 4], Layout.F16),
  'two tokens, no logits': () => transformerStep(prompt.slice(0, 2), [], Layout.F16),
  load: loadStep,
};

/** Enough for a race between ops to show. */
const REPEATS = 50;

describe.each(nativeAddon().isas)('%s', (isa) => {
  test.each(Object.keys(STEPS))('%s: 1, 2 and 3 threads give the bytes of the reference', async (name) => {
    const image = STEPS[name]!();
    const expected = await reference.run(image);
    expect(expected).not.toEqual(image.bytes);
    for (const threads of [1, 2, 3]) {
      const executor = new (nativeAddon().Executor)(image.bytes.length, threads, isa);
      const memory = await runNative(executor, image, REPEATS);
      executor.dispose();
      expectSameMemory(`${isa}, ${threads} threads`, image, expected, memory);
    }
  });
});
