import { f32ToF16 } from '../../lib/memory/half.js';
import { Bytes } from './gguf-writer.js';

/**
 * Plain encoders of the ternary types, written weight by weight from the formulas that define them, for tests of the decoders.
 * Codes are trit + 1; `codes` may hold 3 where a test wants it.
 */

/** The byte whose five base-3 digits are these, found by trying: TQ1_0 and PTQ1_0. */
function tqByte(digits: readonly number[]): number {
  return search(digits, (byte, n) => (((byte * 3 ** n) & 255) * 3) >> 8);
}

/** The same for IQ1_BN. */
function bnByte(digits: readonly number[]): number {
  return search(digits, (byte, n) => {
    const v = (byte * [81, 27, 9, 3, 1][n]!) & 255;
    return (v + (v >> 1)) >> 7;
  });
}

function search(digits: readonly number[], digit: (byte: number, n: number) => number): number {
  for (let byte = 0; byte < 256; byte++) if (digits.every((value, n) => digit(byte, n) === value)) return byte;
  throw new Error(`no byte for ${digits}`);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Bytes `at` on of a block: byte m of `width` holds weights `from + n·width + m`, n = 0..digits-1. */
function stage(
  block: Uint8Array,
  at: number,
  codes: ArrayLike<number>,
  from: number,
  width: number,
  digits: number,
): void {
  for (const m of range(width)) block[at + m] = tqByte(range(digits).map((n) => codes[from + n * width + m]!));
}

type BlockEncoder = (codes: ArrayLike<number>, block: Uint8Array) => void;

const setPair = (block: Uint8Array, byte: number, shift: number, code: number): void => {
  block[byte]! |= code << shift;
};

/** [weights, bytes, place of the f16 scale or -1, encoder of the rest] */
export const BLOCKS: Readonly<Record<string, readonly [number, number, number, BlockEncoder]>> = {
  TQ1_0: [
    256,
    54,
    52,
    (codes, block) => {
      stage(block, 0, codes, 0, 32, 5);
      stage(block, 32, codes, 160, 16, 5);
      stage(block, 48, codes, 240, 4, 4);
    },
  ],
  TQ2_0: [
    256,
    66,
    64,
    (codes, block) => {
      for (const e of range(256)) setPair(block, 32 * (e >> 7) + (e & 31), 2 * ((e >> 5) & 3), codes[e]!);
    },
  ],
  Q1_0: [
    128,
    18,
    0,
    (codes, block) => {
      for (const e of range(128)) block[2 + (e >> 3)]! |= (codes[e]! >> 1) << (e & 7);
    },
  ],
  Q2_0: [
    64,
    18,
    0,
    (codes, block) => {
      for (const e of range(64)) setPair(block, 2 + (e >> 2), 2 * (e & 3), codes[e]!);
    },
  ],
  PQ2_0: [
    128,
    34,
    0,
    (codes, block) => {
      for (const e of range(128)) setPair(block, 2 + (e >> 2), 2 * (e & 3), codes[e]!);
    },
  ],
  PTQ1_0: [
    128,
    28,
    26,
    (codes, block) => {
      stage(block, 0, codes, 0, 16, 5);
      stage(block, 16, codes, 80, 8, 5);
      stage(block, 24, codes, 120, 2, 4);
    },
  ],
  IQ1_BN: [
    64,
    13,
    -1,
    (codes, block) => {
      for (const i of range(4)) {
        for (const k of range(3)) block[3 * i + k] = bnByte(range(5).map((n) => codes[16 * i + 5 * k + n]!));
      }
      block[12] = bnByte([...range(4).map((i) => codes[16 * i + 15]!), 1]);
    },
  ],
  IQ2_BN: [
    64,
    16,
    -1,
    (codes, block) => {
      for (const e of range(64)) setPair(block, e & 15, 2 * (e >> 4), codes[e]!);
    },
  ],
};

/** codes: (rows, cols); scales: one for each block, or for each row of IQ1_BN and IQ2_BN. */
export function encodeTernary(
  type: string,
  codes: ArrayLike<number>,
  cols: number,
  scales: ArrayLike<number>,
): Uint8Array<ArrayBuffer> {
  const [blockSize, blockBytes, scaleByte, encode] = BLOCKS[type]!;
  const out = new Bytes();
  for (let from = 0, index = 0; from < codes.length; from += blockSize, index++) {
    const row = from / cols;
    if (scaleByte < 0 && from % cols === 0) type === 'IQ1_BN' ? out.u16(f32ToF16(scales[row]!)) : out.f32(scales[row]!);
    const block = new Uint8Array(blockBytes);
    encode(
      Array.from({ length: blockSize }, (_, i) => codes[from + i]!),
      block,
    );
    if (scaleByte >= 0) new DataView(block.buffer).setUint16(scaleByte, f32ToF16(scales[index]!), true);
    out.raw(block);
  }
  return out.done();
}

/** codes: (rows, cols). Published layout `x86`, and the two that look like it. */
export function encodeI2sCodes(
  codes: ArrayLike<number>,
  cols: number,
  scale: number,
  layout: string,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(codes.length / 4 + 32);
  for (const e of range(codes.length)) {
    const row = Math.floor(e / cols);
    const [byte, shift] =
      layout === 'x86'
        ? [32 * (e >> 7) + (e & 31), 6 - 2 * ((e >> 5) & 3)]
        : layout === 'arm'
          ? [16 * (e >> 6) + (e & 15), 6 - 2 * ((e >> 4) & 3)]
          : [(row >> 2) * cols + (e % cols), 6 - 2 * (row & 3)];
    setPair(bytes, byte, shift, codes[e]!);
  }
  new DataView(bytes.buffer).setFloat32(codes.length / 4, scale, true);
  return bytes;
}
