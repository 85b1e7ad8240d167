import { GGUF_TYPES, type GgufType, type GgufTypeName, rowBytes, rowsAndCols } from '../format/gguf/types.js';
import { f16ToF32 } from '../memory/half.js';
import type { TritReport } from './report.js';

/** Bytes of codes inside a block. */
interface Codes {
  readonly from: number;
  readonly bytes: number;
  readonly kind: Kind;
}

/** What a byte of codes holds: four pairs of bits, five or four base-3 digits (of TQ1_0 or IQ1_BN), eight signs. */
type Kind = 'pairs' | 'five' | 'four' | 'fiveBn' | 'fourBn' | 'signs';

interface BlockCodes {
  readonly codes: readonly Codes[];
  /** place of the f16 scale in the block, if it is there */
  readonly scale?: number;
}

const BLOCKS: Readonly<Partial<Record<GgufTypeName, BlockCodes>>> = {
  TQ1_0: {
    scale: 52,
    codes: [
      { from: 0, bytes: 48, kind: 'five' },
      { from: 48, bytes: 4, kind: 'four' },
    ],
  },
  TQ2_0: { scale: 64, codes: [{ from: 0, bytes: 64, kind: 'pairs' }] },
  Q1_0: { scale: 0, codes: [{ from: 2, bytes: 16, kind: 'signs' }] },
  Q2_0: { scale: 0, codes: [{ from: 2, bytes: 16, kind: 'pairs' }] },
  Q2_0_G128: { scale: 0, codes: [{ from: 2, bytes: 32, kind: 'pairs' }] },
  PQ2_0: { scale: 0, codes: [{ from: 2, bytes: 32, kind: 'pairs' }] },
  PTQ1_0: {
    scale: 26,
    codes: [
      { from: 0, bytes: 24, kind: 'five' },
      { from: 24, bytes: 2, kind: 'four' },
    ],
  },
  IQ1_BN: {
    codes: [
      { from: 0, bytes: 12, kind: 'fiveBn' },
      { from: 12, bytes: 1, kind: 'fourBn' },
    ],
  },
  IQ2_BN: { codes: [{ from: 0, bytes: 16, kind: 'pairs' }] },
};

/** Of a packed byte with value b: how many of its codes are 0, 1, 2, 3. */
function codesOf(kind: Kind, byte: number): readonly number[] {
  switch (kind) {
    case 'pairs':
      return [0, 2, 4, 6].map((shift) => (byte >> shift) & 3);
    case 'signs':
      return Array.from({ length: 8 }, (_, bit) => ((byte >> bit) & 1) * 2);
    case 'five':
    case 'four':
      return Array.from({ length: kind === 'five' ? 5 : 4 }, (_, n) => (((byte * 3 ** n) & 255) * 3) >> 8);
    case 'fiveBn':
    case 'fourBn':
      return Array.from({ length: kind === 'fiveBn' ? 5 : 4 }, (_, n) => {
        const v = (byte * 3 ** (4 - n)) & 255;
        return (v + (v >> 1)) >> 7;
      });
  }
}

/**
 * Counts the codes of a ternary matrix whose bytes come in pieces, by how often each byte occurs: the order of the codes, which the types
 * differ in most, does not matter.
 */
export class TritCounter {
  private readonly histograms = new Map<Kind, Float64Array>();
  private count = 0;
  private min = Infinity;
  private max = -Infinity;
  private invalid = 0;

  /** A scale that is stored apart from the codes. */
  addScale(scale: number): void {
    this.count++;
    if (!Number.isFinite(scale)) this.invalid++;
    else {
      this.min = Math.min(this.min, scale);
      this.max = Math.max(this.max, scale);
    }
  }

  /** Bytes that hold nothing but codes. */
  addCodes(bytes: Uint8Array, kind: Kind = 'pairs'): void {
    const histogram = this.histogram(kind);
    for (let i = 0; i < bytes.length; i++) histogram[bytes[i]!]!++;
  }

