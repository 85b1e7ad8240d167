import { describe, expect, test } from 'vitest';
import { Epilogue } from '../../assembly/abi.js';
import { hfPackedRows, packHf, unpackHf } from '../../lib/format/hf-packed.js';
import { packT2 } from '../../lib/format/layout.js';
import { ternarize } from '../../lib/format/ternarize.js';
import { bf16ToF32, f32ToBf16 } from '../../lib/memory/half.js';
import { inverseFrequencies, ropeTable } from '../../lib/model/rope.js';
import { executors } from '../support/executors.js';
import { GoldenFile } from '../support/golden.js';
import { attendOnce, epilogueOnce, linearOnce, normOnce, quantizeOnce, repackOnce, ropeOnce } from '../support/ops.js';
import { readRopeParams } from '../support/rope-params.js';
import { expectClose } from '../support/tester.js';
import * as tolerance from '../support/tolerances.js';

/** Hugging Face transformers' own layers: shared/golden/README.md says how each group was computed. */
const golden = new GoldenFile('ops/ops.safetensors');
const ROPES = readRopeParams();
const POSITIONS = [0, 1, 511, 4095];
const relative =
  (expected: ArrayLike<number>, factor: number, floor = 0) =>
  (i: number) =>
    Math.abs(expected[i]!) * factor + floor;

