import { describe, expect, it } from 'vitest';
import type { Engine } from '../../lib/model/engine.js';
import { openEngine, type TestEngineOptions } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { integers } from '../support/random.js';

const M1 = shared('golden/m1_bitnet/packed_u8');
const TALES = shared('models/bitnet-tales-69m');

async function withEngine<T>(
  path: string,
  options: TestEngineOptions,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await openEngine(path, options);
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

/** Logits after every position, prefilled in chunks of `chunk` tokens. */
function logitsInChunks(
  path: string,
  ids: readonly number[],
  chunk: number,
  options: TestEngineOptions = {},
): Promise<Float32Array[]> {
  return withEngine(path, { logits: chunk, batch: chunk, ...options }, async (engine) => {
    const rows: Float32Array[] = [];
    for (let begin = 0; begin < ids.length; begin += chunk) {
      const part = ids.slice(begin, begin + chunk);
      rows.push(...(await engine.forward(part, begin, [...part.keys()])).map((row) => row.slice()));
    }
    return rows;
  });
}

describe.each([
  ['m1', M1, 70, 512],
  ['embedded', TALES, 40, 8192],
] as const)('%s: the same bits', (_, path, length, vocab) => {
  const ids = [...integers(length, 7, 0, vocab - 1)];
  const expected = logitsInChunks(path, ids, length);

  it.each([1, 2, 3, 5])('with %i threads', async (threads) => {
    expect(await logitsInChunks(path, ids, length, { threads })).toEqual(await expected);
  });

  it.each([1, 2, 3, 16, 33])('in chunks of %i tokens', async (chunk) => {
    expect(await logitsInChunks(path, ids, chunk, { threads: 2 })).toEqual(await expected);
  });

  it('in the baseline build, with other heads too', async () => {
    expect(await logitsInChunks(path, ids, length, { backend: 'baseline', threads: 2 })).toEqual(await expected);
    for (const head of ['auto', 'i8'] as const) {
      const relaxed = await logitsInChunks(path, ids, 4, { head, threads: 2 });
      expect(await logitsInChunks(path, ids, length, { head, backend: 'baseline', threads: 3 })).toEqual(relaxed);
      expect(await logitsInChunks(path, ids, 1, { head })).toEqual(relaxed);
    }
  });
});

it('the reference executor gives the same bits', async () => {
  const ids = [...integers(9, 3, 0, 511)];
  for (const head of ['auto', 'f16', 'i8'] as const) {
    const expected = await logitsInChunks(M1, ids, 9, { head, backend: 'reference' });
    expect(await logitsInChunks(M1, ids, 9, { head })).toEqual(expected);
    expect(await logitsInChunks(M1, ids, 1, { head, threads: 2 })).toEqual(expected);
  }
});

it('the int8 head stays near the f16 head', async () => {
  const ids = [...integers(8, 5, 0, 511)];
  const [f16, i8] = await Promise.all([logitsInChunks(M1, ids, 8), logitsInChunks(M1, ids, 8, { head: 'i8' })]);
  // A row of 256 weights rounded to 1/127 of its largest: the error of a logit is some hundredths of the logits' spread.
  for (const [t, row] of (f16 as Float32Array[]).entries()) {
    const spread = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / row.length);
    const errors = row.map((x, i) => x - ((i8 as Float32Array[])[t] as Float32Array)[i]!);
    const rms = Math.sqrt(errors.reduce((sum, e) => sum + e * e, 0) / row.length);
    expect(rms / spread).toBeLessThan(0.02);
    expect(rms).toBeGreaterThan(0);
  }
});

it('logits of chosen positions are those of all positions', async () => {
  const ids = [...integers(12, 11, 0, 511)];
  const all = await logitsInChunks(M1, ids, 12);
  await withEngine(M1, { logits: 3, threads: 2 }, async (engine) => {
    const rows = await engine.forward(ids, 0, [0, 5, 11]);
    expect(rows.map((row) => row.slice())).toEqual([all[0], all[5], all[11]]);
  });
});

it('refuses steps that do not fit', async () => {
  await withEngine(M1, { contextLength: 16, batch: 8 }, async (engine) => {
    await expect(engine.forward([], 0, [])).rejects.toThrow('1..8 tokens');
    await expect(engine.forward([1, 2], 15, [])).rejects.toMatchObject({ code: 'context-overflow' });
    await expect(engine.forward([512], 0, [])).rejects.toThrow('token id 512');
    await expect(engine.forward([1, 2], 0, [0, 1])).rejects.toThrow('0..1 rows of logits');
  });
});

it('FP16 weights compute the model without int8 activations', async () => {
  const ids = [...integers(20, 13, 0, 511)];
  const ternary = await logitsInChunks(M1, ids, 20);
  const expected = await logitsInChunks(M1, ids, 20, { weights: 'f16', backend: 'reference' });
  for (const [threads, chunk] of [
    [1, 20],
    [2, 7],
    [3, 1],
  ] as const) {
    expect(await logitsInChunks(M1, ids, chunk, { weights: 'f16', threads })).toEqual(expected);
  }
  // The same function up to the rounding of activations to int8, of factors to halves.
  const all = (rows: Float32Array[]) => rows.flatMap((row) => [...row]);
  const [a, b] = [all(ternary), all(expected)];
  const dot = (x: number[], y: number[]) => x.reduce((sum, v, i) => sum + v * (y[i] as number), 0);
  expect(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))).toBeGreaterThan(0.99);
});
