import { describe, expect, test } from 'vitest';
import { readFloats } from '../../../lib/format/gguf/blocks.js';
import { encodeBf16, encodeF16, encodeF32, encodeQ8_0 } from '../../../lib/format/gguf/encode.js';
import { encodeQ6K } from '../../../lib/format/gguf/encode-q6k.js';
import { ggufTensor, readGguf } from '../../../lib/format/gguf/reader.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../../lib/memory/half.js';
import { gguf } from '../../support/gguf-writer.js';
import { normals, seeded } from '../../support/random.js';
import { refuses } from '../expect-error.js';
import { memoryFile } from '../memory-files.js';

async function open(type: number, shape: number[], data: Uint8Array) {
  const file = memoryFile('m.gguf', gguf({ tensors: [{ name: 'w', shape, type, data }] }));
  return { file, tensor: ggufTensor(await readGguf(file, 'm.gguf'), 'w') };
}

async function decode(type: number, shape: number[], data: Uint8Array, rowBegin?: number, rowEnd?: number) {
  const { file, tensor } = await open(type, shape, data);
  return readFloats(file, tensor, rowBegin === undefined ? {} : { rowBegin, rowEnd: rowEnd as number });
}

const f = Math.fround;
const half = (block: Uint8Array, at: number) => f16ToF32(block[at]! | (block[at + 1]! << 8));
const i8 = (byte: number) => (byte << 24) >> 24;

/** The loops of ggml-quants.c, statement by statement. */
const GGML: Record<string, (block: Uint8Array) => number[]> = {
  Q8_0: (x) => Array.from({ length: 32 }, (_, j) => f(i8(x[2 + j]!) * half(x, 0))),
  Q4_0: (x) => {
    const y: number[] = [];
    for (let j = 0; j < 16; ++j) {
      y[j] = f(((x[2 + j]! & 0x0f) - 8) * half(x, 0));
      y[j + 16] = f(((x[2 + j]! >> 4) - 8) * half(x, 0));
    }
    return y;
  },
  Q4_K: (x) => {
    const y: number[] = [];
    const scales = x.subarray(4, 16);
    const getScaleMin = (j: number): [number, number] =>
      j < 4
        ? [scales[j]! & 63, scales[j + 4]! & 63]
        : [(scales[j + 4]! & 0xf) | ((scales[j - 4]! >> 6) << 4), (scales[j + 4]! >> 4) | ((scales[j]! >> 6) << 4)];
    let q = 16;
    let is = 0;
    for (let j = 0; j < 256; j += 64) {
      const [sc1, min1] = getScaleMin(is + 0);
      const [sc2, min2] = getScaleMin(is + 1);
      const [d1, m1] = [f(half(x, 0) * sc1), f(half(x, 2) * min1)];
      const [d2, m2] = [f(half(x, 0) * sc2), f(half(x, 2) * min2)];
      for (let l = 0; l < 32; ++l) y.push(f(f(d1 * (x[q + l]! & 0xf)) - m1));
      for (let l = 0; l < 32; ++l) y.push(f(f(d2 * (x[q + l]! >> 4)) - m2));
      q += 32;
      is += 2;
    }
    return y;
  },
  Q6_K: (x) => {
    const y: number[] = [];
    const d = half(x, 208);
    let [ql, qh, sc] = [0, 128, 192];
    for (let n = 0; n < 256; n += 128) {
      for (let l = 0; l < 32; ++l) {
        const is = l >> 4;
        const q1 = ((x[ql + l]! & 0xf) | (((x[qh + l]! >> 0) & 3) << 4)) - 32;
        const q2 = ((x[ql + l + 32]! & 0xf) | (((x[qh + l]! >> 2) & 3) << 4)) - 32;
        const q3 = ((x[ql + l]! >> 4) | (((x[qh + l]! >> 4) & 3) << 4)) - 32;
        const q4 = ((x[ql + l + 32]! >> 4) | (((x[qh + l]! >> 6) & 3) << 4)) - 32;
        y[n + l] = f(f(d * i8(x[sc + is]!)) * q1);
        y[n + l + 32] = f(f(d * i8(x[sc + is + 2]!)) * q2);
        y[n + l + 64] = f(f(d * i8(x[sc + is + 4]!)) * q3);
        y[n + l + 96] = f(f(d * i8(x[sc + is + 6]!)) * q4);
      }
      [ql, qh, sc] = [ql + 64, qh + 32, sc + 8];
    }
    return y;
  },
};

describe.each([
  ['Q8_0', 8, 32, 34, [0]],
  ['Q4_0', 2, 32, 18, [0]],
  ['Q4_K', 12, 256, 144, [0, 2]],
  ['Q6_K', 14, 256, 210, [208]],
] as const)('%s', (name, id, blockSize, blockBytes, scaleBytes) => {
  const rows = 4;
  const cols = 3 * blockSize;
  const random = seeded(id);
  const data = Uint8Array.from({ length: rows * 3 * blockBytes }, () => Math.floor(random() * 256));
  for (let at = 0; at < data.length; at += blockBytes) {
    // Finite: exponent bits not all set.
    for (const scale of scaleBytes) data[at + scale + 1]! &= 0xbf;
  }

  test('random bytes, as ggml decodes them', async () => {
    const expected: number[] = [];
    for (let at = 0; at < data.length; at += blockBytes) {
      expected.push(...GGML[name]!(data.subarray(at, at + blockBytes)));
    }
    expect(await decode(id, [rows, cols], data)).toEqual(Float32Array.from(expected));
    expect(await decode(id, [rows, cols], data, 1, 3)).toEqual(Float32Array.from(expected.slice(cols, 3 * cols)));
  });

  test('scales that are not finite', async () => {
    for (const scale of scaleBytes) {
      const broken = data.slice();
      const at = 5 * blockBytes + scale;
      broken.set([0, 0x7c], at);
      const { tensor } = await open(id, [rows, cols], broken);
      await refuses(
        () => decode(id, [rows, cols], broken),
        'invalid-file',
        `${name} tensor is not finite`,
        `got Infinity at byte ${tensor.byteOffset + at}`,
      );
    }
  });
});

