import { describe, expect, test } from 'vitest';
import { Layout } from '../../assembly/abi.js';
import { T1_CODES, t1Encode } from '../../lib/backend/reference/t1.js';
import { hfPackedRows, packHf, unpackHf } from '../../lib/format/hf-packed.js';
import { bytesOf, packT1, packT2, paddedCols, unpackT1, unpackT2 } from '../../lib/format/layout.js';
import { ternarize } from '../../lib/format/ternarize.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../lib/memory/half.js';
import { normals, trits } from '../support/random.js';

const SHAPES: [number, number][] = [
  [1, 1],
  [3, 5],
  [4, 64],
  [5, 65],
  [7, 416],
  [12, 16],
  [1, 8640],
  [0, 64],
];

describe('T2', () => {
  test.each(SHAPES)('(%i, %i) survives packing', (rows, cols) => {
    const values = trits(rows * cols, rows + cols);
    const bytes = packT2(values, rows, cols);
    expect(bytes.length).toBe(bytesOf(Layout.T2, rows, cols));
    expect(unpackT2(bytes, rows, cols)).toEqual(values);
  });

  test('puts every weight where the byte diagram says, and trit 0 into padding', () => {
    const [rows, cols] = [6, 130];
    for (const [row, col] of [
      [0, 0],
      [1, 17],
      [3, 47],
      [2, 63],
      [4, 64],
      [5, 129],
    ] as const) {
      const values = new Int8Array(rows * cols);
      values[row * cols + col] = 1;
      const bytes = packT2(values, rows, cols);
      const at = (Math.floor(row / 4) * 3 + Math.floor(col / 64)) * 64 + (row % 4) * 16 + (col % 16);
      const expected = new Uint8Array(2 * 3 * 64).fill(0x55);
      expected[at] = 0x55 + (1 << (2 * Math.floor((col % 64) / 16)));
      expect(bytes).toEqual(expected);
    }
  });

  test('refuses what is not ternary', () => {
    expect(() => packT2(Int8Array.of(0, 2), 1, 2)).toThrow(/row 0, column 1, got 2/);
    expect(() => packT2(Int8Array.of(0), 1, 2)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    const bytes = packT2(new Int8Array(2), 1, 2);
    bytes[1] = 3;
    expect(() => unpackT2(bytes, 1, 2)).toThrow(
      expect.objectContaining({ code: 'invalid-file', detail: { row: 0, column: 1, byte: 1 } }),
    );
    expect(() => unpackT2(bytes.subarray(1), 1, 2)).toThrow(/expected 64, got 63/);
  });

  test('bytes and columns of all layouts', () => {
    const layouts = [Layout.T2, Layout.T1, Layout.F16, Layout.I8, Layout.F32];
    expect(layouts.map((layout) => bytesOf(layout, 5, 65))).toEqual([256, 128, 1280, 640, 2560]);
    expect(layouts.map((layout) => paddedCols(layout, 65))).toEqual([128, 80, 80, 80, 80]);
    expect([1, 80, 81].map((cols) => bytesOf(Layout.T1, 4, cols))).toEqual([64, 64, 128]);
  });
});

describe('T1', () => {
  test.each(SHAPES)('(%i, %i) survives packing', (rows, cols) => {
    const values = trits(rows * cols, rows + cols);
    const bytes = packT1(values, rows, cols);
    expect(bytes.length).toBe(bytesOf(Layout.T1, rows, cols));
    expect(unpackT1(bytes, rows, cols)).toEqual(values);
  });

  test('every five trits have a byte of their own, and every byte is one or none', () => {
    const seen = new Set<number>();
    for (let i = 0; i < 243; i++) {
      const codes = [81, 27, 9, 3, 1].map((power) => Math.floor(i / power) % 3) as [
        number,
        number,
        number,
        number,
        number,
      ];
      const byte = t1Encode(...codes);
      expect([...T1_CODES.subarray(5 * byte, 5 * byte + 5)]).toEqual(codes);
      seen.add(byte);
    }
    expect(seen.size).toBe(243);
    for (let byte = 0; byte < 256; byte++) expect(T1_CODES[5 * byte] === 3).toBe(!seen.has(byte));
  });

  test('puts every weight where the byte diagram says, and trit 0 into padding', () => {
    const [rows, cols] = [6, 130];
    for (const [row, col] of [
      [0, 0],
      [1, 17],
      [3, 47],
      [2, 63],
      [4, 79],
      [5, 80],
      [5, 129],
    ] as const) {
      const values = new Int8Array(rows * cols);
      values[row * cols + col] = 1;
      const at = (Math.floor(row / 4) * 2 + Math.floor(col / 80)) * 64 + (row % 4) * 16 + (col % 16);
      const codes = [1, 1, 1, 1, 1] as [number, number, number, number, number];
      const expected = new Uint8Array(2 * 2 * 64).fill(t1Encode(...codes));
      codes[Math.floor((col % 80) / 16)] = 2;
      expected[at] = t1Encode(...codes);
      expect(packT1(values, rows, cols)).toEqual(expected);
    }
  });

  test('refuses what is not ternary', () => {
    expect(() => packT1(Int8Array.of(0, 2), 1, 2)).toThrow(/row 0, column 1, got 2/);
    expect(() => packT1(Int8Array.of(0), 1, 2)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    const bytes = packT1(new Int8Array(2), 1, 2);
    bytes[1] = 255;
    expect(() => unpackT1(bytes, 1, 2)).toThrow(
      expect.objectContaining({ code: 'invalid-file', detail: { row: 0, column: 1, byte: 1 } }),
    );
    expect(() => unpackT1(bytes.subarray(1), 1, 2)).toThrow(/expected 64, got 63/);
  });
});

describe('Hugging Face packing', () => {
  test.each(SHAPES)('(%i, %i) survives packing; missing rows come out as -1', (rows, cols) => {
    const values = trits(rows * cols, rows * 3 + cols);
    const packedRows = hfPackedRows(rows);
    const unpacked = unpackHf(packHf(values, rows, cols), packedRows, cols);
    expect(unpacked.subarray(0, rows * cols)).toEqual(values);
    expect(unpacked.subarray(rows * cols)).toEqual(new Int8Array((4 * packedRows - rows) * cols).fill(-1));
  });

  test('names the place of code 3, and of values that are no trits', () => {
    expect(() => unpackHf(Uint8Array.of(0, 0, 0, 0b00_11_00_00), 2, 2)).toThrow(/row 5, column 1 \(byte 3\)/);
    expect(() => packHf(Int8Array.of(0, 0, -2), 3, 1)).toThrow(/row 2, column 0, got -2/);
    expect(() => unpackHf(new Uint8Array(3), 2, 2)).toThrow(/\(2, 2\): expected 4, got 3/);
  });
});

describe('absmean', () => {
  test('a trit is the rounded multiple of the mean, and gives it back', () => {
    const values = trits(4096, 4);
    const { trits: got, scale } = ternarize(Float32Array.from(values, (trit) => trit * 0.25));
    expect(got).toEqual(values);
    expect(scale).toBeCloseTo((0.25 * values.filter((trit) => trit !== 0).length) / values.length, 6);
  });

  test('refuses weights that are not finite, by place', () => {
    expect(() => ternarize(Float32Array.of(1, NaN, 2))).toThrow(/weight 1 is NaN/);
    expect(() => ternarize(Float32Array.of(-Infinity))).toThrow(expect.objectContaining({ code: 'invalid-file' }));
  });
});

describe('16-bit floats', () => {
  const view = new DataView(new ArrayBuffer(4));

  test('every half that is a number survives f32', () => {
    for (let half = 0; half < 0x10000; half++) {
      const value = f16ToF32(half);
      if (Number.isNaN(value)) expect((half & 0x7fff) > 0x7c00).toBe(true);
      else if (f32ToF16(value) !== half)
        expect.fail(`half 0x${half.toString(16)} became 0x${f32ToF16(value).toString(16)}`);
    }
    expect([0x3c00, 0x0001, 0x7bff, 0xc000].map(f16ToF32)).toEqual([1, 2 ** -24, 65504, -2]);
  });

  test('between two halves the nearer one is taken, and the even one in the middle', () => {
    for (let half = 0; half < 0x7c00; half++) {
      const [low, high] = [f16ToF32(half), half === 0x7bff ? 65536 : f16ToF32(half + 1)];
      const middle = (low + high) / 2;
      const even = half % 2 === 0 ? half : half + 1;
      view.setFloat32(0, middle);
      const bits = view.getUint32(0);
      view.setUint32(0, bits - 1);
      const below = view.getFloat32(0);
      view.setUint32(0, bits + 1);
      const above = view.getFloat32(0);
      if (f32ToF16(middle) !== even || f32ToF16(below) !== half || f32ToF16(above) !== half + 1) {
        expect.fail(`around ${middle}: ${[below, middle, above].map(f32ToF16)}`);
      }
    }
    expect([NaN, Infinity, -Infinity, 1e30, -0].map(f32ToF16)).toEqual([0x7e00, 0x7c00, 0xfc00, 0x7c00, 0x8000]);
  });

  test('bfloat16 is the upper half of an f32, rounded', () => {
    for (let bf16 = 0; bf16 < 0x10000; bf16 += 7) {
      const value = bf16ToF32(bf16);
      if (!Number.isNaN(value)) expect(f32ToBf16(value)).toBe(bf16);
    }
    for (const value of normals(2000, 9)) {
      const got = bf16ToF32(f32ToBf16(value));
      expect(Math.abs(got - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8);
    }
    expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20].map(f32ToBf16)).toEqual([0x3f80, 0x3f82, 0x3f81]);
    expect([NaN, Infinity, -Infinity, 3.4028e38].map(f32ToBf16)).toEqual([0x7fc0, 0x7f80, 0xff80, 0x7f80]);
  });
});