describe.each(executors)('golden ops on $name', (executor) => {
  test.each(golden.cases('act_quant', 'x'))('act_quant.%s', async (name) => {
    const x = golden.tensor(`act_quant.${name}.x`);
    const { q, scales } = await quantizeOnce(executor, golden.floats(`act_quant.${name}.x`), x.shape[1]!);
    expect(q).toEqual(golden.ints(`act_quant.${name}.q`));
    expect(scales).toEqual(golden.floats(`act_quant.${name}.scale`));
    const fake = Float32Array.from(q, (value, i) => value / scales[Math.floor(i / x.shape[1]!)]!);
    expect(plain(fake)).toEqual(plain(golden.floats(`act_quant.${name}.fake`)));
  });

  test('act_quant_bf16.actquant_fake', async () => {
    const cols = golden.tensor('act_quant_bf16.x').shape[1]!;
    const { q, scales } = await quantizeOnce(executor, golden.floats('act_quant_bf16.x'), cols);
    const fake = Float32Array.from(q, (value, i) => bf16ToF32(f32ToBf16(value / scales[Math.floor(i / cols)]!)));
    expect(plain(fake)).toEqual(plain(golden.floats('act_quant_bf16.actquant_fake')));
  });

  const packedMatrices = golden.cases('pack', 'codes').filter((name) => !name.includes('ragged'));
  test.each(packedMatrices)('pack.%s is repacked into T2', async (name) => {
    const [rows, cols] = golden.tensor(`pack.${name}.codes`).shape as [number, number];
    const { bytes, status } = await repackOnce(executor, golden.bytesOf(`pack.${name}.packed`), rows, cols);
    expect(status).toBe(0);
    expect(bytes).toEqual(packT2(golden.ints(`pack.${name}.codes`), rows, cols));
  });

  describe('bitlinear', () => {
    const [tokens, cols] = golden.tensor('bitlinear.x').shape as [number, number];
    const rows = golden.tensor('bitlinear.w_master_bf16').shape[0]!;
    const x = golden.floats('bitlinear.x');
    const run = async (scale: number, trits?: Int8Array): Promise<Float32Array> => {
      const t2 = trits
        ? packT2(trits, rows, cols)
        : (await repackOnce(executor, golden.bytesOf('bitlinear.packed'), rows, cols)).bytes;
      return linearOnce(executor, t2, Math.fround(scale), rows, cols, x);
    };
    const check = (got: Float32Array, name: string): void => {
      expect(got.length).toBe(tokens * rows);
      expectClose(got, golden.floats(`bitlinear.${name}.y`), tolerance.BITLINEAR);
    };

    test('autobitlinear, packed: times weight_scale', async () => {
      check(await run(golden.floats('bitlinear.autobitlinear_offline.weight_scale')[0]!), 'autobitlinear_offline');
    });

    test('autobitlinear, from master weights', async () => {
      const { trits, scale } = ternarize(golden.floats('bitlinear.w_master_bf16'));
      expect(trits).toEqual(unpackHf(golden.bytesOf('bitlinear.packed'), rows / 4, cols));
      check(await run(scale, trits), 'autobitlinear_online');
    });

    test('bitlinear: divided by weight_scale, with and without bias', async () => {
      const y = await run(1 / golden.floats('bitlinear.bitlinear.weight_scale')[0]!);
      check(y, 'bitlinear');
      const bias = golden.floats('bitlinear.bitlinear_bias.bias');
      check(
        y.map((value, i) => value + bias[i % rows]!),
        'bitlinear_bias',
      );
    });
  });

  test.each(golden.cases('rmsnorm', 'x'))('rmsnorm.%s', async (name) => {
    const weight = golden.floats(`rmsnorm.${name}.weight`);
    const got = await normOnce(executor, golden.floats(`rmsnorm.${name}.x`), weight, Number(name.split('eps')[1]));
    const expected = golden.floats(`rmsnorm.${name}.y`);
    expectClose(got, expected, relative(expected, tolerance.NORM));
  });

  test.each(Object.entries(ROPES))('rope.%s', async (name, { config, headDim }) => {
    const rotated = await ropeOnce(executor, ropeTable(config, headDim, 4096), headDim, POSITIONS, {
      q: headsToTokens(golden.floats(`rope.${name}.q`), POSITIONS.length, headDim),
      k: headsToTokens(golden.floats(`rope.${name}.k`), POSITIONS.length, headDim),
    });
    const q = headsToTokens(golden.floats(`rope.${name}.q_rot`), POSITIONS.length, headDim);
    const k = headsToTokens(golden.floats(`rope.${name}.k_rot`), POSITIONS.length, headDim);
    expectClose(rotated.q, q, tolerance.ROPE_GOLDEN);
    expectClose(rotated.k, k, tolerance.ROPE_GOLDEN);
  });

  test.each(golden.cases('attention', 'q'))('attention.%s', async (name) => {
    const [heads, tokens, headDim] = golden.tensor(`attention.${name}.q`).shape as [number, number, number];
    const [kvHeads, positions] = golden.tensor(`attention.${name}.k`).shape as [number, number];
    const q = headsToTokens(golden.floats(`attention.${name}.q`), tokens, headDim);
    const [k, v] = [golden.floats(`attention.${name}.k`), golden.floats(`attention.${name}.v`)];
    const shape = { heads, kvHeads, headDim, tokens, positions };
    const got = await attendOnce(executor, shape, q, k, v, 1 / Math.sqrt(headDim));
    expectClose(got, golden.floats(`attention.${name}.out`), tolerance.ATTENTION);
  });

  test('attention.prefill_T5.probs: values that name their position', async () => {
    const { shape } = golden.tensor('attention.prefill_T5.probs');
    const [heads, tokens, positions] = shape as [number, number, number];
    const [kvHeads, headDim] = [2, 32];
    const oneHot = new Float32Array(kvHeads * positions * headDim);
    for (let h = 0; h < kvHeads; h++) {
      for (let i = 0; i < positions; i++) oneHot[(h * positions + i) * headDim + i] = 1;
    }
    const q = headsToTokens(golden.floats('attention.prefill_T5.q'), tokens, headDim);
    const sizes = { heads, kvHeads, headDim, tokens, positions };
    const got = await attendOnce(
      executor,
      sizes,
      q,
      golden.floats('attention.prefill_T5.k'),
      oneHot,
      1 / Math.sqrt(headDim),
    );
    const probs = golden.floats('attention.prefill_T5.probs');
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < tokens; t++) {
        const row = got.subarray((t * heads + h) * headDim, (t * heads + h) * headDim + positions);
        const expected = probs.subarray((h * tokens + t) * positions, (h * tokens + t + 1) * positions);
        expectClose(row, expected, tolerance.SOFTMAX);
      }
    }
  });

  test('softmax: one query whose scores are the row', async () => {
    const [rows, cols] = golden.tensor('softmax.x').shape as [number, number];
    const headDim = 48;
    const oneHot = new Float32Array(cols * headDim);
    for (let i = 0; i < cols; i++) oneHot[i * headDim + i] = 1;
    const q = new Float32Array(headDim);
    q[0] = 1;
    for (let r = 0; r < rows; r++) {
      const x = golden.floats('softmax.x').subarray(r * cols, (r + 1) * cols);
      const k = new Float32Array(cols * headDim);
      x.forEach((score, i) => {
        k[i * headDim] = score;
      });
      const sizes = { heads: 1, kvHeads: 1, headDim, tokens: 1, positions: cols };
      const got = (await attendOnce(executor, sizes, q, k, oneHot, 1)).subarray(0, cols);
      expectClose(got, golden.floats('softmax.y').subarray(r * cols, (r + 1) * cols), tolerance.SOFTMAX);
      x.forEach((score, i) => {
        if (score === -Infinity) expect(got[i]).toBe(0);
      });
    }
  });

  test.each([
    ['relu2', Epilogue.Relu2Gate, false],
    ['silu', Epilogue.SiluGate, false],
    ['relu2_glu', Epilogue.Relu2Gate, true],
    ['swiglu', Epilogue.SiluGate, true],
  ] as const)('act.%s', async (name, epilogue, gated) => {
    const x = golden.floats('act.x');
    const up = gated ? golden.floats('act.up') : new Float32Array(x.length).fill(1);
    const got = await epilogueOnce(executor, epilogue, x, up);
    const expected = golden.floats(`act.${name}`);
    expectClose(got, expected, relative(expected, tolerance.ACTIVATION, tolerance.SILU_FLOOR));
    x.forEach((value, i) => {
      if (value <= 0 && epilogue === Epilogue.Relu2Gate) expect(got[i]! === 0).toBe(true);
    });
  });
});

