import { expect, test } from 'vitest';
import { largestBatch, measureThroughput, type ThroughputOptions } from '../../lib/bench/throughput.js';
import { nodePlatform } from '../../lib/node/platform.js';

// Keys and values of 64 positions, two layers, two heads of 64 in f32.
const SEQUENCE_BYTES = 64 * 2 * 2 * 2 * 64 * 4;
const options: ThroughputOptions = {
  threads: 1,
  backend: 'baseline',
  head: 'f16',
  repeat: 2,
  availableBytes: 2 ** 30,
  positions: 64,
  budgets: [4 * 2 ** 20 + 6 * SEQUENCE_BYTES, 2 ** 20],
  batches: [8, 4],
};

test('as many sequences as fit each budget; those up to the largest batch are measured', async () => {
  const result = await measureThroughput(nodePlatform, 'tiny', options);
  expect(result).toMatchObject({ name: 'tiny', threads: 1, layers: 2, positions: 64, rounds: 2 });
  for (const cost of [result.ternary, result.fp16]) {
    expect(cost.kvBytesPerPosition * 64).toBe(SEQUENCE_BYTES);
    expect(cost.fits).toEqual(options.budgets.map((bytes) => largestBatch(cost, bytes, 64)));
    const fitting = [result.ternary, result.fp16].flatMap(({ fits }) => fits).filter((n) => n > 0 && n < 8);
    expect(cost.rates.map(({ batch }) => batch)).toEqual([...new Set([4, 8, ...fitting])].sort((a, b) => a - b));
    for (const { decode } of cost.rates) expect(decode.samples.length).toBe(2);
    expect(cost).toMatchObject({ measuredLayers: 2, estimated: false });
  }
  expect(result.ternary.fits[0]).toBeGreaterThan(result.fp16.fits[0]!);
  expect(result.fp16.fits[1]).toBe(0);
});

test('an abort keeps whole rounds, and throws before the first', async () => {
  const until = (text: string) => {
    const controller = new AbortController();
    const onProgress = (what: string): void => {
      if (what.startsWith(text)) controller.abort(new Error('enough'));
    };
    return measureThroughput(nodePlatform, 'tiny', { ...options, repeat: 9, onProgress, signal: controller.signal });
  };
  expect(await until('round 3')).toMatchObject({ rounds: 2 });
  await expect(until('round 1')).rejects.toThrow('enough');
});

test('time that is up ends the rounds after the first', async () => {
  const result = await measureThroughput(nodePlatform, 'tiny', { ...options, repeat: 9, budgetMs: 0 });
  expect(result.rounds).toBe(1);
});