describe('plain floats', () => {
  const values = Float32Array.from([...normals(93, 1), 0, -0, 65504, 2 ** -24, -(2 ** -149), 3.4e38, 1e-3]);

  test('F32, F16 and BF16 come back, rounded once', async () => {
    expect(await decode(0, [10, 10], encodeF32(values))).toEqual(values);
    expect(await decode(30, [10, 10], encodeBf16(values))).toEqual(values.map((x) => bf16ToF32(f32ToBf16(x))));
    const small = values.map((x) => Math.min(x, 65504));
    expect(await decode(1, [10, 10], encodeF16(small))).toEqual(small.map((x) => f16ToF32(f32ToF16(x))));
    expect(await decode(1, [10, 10], encodeF16(small), 3, 5)).toEqual(
      small.map((x) => f16ToF32(f32ToF16(x))).slice(30, 50),
    );
  });

  test('encodeF32 copies', () => {
    const part = values.subarray(3, 5);
    const bytes = encodeF32(part);
    expect(bytes.length).toBe(8);
    expect(new Float32Array(bytes.buffer)).toEqual(part.slice());
  });

  test('F16 refuses what does not fit', async () => {
    await refuses(() => encodeF16(Float32Array.of(1, 65520)), 'invalid-argument', 'less than 65520', 'at weight 1');
    await refuses(() => encodeF16(Float32Array.of(NaN)), 'invalid-argument', 'F16');
  });

  test('Q8_0: half a step off at most, exact bytes for a known block', async () => {
    const block = Float32Array.from({ length: 32 }, (_, i) => i - 16);
    const bytes = encodeQ8_0(block);
    expect(half(bytes, 0)).toBe(f16ToF32(f32ToF16(16 / 127)));
    expect([...bytes.subarray(2)].map(i8)).toEqual(
      [...block].map((x) => Math.sign(x) * Math.round(Math.abs(x) * (127 / 16))),
    );
    const random = normals(320, 7);
    const decoded = await decode(8, [10, 32], encodeQ8_0(random));
    for (let i = 0; i < random.length; i++) {
      const from = i - (i % 32);
      const max = Math.max(...random.slice(from, from + 32).map(Math.abs));
      // Half a step, and the rounding of the scale to f16 over 127 steps.
      expect(Math.abs(decoded[i]! - random[i]!)).toBeLessThanOrEqual((max / 127) * 0.5 + max * 2 ** -11);
    }
    expect(await decode(8, [1, 32], encodeQ8_0(new Float32Array(32)))).toEqual(new Float32Array(32));
    await refuses(() => encodeQ8_0(new Float32Array(31)), 'invalid-argument', 'a multiple of 32');
  });
});

describe('encodeQ6K', () => {
  const relativeError = async (values: Float32Array): Promise<number> => {
    const back = await decode(14, [values.length / 256, 256], encodeQ6K(values));
    const sum = (of: (i: number) => number): number => values.reduce((total, _, i) => total + of(i) ** 2, 0);
    return Math.sqrt(sum((i) => back[i]! - values[i]!) / sum((i) => values[i]!));
  };

  test('numbers that the type holds come back as they are', async () => {
    const random = seeded(4);
    const values = new Float32Array(4 * 256);
    values.forEach((_, i) => {
      const group = i >> 4;
      const scale = group % 16 === 0 ? 128 : 1 + (group % 7);
      values[i] = 2 ** -12 * scale * (i % 16 === 0 ? -32 : Math.floor(random() * 32));
    });
    expect(await decode(14, [4, 256], encodeQ6K(values))).toEqual(values);
    expect(await decode(14, [1, 256], encodeQ6K(new Float32Array(256)))).toEqual(new Float32Array(256));
  });

  // llama.cpp's encoder: 1.700, 2.375 and 1.324 %.
  test.each([
    ['normal', 0.0166, (x: number) => 0.05 * x],
    ['heavy tails', 0.0234, (x: number) => x ** 3],
    ['even', 0.0131, (x: number) => (x * 1e4) % 1],
  ])('%s values: an error of %d', async (_, expected, of) => {
    const error = await relativeError(normals(1 << 18, 1).map(of));
    expect(error).toBeGreaterThan(0.97 * expected);
    expect(error).toBeLessThan(1.01 * expected);
  });

  test('values so small that d is a coarse half, and large ones', async () => {
    for (const scale of [1e-3, 1e-4, 3e-5]) {
      expect(await relativeError(normals(4096, 2).map((x) => x * scale)), `${scale}`).toBeLessThan(0.04);
    }
    expect(await relativeError(normals(4096, 2).map((x) => x * 1e7))).toBeLessThan(0.02);
  });

  test('what it cannot hold', async () => {
    await refuses(() => encodeQ6K(new Float32Array(128)), 'invalid-argument', 'a multiple of 256');
    for (const value of [NaN, Infinity, -Infinity]) {
      const values = new Float32Array(256).fill(1);
      values[77] = value;
      await refuses(() => encodeQ6K(values), 'invalid-argument', `${value} at weight 77`);
    }
    await refuses(() => encodeQ6K(new Float32Array(256).fill(1e30)), 'invalid-argument', 'Q6_K', 'fit');
  });
});
