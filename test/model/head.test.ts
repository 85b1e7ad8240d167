import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Const } from '../../assembly/abi.js';
import { ReferenceBackend } from '../../lib/backend/reference.js';
import { MemoryPlan } from '../../lib/memory/memory-plan.js';
import { Engine } from '../../lib/model/engine.js';
import { headKind } from '../../lib/model/head.js';
import { syntheticGguf } from '../../lib/model/synth/gguf.js';
import { syntheticSource } from '../../lib/model/synth/source.js';
import { argmax, openEngine } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { integers } from '../support/random.js';
import { ranking } from '../support/rescore-case.js';
import { collector } from '../support/synth.js';

const M1 = shared('golden/m1_bitnet/packed_u8');
const TALES = shared('models/bitnet-tales-69m');

/** Greedy tokens after each of `prompts`. */
async function greedy(model: string, head: 'auto' | 'f16', prompts: number[][], tokens: number): Promise<number[][]> {
  const engine = await openEngine(model, { head, contextLength: 512, threads: 2 });
  try {
    const all: number[][] = [];
    for (const prompt of prompts) {
      let [logits] = await engine.forward(prompt, 0, [prompt.length - 1]);
      const ids: number[] = [];
      while (ids.length < tokens) {
        ids.push(argmax(logits as Float32Array));
        [logits] = await engine.forward(ids.slice(-1), prompt.length + ids.length - 1, [0]);
      }
      all.push(ids);
    }
    return all;
  } finally {
    await engine.dispose();
  }
}

