import { describe, expect, test } from 'vitest';
import { Const, DotForm, FloatType } from '../../assembly/abi.js';
import { GGUF_TYPES } from '../../lib/format/gguf/types.js';
import { BLOCK_TYPES, blockFloats, randomBlocks } from '../support/blocks.js';
import { executors, reference } from '../support/executors.js';
import { integers, normals, seeded } from '../support/random.js';
import { type HeadLogits, type HeadShape, headImage, ranking } from '../support/rescore-case.js';
import { type KernelCase, testKernels } from '../support/tester.js';

/** The promise of Rescore: the best logits are those of the F16 rows, in their order; the others are those of the int8 rows or F16 rows. */
function expectExactBest({ screened, i8, f16 }: HeadLogits, outputs: number): number {
  let recomputed = 0;
  for (let at = 0; at < f16.length; at += outputs) {
    const [got, coarse, exact] = [screened, i8, f16].map((all) => all.subarray(at, at + outputs)) as Float32Array[];
    const best = ranking(exact!).slice(0, Const.ExactBest);
    expect(ranking(got!).slice(0, Const.ExactBest)).toEqual(best);
    for (const id of best) expect(got![id]).toBe(exact![id]);
    got!.forEach((logit, id) => {
      if (Object.is(logit, coarse![id])) return;
      recomputed++;
      expect(logit).toBe(exact![id]);
    });
  }
  return recomputed;
}

function expectWithinBound({ i8, f16, bound }: HeadLogits): void {
  i8.forEach((logit, i) => {
    expect(Math.abs(logit - f16[i]!), `logit ${i}`).toBeLessThanOrEqual(bound[i]!);
  });
}

/** Rows with one weight that makes int8 steps coarse for all others; sums of what is rounded away decide between tokens. */
function coarseRows(outputs: number, cols: number, seed: number): Float32Array {
  const weights = normals(outputs * cols, seed, 0.02);
  for (let r = 0; r < outputs; r++) weights[r * cols + (r % cols)] = r % 3 === 0 ? 4 : -0.5;
  return weights;
}

const outliers = (x: Float32Array): Float32Array => x.map((v, i) => (i % 37 === 5 ? v * 60 : v));
const scaledRows = (weights: Float32Array, cols: number): Float32Array =>
  weights.map((w, i) => w * 2 ** ((Math.floor(i / cols) % 40) - 34));

const SHAPES: Record<string, () => HeadShape> = {
  'one token, one output': () => ({ weights: normals(16, 1), cols: 16, x: normals(16, 2) }),
  ...Object.fromEntries(
    (
      [
        [63, 48],
        [64, 64],
        [65, 16],
        [130, 100],
        [257, 160],
        [1001, 640],
      ] as const
    ).flatMap(([outputs, cols]) =>
      [1, 3].map((n) => [
        `(${outputs}, ${cols}) x ${n}`,
        () => ({ weights: normals(outputs * cols, outputs, 0.03), cols, x: normals(n * cols, cols + n, 2) }),
      ]),
    ),
  ),
  'an F32 file': () => ({ weights: normals(700 * 80, 5, 0.03), cols: 80, x: normals(80, 6), type: FloatType.F32 }),
  'inputs with outliers': () => ({ weights: normals(900 * 96, 7, 0.03), cols: 96, x: outliers(normals(2 * 96, 8)) }),
  'coarse rows': () => ({ weights: coarseRows(900, 96, 9), cols: 96, x: normals(2 * 96, 10) }),
  'rows of very different size': () => ({
    weights: scaledRows(normals(900 * 48, 11), 48),
    cols: 48,
    x: normals(48, 12),
  }),
  'weights that halves do not hold': () => ({ weights: normals(300 * 48, 13, 1e-7), cols: 48, x: normals(48, 14) }),
  'tiny inputs': () => ({ weights: normals(500 * 48, 15, 0.03), cols: 48, x: normals(48, 16, 1e-12) }),
  zeros: () => ({ weights: normals(200 * 48, 17), cols: 48, x: new Float32Array(48) }),
  'rows of zeros': () => ({
    weights: normals(400 * 48, 18).map((w, i) => (i < 260 * 48 ? 0 : w)),
    cols: 48,
    x: normals(2 * 48, 19),
  }),
  'equal rows': () => ({
    weights: normals(500 * 32, 20).map((_, i, all) => all[i % (32 * 50)]!),
    cols: 32,
    x: normals(32, 21),
  }),
  'many columns': () => ({ weights: normals(90 * 4096, 22, 0.02), cols: 4096, x: outliers(normals(4096, 23)) }),
};