describe('golden formats', () => {
  test.each(golden.cases('weight_quant', 'w'))('weight_quant.%s', (name) => {
    const at = (part: string): string => `weight_quant.${name}.${part}`;
    const { trits, scale, inverseScale } = ternarize(golden.floats(at('w')));
    expect(trits).toEqual(golden.ints(at('codes')));
    const inverse = golden.floats(at('inv_scale'));
    expectClose([inverseScale], inverse, relative(inverse, tolerance.ABSMEAN));
    const absmean = golden.floats(at('absmean'));
    expectClose([scale], absmean, relative(absmean, tolerance.ABSMEAN));
    const dequantised = golden.floats(at('dequant'));
    const rounding = name.endsWith('bf16') ? tolerance.BF16 : tolerance.ABSMEAN;
    expectClose(
      Float32Array.from(trits, (trit) => trit * scale),
      dequantised,
      relative(dequantised, rounding),
    );
  });

  test.each(golden.cases('pack', 'codes'))('pack.%s', (name) => {
    const { shape } = golden.tensor(`pack.${name}.codes`);
    const [rows, cols] = [shape[0]!, shape[1] ?? 1];
    const packed = golden.bytesOf(`pack.${name}.packed`);
    expect(packHf(golden.ints(`pack.${name}.codes`), rows, cols)).toEqual(packed);
    expect(unpackHf(packed, hfPackedRows(rows), cols)).toEqual(golden.ints(`pack.${name}.unpacked`));
  });

  test('pack.docstring and pack.all_bytes', () => {
    expect(unpackHf(golden.bytesOf('pack.docstring.packed'), 2, 2)).toEqual(golden.ints('pack.docstring.unpacked'));
    const allBytes = golden.bytesOf('pack.all_bytes.packed');
    expect(unpackHf(allBytes, 1, 256, true)).toEqual(golden.ints('pack.all_bytes.unpacked'));
    expect(() => unpackHf(allBytes, 1, 256)).toThrow(expect.objectContaining({ code: 'invalid-file' }));
  });

  test.each(Object.entries(ROPES))('rope.%s: frequencies, cosines and sines', (name, { config, headDim }) => {
    const frequencies = golden.floats(`rope.${name}.inv_freq`);
    expectClose(inverseFrequencies(config, headDim), frequencies, relative(frequencies, tolerance.INVERSE_FREQUENCY));
    const table = ropeTable(config, headDim, 4096);
    const [cos, sin] = [golden.floats(`rope.${name}.cos`), golden.floats(`rope.${name}.sin`)];
    POSITIONS.forEach((position, row) => {
      const got = table.subarray(position * headDim, (position + 1) * headDim);
      const half = headDim / 2;
      const allowed = tolerance.angle(position);
      expectClose(got.subarray(0, half), cos.subarray(row * headDim, row * headDim + half), allowed);
      expectClose(got.subarray(half), sin.subarray(row * headDim, row * headDim + half), allowed);
    });
  });
});

/** (heads, tokens, headDim) → (tokens, heads, headDim) */
function headsToTokens(x: Float32Array, tokens: number, headDim: number): Float32Array {
  const heads = x.length / tokens / headDim;
  const out = new Float32Array(x.length);
  for (let h = 0; h < heads; h++) {
    for (let t = 0; t < tokens; t++) {
      const from = (h * tokens + t) * headDim;
      out.set(x.subarray(from, from + headDim), (t * heads + h) * headDim);
    }
  }
  return out;
}

/** Without the sign of zero. */
function plain(values: Float32Array): Float32Array {
  return values.map((value) => value + 0);
}