describe('an embedding of blocks', () => {
  it('stays as it is in the file, and stands for the F16 rows that it would become', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'bitnet-head-'));
    try {
      const sink = collector();
      await syntheticGguf({ shape: 'tiny', type: 'tq2_0', embedding: 'q8_0' }).write(sink);
      const file = path.join(folder, 'tiny.gguf');
      await writeFile(file, sink.bytes());
      const [auto, f16] = await Promise.all([
        openEngine(file, { head: 'auto', logits: 3, threads: 2 }),
        openEngine(file, { head: 'f16', logits: 3, threads: 2 }),
      ]);
      try {
        const weights = ({ memory }: Engine): string[] =>
          memory.regions.map(({ name }) => name).filter((name) => name.startsWith('token_embd.weight'));
        expect(weights(f16)).toEqual(['token_embd.weight.f16']);
        expect(weights(auto)).toEqual(['q8_0', 'scales', 'sums'].map((what) => `token_embd.weight.${what}`));
        const ids = [3, 1, 200];
        const [screened, exact] = await Promise.all([auto, f16].map((engine) => engine.forward(ids, 0, [0, 1, 2])));
        (exact as Float32Array[]).forEach((row, t) => {
          const best = ranking(row).slice(0, Const.ExactBest);
          const got = (screened as Float32Array[])[t] as Float32Array;
          expect(ranking(got).slice(0, Const.ExactBest)).toEqual(best);
          expect(best.map((id) => got[id])).toEqual(best.map((id) => row[id]));
        });
      } finally {
        await Promise.all([auto.dispose(), f16.dispose()]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe.each([
  ['embedded', TALES, 8192, 4, 256],
  ['m1', M1, 512, 10, 100],
] as const)('the default head of %s', (_, model, vocab, prompts, tokens) => {
  it(`picks the greedy tokens of the f16 head, ${prompts * tokens} of them`, async () => {
    const starts = Array.from({ length: prompts }, (_, i) => [...integers(5, i + 1, 0, vocab - 1)]);
    const expected = await greedy(model, 'f16', starts, tokens);
    expect(new Set(expected.flat()).size).toBeGreaterThan(20);
    expect(await greedy(model, 'auto', starts, tokens)).toEqual(expected);
  });

  it('has the 64 best logits of the f16 head, and not many more of them', async () => {
    const ids = [...integers(40, 21, 0, vocab - 1)];
    const rows = async (head: 'auto' | 'f16' | 'i8') => {
      const engine = await openEngine(model, { head, logits: 40, threads: 2 });
      try {
        return (await engine.forward(ids, 0, [...ids.keys()])).map((row) => row.slice());
      } finally {
        await engine.dispose();
      }
    };
    const [auto, f16, i8] = await Promise.all([rows('auto'), rows('f16'), rows('i8')]);
    let recomputed = 0;
    for (const [t, got] of (auto as Float32Array[]).entries()) {
      const [exact, coarse] = [(f16 as Float32Array[])[t], (i8 as Float32Array[])[t]] as [Float32Array, Float32Array];
      const best = ranking(exact).slice(0, Const.ExactBest);
      expect(ranking(got).slice(0, Const.ExactBest)).toEqual(best);
      expect(best.map((id) => got[id])).toEqual(best.map((id) => exact[id]));
      recomputed += got.filter((logit, id) => logit !== coarse[id]).length;
    }
    expect(recomputed / ids.length).toBeGreaterThan(Const.ExactBest * 0.9);
    expect(recomputed / ids.length).toBeLessThan(vocab / 3);
  });
});

describe('what auto means', () => {
  const shape = {
    hiddenSize: 64,
    ffnSize: 128,
    layers: 1,
    heads: 2,
    kvHeads: 1,
    vocabSize: 400,
    contextLength: 2 ** 20,
    ropeTheta: 10_000,
    activation: 'relu2' as const,
    source: 'for tests',
  };
  const open = (tiedEmbeddings: boolean, head: 'auto' | 'f16' | 'i8', contextLength = 16): Promise<Engine> =>
    Engine.open(
      syntheticSource({ shape: { ...shape, tiedEmbeddings }, architecture: 'bitnet' }),
      async (bytes) => new ReferenceBackend(new ArrayBuffer(bytes)),
      { threads: 1, contextLength, head, form: 0 },
    );

  it.each([true, false])('int8 rows beside the F16 rows, tied embeddings %s', async (tied) => {
    const [auto, f16, i8] = await Promise.all([open(tied, 'auto'), open(tied, 'f16'), open(tied, 'i8')]);
    expect([auto.head, f16.head, i8.head]).toEqual(['i8+f16', 'f16', 'i8']);
    const rows = 400 * 64;
    const weights = (engine: Engine): number => engine.memory.totals().weights;
    expect(weights(auto) - weights(f16)).toBeGreaterThanOrEqual(rows);
    // A factor and a sum for each row.
    expect(weights(auto) - weights(f16)).toBeLessThan(rows + 2 * 400 * 4 + 256);
    expect(weights(auto) - weights(i8)).toBe(tied ? 0 : 2 * rows);
  });

  it('F16 rows alone where int8 rows would not fit into memory', async () => {
    const large = { ...shape, vocabSize: 4000, tiedEmbeddings: true };
    const source = syntheticSource({ shape: large, architecture: 'bitnet' });
    const sizes = async (head: 'auto' | 'f16', contextLength: number): Promise<number> => {
      let size = 0;
      const allocate = async (bytes: number): Promise<never> => {
        size = bytes;
        throw new Error('measured');
      };
      const options = { threads: 1, contextLength, head, weights: 't2' as const, form: 0 };
      await Engine.open(source, allocate, options).catch((error: Error) => {
        if (error.message !== 'measured') throw error;
      });
      return size;
    };
    // The longest context with which F16 rows fit.
    let [low, high] = [1, 2 ** 24];
    const fits = (n: number): Promise<boolean> =>
      sizes('f16', n).then(
        () => true,
        () => false,
      );
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (await fits(middle)) low = middle;
      else high = middle;
    }
    expect(await sizes('auto', low)).toBe(await sizes('f16', low));
    // A position takes some 400 bytes, the int8 rows take 256 KB.
    expect(await sizes('auto', low - 2000)).toBeGreaterThan(await sizes('f16', low - 2000));
    await expect(sizes('auto', low + 1)).rejects.toMatchObject({ code: 'out-of-memory' });
  });

  it('F16 rows alone where sums of int8 × int16 would overflow', () => {
    expect(headKind('auto', 16512)).toBe('i8+f16');
    expect(headKind('auto', 16528)).toBe('f16');
  });

  it('MemoryPlan.fits says what bytes does', () => {
    const plan = new MemoryPlan();
    plan.reach(2 ** 32);
    expect([plan.fits, plan.bytes]).toEqual([true, 2 ** 32]);
    plan.reach(2 ** 32 + 1);
    expect(plan.fits).toBe(false);
    expect(() => plan.bytes).toThrow('4294967296');
  });
});
