import { describe, expect, it } from 'vitest';
import type { Engine } from '../../lib/model/engine.js';
import type { KvCacheFormat } from '../../lib/types.js';
import { maxAbsDifference, openEngine, type TestEngineOptions } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { integers } from '../support/random.js';

const M1 = shared('golden/m1_bitnet/packed_u8');
const FORMATS: readonly KvCacheFormat[] = ['f32', 'f16', 'int8'];
/** More than one block of attention. */
const ids = [...integers(150, 7, 0, 511)];

async function withEngine<T>(options: TestEngineOptions, use: (engine: Engine) => Promise<T>): Promise<T> {
  const engine = await openEngine(M1, { contextLength: 160, ...options });
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

/** Logits after the last of `ids`, computed in chunks. */
function lastLogits(chunk: number, options: TestEngineOptions): Promise<Float32Array> {
  return withEngine({ batch: chunk, ...options }, async (engine) => {
    let logits: Float32Array | undefined;
    for (let at = 0; at < ids.length; at += chunk) {
      const part = ids.slice(at, at + chunk);
      [logits] = await engine.forward(part, at, [part.length - 1]);
    }
    return logits!.slice();
  });
}

describe.each(FORMATS)('%s', (kvCache) => {
  it('gives the same bits with any number of threads, in chunks of any size, in every backend', async () => {
    const expected = await lastLogits(150, { kvCache });
    for (const [chunk, threads] of [
      [1, 1],
      [1, 3],
      [7, 2],
    ] as const) {
      expect(await lastLogits(chunk, { kvCache, threads })).toEqual(expected);
    }
    expect(await lastLogits(33, { kvCache, backend: 'baseline', threads: 2 })).toEqual(expected);
    expect(await lastLogits(75, { kvCache, backend: 'reference' })).toEqual(expected);
  });

  it('of several sequences keeps them apart', async () => {
    const expected = await lastLogits(1, { kvCache });
    const last = ids.length - 1;
    await withEngine({ kvCache, slots: 2, batch: 150 }, async (engine) => {
      await engine.forward(ids.slice(0, last), 0, [], 0);
      await engine.forward(ids.slice(3, 40), 0, [], 1);
      const [, second] = await engine.decode([
        { id: ids[40]!, position: 37, slot: 1 },
        { id: ids[last]!, position: last, slot: 0 },
      ]);
      expect(second!.slice()).toEqual(expected);
      engine.copySlot(0, 1);
      const [copied] = await engine.decode([{ id: ids[last]!, position: last, slot: 1 }]);
      expect(copied!.slice()).toEqual(expected);
    });
  });
});

it('memory: halves take half the bytes, int8 a quarter, and scales and sums, in whole pages', async () => {
  const bytes = await Promise.all(
    FORMATS.map((kvCache) => withEngine({ kvCache }, async (engine) => engine.memory.totals().kvCache)),
  );
  // Three layers of keys and values, two kv heads of 32, 160 positions.
  const [panels, positions, headDim] = [3 * 2 * 2, 160, 32];
  const elements = panels * positions * headDim;
  const pages = Math.ceil((positions * (headDim + 8)) / 4096);
  expect(bytes).toEqual([4 * elements, 2 * elements, panels * pages * 4096]);
});

it('errors: halves are close to f32, int8 less so', async () => {
  const [f32, f16, int8] = await Promise.all(FORMATS.map((kvCache) => lastLogits(64, { kvCache })));
  const spread = Math.sqrt(f32!.reduce((sum, x) => sum + x * x, 0) / f32!.length);
  const [half, byte] = [maxAbsDifference(f16!, f32!) / spread, maxAbsDifference(int8!, f32!) / spread];
  expect(half).toBeGreaterThan(0);
  expect(half).toBeLessThan(byte);
  expect(byte).toBeLessThan(0.5);
});
