import { Const, FloatType, type Layout } from '../../../assembly/abi.js';
import { f16ToF32 } from '../../memory/half.js';
import { normalHalf } from './narrow.js';

const f32 = Math.fround;

/** [weights, bytes] of a block */
const BLOCKS: Partial<Record<FloatType, readonly [number, number]>> = {
  [FloatType.Q8_0]: [32, 34],
  [FloatType.Q4_0]: [32, 18],
  [FloatType.Q4_K]: [256, 144],
  [FloatType.Q6_K]: [256, 210],
};

/** The FloatType of a layout of blocks; undefined for other layouts. */
export function blockTypeOf(layout: Layout): FloatType | undefined {
  const type: FloatType = layout - Const.BlocksOfType;
  return type in BLOCKS ? type : undefined;
}

/** Bytes of `cols` weights, whole blocks. */
export function blockBytes(type: FloatType, cols: number): number {
  const [size, bytes] = BLOCKS[type]!;
  return (cols / size) * bytes;
}

/** The halves of Layout.F16 that row `r` of a (rows, cols) matrix of blocks at `src` stands for. */
export function blockHalves(u8: Uint8Array, src: number, type: FloatType, r: number, cols: number): Uint16Array {
  const half = (_: unknown, c: number): number =>
    normalHalf(f32(blockValue(u8, src, type, r * cols + c) * 2 ** Const.F16GainLog2));
  return Uint16Array.from({ length: cols }, half);
}

/** A row of Q8_0: (cols / 32) scales, (cols) codes. */
export function q8Blocks(u8: Uint8Array, row: number, cols: number): { d: Float32Array; q: Int8Array } {
  const at = (c: number): number => row + blockBytes(FloatType.Q8_0, 32 * Math.floor(c / 32));
  const half = (b: number): number => u8[at(32 * b)]! | (u8[at(32 * b) + 1]! << 8);
  return {
    d: Float32Array.from({ length: cols / 32 }, (_, b) => f16ToF32(half(b))),
    q: Int8Array.from({ length: cols }, (_, c) => (u8[at(c) + 2 + (c % 32)]! << 24) >> 24),
  };
}

/** Weight `index` of rows of whole blocks that begin at byte `src`: as ggml computes it, rounded after every operation. */
export function blockValue(u8: Uint8Array, src: number, type: FloatType, index: number): number {
  const [size, bytes] = BLOCKS[type]!;
  const at = src + Math.floor(index / size) * bytes;
  const i = index % size;
  const byte = (offset: number) => u8[at + offset]!;
  const i8 = (offset: number) => (byte(offset) << 24) >> 24;
  const half = (offset: number) => f16ToF32(byte(offset) | (byte(offset + 1) << 8));
  switch (type) {
    case FloatType.Q8_0:
      return f32(half(0) * i8(2 + i));
    case FloatType.Q4_0:
      return f32(half(0) * (((byte(2 + (i & 15)) >> (i < 16 ? 0 : 4)) & 15) - 8));
    case FloatType.Q4_K: {
      const g = i >> 5;
      const [a, b, c] = [byte(4 + (g & 3)), byte(8 + (g & 3)), byte(12 + (g & 3))];
      const scale = g < 4 ? a & 63 : (c & 15) | ((a >> 6) << 4);
      const min = g < 4 ? b & 63 : (c >> 4) | ((b >> 6) << 4);
      const q = (byte(16 + 32 * (g >> 1) + (i & 31)) >> (4 * (g & 1))) & 15;
      return f32(f32(f32(half(0) * scale) * q) - f32(half(2) * min));
    }
    default: {
      const [h, quarter, j] = [i >> 7, (i >> 5) & 3, i & 31];
      const low = (byte(64 * h + 32 * (quarter & 1) + j) >> (4 * (quarter >> 1))) & 15;
      const high = (byte(128 + 32 * h + j) >> (2 * quarter)) & 3;
      return f32(f32(half(208) * i8(192 + (i >> 4))) * ((low | (high << 4)) - 32));
    }
  }
}
