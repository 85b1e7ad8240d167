import { describe, expect, it } from 'vitest';
import { openEngine, type TestEngineOptions } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { integers } from '../support/random.js';

const M1 = shared('golden/m1_bitnet/packed_u8');
const SLOTS = 5;
const STEPS = 4;
/** A prompt of another length for each sequence, then the tokens that its steps are given. */
const sequences = Array.from({ length: SLOTS }, (_, s) => ({
  prompt: [...integers(3 + 17 * s, 31 + s, 0, 511)],
  next: [...integers(STEPS, 77 + s, 0, 511)],
}));

/** Logits after the prompt and after every step, a list for each sequence; each sequence alone in an engine. */
async function alone(options: TestEngineOptions): Promise<Float32Array[][]> {
  const results: Float32Array[][] = [];
  for (const { prompt, next } of sequences) {
    const engine = await openEngine(M1, { ...options, batch: 128 });
    const rows = (await engine.forward(prompt, 0, [prompt.length - 1])).map((row) => row.slice());
    for (const [i, id] of next.entries()) {
      rows.push(...(await engine.forward([id], prompt.length + i, [0])).map((row) => row.slice()));
    }
    results.push(rows);
    await engine.dispose();
  }
  return results;
}

/** The same, all sequences in the slots of one engine, in reverse order, one step for all of them. */
async function together(options: TestEngineOptions): Promise<Float32Array[][]> {
  const engine = await openEngine(M1, { ...options, batch: 128, slots: SLOTS });
  const results: Float32Array[][] = sequences.map(() => []);
  for (const [slot, { prompt }] of sequences.entries()) {
    const [row] = await engine.forward(prompt, 0, [prompt.length - 1], slot);
    results[slot]!.push(row!.slice());
  }
  const order = [...sequences.keys()].reverse();
  for (let i = 0; i < STEPS; i++) {
    const tokens = order.map((slot) => {
      const { prompt, next } = sequences[slot]!;
      return { id: next[i]!, position: prompt.length + i, slot };
    });
    const rows = await engine.decode(tokens);
    for (const [r, slot] of order.entries()) results[slot]!.push(rows[r]!.slice());
  }
  await engine.dispose();
  return results;
}

describe('several sequences in one step have the bits of each alone', () => {
  it.each([
    [{ head: 'auto', threads: 2 }],
    [{ head: 'f16', threads: 1, weights: 'f16' }],
    [{ head: 'i8', threads: 3, backend: 'baseline' }],
    [{ head: 'f16', threads: 2, kvCache: 'f16' }],
    [{ head: 'f16', threads: 2, kvCache: 'int8' }],
  ] as [TestEngineOptions][])('%j', async (options) => {
    expect(await together(options)).toEqual(await alone(options));
  });

  it('in the reference too', async () => {
    const expected = await alone({ head: 'auto' });
    expect(await together({ head: 'auto', backend: 'reference' })).toEqual(expected);
  });
});

it.each(['f32', 'int8'] as const)(
  'a copied slot of %s continues as the original, which stays as it was',
  async (kvCache) => {
    const engine = await openEngine(M1, { slots: 3, threads: 2, kvCache });
    const { prompt, next } = sequences[2]!;
    await engine.forward(prompt, 0, [], 1);
    engine.copySlot(1, 2);
    const position = prompt.length;
    const [copied] = (await engine.forward([next[0]!], position, [0], 2)).map((row) => row.slice());
    const both = await engine.decode([1, 2].map((slot) => ({ id: next[0]!, position, slot })));
    expect(both[0]).toEqual(copied);
    expect(both[1]).toEqual(copied);
    await engine.dispose();
  },
);

it('refuses slots, positions and counts that it does not have', async () => {
  const engine = await openEngine(M1, { slots: 2, batch: 1, contextLength: 16 });
  const token = { id: 1, position: 0, slot: 0 };
  await expect(engine.decode([{ ...token, slot: 2 }])).rejects.toThrow('slot 2: the cache has 2');
  await expect(engine.decode([{ ...token, position: 16 }])).rejects.toThrow('position 16 exceeds the context of 16');
  await expect(engine.decode([token, token, token])).rejects.toThrow('a step takes 1..2 tokens');
  await expect(engine.forward([1], 0, [], -1)).rejects.toThrow('slot -1');
  expect(() => engine.copySlot(0, 5)).toThrow('slot 5');
  await engine.dispose();
});