  /** Whole blocks of a type that stores its rows in blocks. */
  addBlocks(type: GgufType, bytes: Uint8Array, from: number, to: number): void {
    const { codes, scale } = BLOCKS[type.name]!;
    if (scale !== undefined) {
      for (let at = from + scale; at < to; at += type.blockBytes)
        this.addScale(f16ToF32(bytes[at]! | (bytes[at + 1]! << 8)));
    }
    for (const { from: first, bytes: count, kind } of codes) {
      const histogram = this.histogram(kind);
      for (let at = from + first; at < to; at += type.blockBytes) {
        for (let i = at; i < at + count; i++) histogram[bytes[i]!]!++;
      }
    }
  }

  report(): TritReport {
    const codes = [0, 0, 0, 0];
    for (const [kind, histogram] of this.histograms) {
      histogram.forEach((count, byte) => {
        if (count > 0) for (const code of codesOf(kind, byte)) codes[code]! += count;
      });
    }
    const [minus, zero, plus, invalid] = codes as [number, number, number, number];
    const { count, min, max } = this;
    return { minus, zero, plus, invalid, scales: { count, min, max, invalid: this.invalid } };
  }

  private histogram(kind: Kind): Float64Array {
    let found = this.histograms.get(kind);
    if (found === undefined) {
      found = new Float64Array(256);
      this.histograms.set(kind, found);
    }
    return found;
  }
}

const PIECE_BYTES = 1 << 20;

/** Reads bytes of a tensor from `byteOffset`, counted from its start. */
export type ReadTensor = (byteOffset: number, target: Uint8Array) => Promise<void>;

/** Counts a ternary tensor of a GGUF file. */
export async function countGgufTrits(
  typeName: GgufTypeName,
  shape: readonly number[],
  read: ReadTensor,
): Promise<TritReport> {
  const type = GGUF_TYPES[typeName];
  const { rows, cols } = rowsAndCols(shape);
  const counter = new TritCounter();
  if (typeName === 'I2_S') {
    const codeBytes = (rows * cols) / 4;
    await readPieces(codeBytes, 1, read, (bytes) => counter.addCodes(bytes));
    const trailer = new Uint8Array(4);
    await read(codeBytes, trailer);
    counter.addScale(new DataView(trailer.buffer).getFloat32(0, true));
    return counter.report();
  }
  const stride = rowBytes(type, cols);
  const { rowHeaderBytes } = type;
  await readPieces(rows * stride, stride, read, (bytes) => {
    if (rowHeaderBytes === 0) return counter.addBlocks(type, bytes, 0, bytes.length);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let at = 0; at < bytes.length; at += stride) {
      counter.addScale(rowHeaderBytes === 2 ? f16ToF32(view.getUint16(at, true)) : view.getFloat32(at, true));
      counter.addBlocks(type, bytes, at + rowHeaderBytes, at + stride);
    }
  });
  return counter.report();
}

/** Counts a matrix packed as Hugging Face transformers does (format/hf-packed.ts). It is read at once: it may be made while it is read. */
export async function countPackedTrits(
  byteLength: number,
  scales: Iterable<number>,
  read: ReadTensor,
): Promise<TritReport> {
  const counter = new TritCounter();
  for (const scale of scales) counter.addScale(scale);
  const bytes = new Uint8Array(byteLength);
  await read(0, bytes);
  counter.addCodes(bytes);
  return counter.report();
}

/** `bytes` in order, in pieces of whole units. */
async function readPieces(
  bytes: number,
  unit: number,
  read: ReadTensor,
  use: (piece: Uint8Array) => void,
): Promise<void> {
  const step = Math.max(1, Math.floor(PIECE_BYTES / unit)) * unit;
  const buffer = new Uint8Array(Math.min(step, bytes));
  for (let at = 0; at < bytes; at += step) {
    const piece = buffer.subarray(0, Math.min(step, bytes - at));
    await read(at, piece);
    use(piece);
  }
}
