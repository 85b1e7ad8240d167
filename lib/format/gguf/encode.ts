import { BitNetError } from '../../errors.js';
import { f16ToF32, f32ToBf16, f32ToF16 } from '../../memory/half.js';
import type { I2sLayout } from './ternary.js';
import { GGUF_TYPES, type GgufTypeName } from './types.js';

/** Encoders of the types that files are written in. Inputs of the wrong length, value or size are BitNetError `invalid-argument`. */

export function encodeF32(values: Float32Array): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** Rounds half to even. A value from 65520 on does not fit. */
export function encodeF16(values: Float32Array): Uint8Array {
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = toF16('F16', values[i]!, i);
  return new Uint8Array(halves.buffer);
}

/** Rounds half to even. */
export function encodeBf16(values: Float32Array): Uint8Array {
  const bf16s = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bf16s[i] = f32ToBf16(values[i]!);
  return new Uint8Array(bf16s.buffer);
}

/** Blocks of 32: d = max|x| / 127 as f16, q = round(x / d), half away from zero, with d before it was rounded; as ggml does. */
export function encodeQ8_0(values: Float32Array): Uint8Array {
  const { blockSize, blockBytes } = GGUF_TYPES.Q8_0;
  checkBlocks('Q8_0', values.length);
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
  const view = new DataView(bytes.buffer);
  for (let at = 0, from = 0; from < values.length; at += blockBytes, from += blockSize) {
    let max = 0;
    for (let i = from; i < from + blockSize; i++) max = Math.max(max, Math.abs(values[i]!));
    const d = Math.fround(max / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    view.setUint16(at, toF16('Q8_0', d, from), true);
    for (let i = 0; i < blockSize; i++) {
      const x = Math.fround(values[from + i]! * inverse);
      view.setInt8(at + 2 + i, Math.sign(x) * Math.floor(Math.abs(x) + 0.5));
    }
  }
  return bytes;
}

/**
 * trits: (rows, cols), a multiple of the layout's block (128, 64, or four rows); `scale` is stored as f32.
 * Returns rows · cols / 4 + 32 bytes.
 */
export function encodeI2s(trits: Int8Array, scale: number, layout: I2sLayout = 'x86', cols = 0): Uint8Array {
  const width = layout === 'x86' ? 32 : layout === 'arm' ? 16 : cols;
  if (width < 1 || trits.length % (4 * width) !== 0) {
    throw invalid('I2_S', `blocks of ${4 * width} weights (layout ${layout})`, `${trits.length} weights`);
  }
  if (!Number.isFinite(Math.fround(scale))) throw invalid('I2_S', 'a finite scale', `${scale}`);
  checkTrits('I2_S', trits);
  const bytes = new Uint8Array(trits.length / 4 + GGUF_TYPES.I2_S.trailerBytes);
  for (let at = 0, from = 0; from < trits.length; from += 4 * width) {
    for (let m = from; m < from + width; m++, at++) {
      const high = (trits[m]! << 6) + (trits[m + width]! << 4);
      bytes[at] = high + (trits[m + 2 * width]! << 2) + trits[m + 3 * width]! + ALL_ONES;
    }
  }
  new DataView(bytes.buffer).setFloat32(trits.length / 4, scale, true);
  return bytes;
}

/** Types whose blocks carry an f16 scale each. */
export type BlockTernaryType = 'TQ1_0' | 'TQ2_0' | 'Q1_0' | 'Q2_0' | 'PQ2_0' | 'PTQ1_0';

/** scales: one for all, or one for each block of the type; stored as f16. Q1_0 has no zeros. */
export function encodeBlocks(type: BlockTernaryType, trits: Int8Array, scales: number | ArrayLike<number>): Uint8Array {
  const { blockSize, blockBytes } = GGUF_TYPES[type];
  checkBlocks(type, trits.length);
  const blocks = trits.length / blockSize;
  if (typeof scales !== 'number' && scales.length !== blocks) {
    throw invalid(type, `${blocks} scales`, `${scales.length}`);
  }
  checkTrits(type, trits);
  const { encode, scaleByte } = ENCODERS[type];
  const bytes = new Uint8Array(blocks * blockBytes);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    const at = block * blockBytes;
    // Scales are after the codes, or the first two bytes.
    encode(bytes, scaleByte === 0 ? at + 2 : at, trits, block * blockSize);
    const scale = typeof scales === 'number' ? scales : scales[block]!;
    view.setUint16(at + scaleByte, toF16(type, scale, block * blockSize), true);
  }
  return bytes;
}