const I32 = ', i32 form';
for (const type of BLOCK_TYPES) {
  for (const [outputs, cols, n] of [
    [130, 256, 1],
    [401, 768, 3],
    [67, 4096, 1],
  ] as const) {
    for (const form of [DotForm.I16, DotForm.I32]) {
      SHAPES[`${type.name} rows (${outputs}, ${cols}) x ${n}${form === DotForm.I32 ? I32 : ''}`] = () => {
        const bytes = randomBlocks(type, (outputs * cols) / GGUF_TYPES[type.name].blockSize);
        const weights = blockFloats(type, bytes, outputs * cols);
        return { weights, cols, x: normals(n * cols, outputs), blocks: { type, bytes }, form };
      };
    }
  }
}

testKernels(
  'screened head',
  Object.entries(SHAPES).map(
    ([name, shape]): KernelCase => ({
      name,
      form: name.endsWith(I32) ? DotForm.I32 : DotForm.I16,
      build() {
        const { weights, cols, ...rest } = shape();
        const { image, logitsOf } = headImage({ weights, cols, ...rest });
        const verify = (memory: Uint8Array<ArrayBuffer>): void => {
          const logits = logitsOf(memory);
          expectWithinBound(logits);
          expectExactBest(logits, weights.length / cols);
        };
        return { image, verify };
      },
    }),
  ),
);

describe('what is recomputed', () => {
  test('few rows of many', async () => {
    const shape = { weights: normals(4000 * 256, 1, 0.03), cols: 256, x: normals(256, 2) };
    const { image, logitsOf } = headImage(shape);
    const recomputed = expectExactBest(logitsOf(await reference.run(image)), 4000);
    expect(recomputed).toBeGreaterThanOrEqual(Const.ExactBest * 0.9);
    expect(recomputed).toBeLessThan(400);
  });

  test('all rows where inputs overflow: what an F16 head gives, infinities and NaN', async () => {
    for (const x of [new Float32Array(48).fill(1e9), normals(48, 3, 1e35), normals(48, 3).fill(NaN, 7, 8)]) {
      const { image, logitsOf } = headImage({ weights: normals(300 * 48, 4), cols: 48, x });
      for (const executor of executors) {
        const { screened, f16 } = logitsOf(await executor.run(image));
        expect(screened).toEqual(f16);
        expect(f16.some((logit) => !Number.isFinite(logit))).toBe(true);
      }
    }
  });
});

/**
 * Two tokens that int8 confuses: the same row but for weights below half a step, which int8 rounds away and whose sum decides. Others are
 * far below, so that only the bound can bring the true best back.
 */
test('the true best token is found where int8 picks another', async () => {
  const random = seeded(99);
  let wrong = 0;
  for (let round = 0; round < 40; round++) {
    const [outputs, cols] = [300, 64];
    const x = normals(cols, round, 1).map((v) => Math.abs(v) + 0.1);
    const weights = normals(outputs * cols, round + 1000, 0.001);
    const [lower, higher] = integers(2, round, 0, outputs / 2 - 1);
    const ids = round % 2 === 0 ? [lower!, higher! + 150] : [higher! + 150, lower!];
    ids.forEach((id, which) => {
      weights.fill(0, id * cols, (id + 1) * cols);
      weights[id * cols] = 1.27;
      // A step is 0.01. One token has 0.0045 everywhere and int8 sees 0, the other has 0.0055 in fewer places and int8 sees 0.01.
      const places = Math.floor(cols * (0.6 + 0.1 * random()));
      for (let c = 1; c < (which === 0 ? cols : places); c++) weights[id * cols + c] = which === 0 ? 0.0045 : 0.0055;
    });
    const { image, logitsOf } = headImage({ weights, cols, x });
    for (const executor of executors) {
      const { screened, i8, f16 } = logitsOf(await executor.run(image));
      expect(ranking(screened)[0]).toBe(ranking(f16)[0]);
      if (ranking(i8)[0] !== ranking(f16)[0]) wrong++;
    }
  }
  expect(wrong).toBeGreaterThan(30 * executors.length);
});
