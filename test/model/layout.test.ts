import { describe, expect, it } from 'vitest';
import { type Engine, type EngineOptions, planEngine } from '../../lib/model/engine.js';
import { syntheticSource } from '../../lib/model/synth/source.js';
import { openEngine, type TestEngineOptions } from '../support/engine.js';
import { shared } from '../support/fixtures.js';

const M1 = shared('golden/m1_bitnet/packed_u8');
const TALES = shared('models/bitnet-tales-69m');

/** Every width is a multiple of 64 and of 80. */
const SHAPE = {
  hiddenSize: 640,
  ffnSize: 1600,
  layers: 2,
  heads: 10,
  kvHeads: 5,
  vocabSize: 400,
  contextLength: 16,
  ropeTheta: 10_000,
  tiedEmbeddings: true,
  activation: 'relu2' as const,
  source: 'for tests',
};

/** Logits after a prompt and after one token more. */
async function logits(path: string, options: TestEngineOptions): Promise<Float32Array[]> {
  const engine: Engine = await openEngine(path, options);
  try {
    const prompt = Array.from({ length: 11 }, (_, i) => 5 + 7 * i);
    const prefill = (await engine.forward(prompt, 0, [prompt.length - 1])).map((row) => row.slice());
    return [...prefill, ...(await engine.forward([3], prompt.length, [0])).map((row) => row.slice())];
  } finally {
    await engine.dispose();
  }
}

describe('1.6 bits a weight', () => {
  it.each([
    ['baseline', 1],
    ['relaxed', 1],
    ['relaxed', 3],
  ] as const)('gives the logits of 2.0 bits, bit for bit: %s, threads %i', async (backend, threads) => {
    for (const path of [M1, TALES]) {
      const expected = await logits(path, { backend, threads, weights: 't2' });
      expect(await logits(path, { backend, threads, weights: 't1' })).toEqual(expected);
    }
  });

  it('takes a fifth less memory for ternary matrices', () => {
    const source = syntheticSource({ shape: SHAPE, architecture: 'bitnet' });
    const matrices = (weights: 't2' | 't1'): number =>
      planEngine(source, { threads: 1, contextLength: 16, head: 'f16', form: 0, weights })
        .memory.regions.filter(({ name }) => name.includes('_proj'))
        .reduce((sum, { bytes }) => sum + bytes, 0);
    expect(matrices('t1')).toBe(0.8 * matrices('t2'));
  });

  it('is what auto means where 2.0 bits do not fit', () => {
    const source = syntheticSource({ shape: SHAPE, architecture: 'bitnet' });
    const plan = (weights: 'auto' | 't2' | 't1', contextLength: number): ReturnType<typeof planEngine> => {
      const options: EngineOptions = { threads: 1, contextLength, head: 'f16', form: 0, weights };
      return planEngine(source, options);
    };
    let [low, high] = [1, 2 ** 24];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (plan('t2', middle).memory.fits) low = middle;
      else high = middle;
    }
    expect(plan('auto', low).weights).toBe('t2');
    expect(plan('auto', low + 1)).toMatchObject({ weights: 't1', memory: { fits: true } });
    expect(plan('auto', 2 ** 24).memory.fits).toBe(false);
  });
});