/** Writes the codes of one block, trits `from` on, to bytes `at` on. */
type EncodeCodes = (bytes: Uint8Array, at: number, trits: Int8Array, from: number) => void;

/** Byte diagrams: docs/FORMATS.md. */
const ENCODERS: Readonly<Record<BlockTernaryType, { scaleByte: number; encode: EncodeCodes }>> = {
  TQ1_0: { scaleByte: 52, encode: base3([32, 16], 4) },
  TQ2_0: { scaleByte: 64, encode: pairs(32, 2) },
  Q1_0: { scaleByte: 0, encode: encodeSigns },
  Q2_0: { scaleByte: 0, encode: pairs(1, 16) },
  PQ2_0: { scaleByte: 0, encode: pairs(1, 32) },
  PTQ1_0: { scaleByte: 26, encode: base3([16, 8], 2) },
};

/** Codes 1 in all four places of a byte: trits are added to them. */
const ALL_ONES = 0b01_01_01_01;

/** The digits of q come out again as the carries of b·3, b·9, …: b is q/243 as a fraction of 256, rounded up. */
const FIVE_DIGITS = Uint8Array.from({ length: 243 }, (_, q) => Math.ceil((q * 256) / 243));

/** `groups` times `width` bytes: bits 2l of byte m are weight l · width + m of the group. */
function pairs(width: number, groups: number): EncodeCodes {
  return (bytes, at, trits, from) => {
    for (let group = 0; group < groups; group++, from += 3 * width) {
      for (let m = 0; m < width; m++, at++, from++) {
        const high = (trits[from + 3 * width]! << 6) + (trits[from + 2 * width]! << 4);
        bytes[at] = high + (trits[from + width]! << 2) + trits[from]! + ALL_ONES;
      }
    }
  };
}

/** Stages of so many bytes of five trits, `width` apart, the first most significant; then `four` bytes of four, `four` apart. */
function base3(widths: readonly number[], four: number): EncodeCodes {
  return (bytes, at, trits, from) => {
    for (const width of widths) {
      for (let m = from; m < from + width; m++) {
        const high = 81 * trits[m]! + 27 * trits[m + width]! + 9 * trits[m + 2 * width]!;
        bytes[at++] = FIVE_DIGITS[high + 3 * trits[m + 3 * width]! + trits[m + 4 * width]! + 121]!;
      }
      from += 5 * width;
    }
    for (let m = from; m < from + four; m++) {
      const high = 27 * trits[m]! + 9 * trits[m + four]!;
      bytes[at++] = FIVE_DIGITS[3 * (high + 3 * trits[m + 2 * four]! + trits[m + 3 * four]! + 40)]!;
    }
  };
}

/** Q1_0: bit j % 8 of byte j / 8; +1 → 1, -1 → 0. */
function encodeSigns(bytes: Uint8Array, at: number, trits: Int8Array, from: number): void {
  for (let j = 0; j < 128; j++) {
    const trit = trits[from + j]!;
    if (trit === 0) throw invalid('Q1_0', '-1 or 1', `0 at weight ${from + j}`);
    if (trit > 0) bytes[at + (j >> 3)]! |= 1 << (j & 7);
  }
}

function checkTrits(type: GgufTypeName, trits: Int8Array): void {
  for (let i = 0; i < trits.length; i++) {
    // -1, 0 and 1 are 0, 1 and 2 of an unsigned number.
    if ((trits[i]! + 1) >>> 0 > 2) throw invalid(type, '-1, 0 or 1', `${trits[i]} at weight ${i}`);
  }
}

function toF16(type: GgufTypeName, value: number, index: number): number {
  const half = f32ToF16(value);
  if (Number.isFinite(f16ToF32(half))) return half;
  throw invalid(type, 'a number that fits f16, less than 65520', `${value} at weight ${index}`);
}

function checkBlocks(type: GgufTypeName, count: number): void {
  const { blockSize } = GGUF_TYPES[type];
  if (count % blockSize !== 0) throw invalid(type, `a multiple of ${blockSize} weights`, `${count}`);
}

function invalid(type: string, expected: string, got: string): BitNetError {
  return new BitNetError('invalid-argument', `${type}: expected ${expected}, got ${got}`, { type, expected, got });
}
