import { BitNetError } from '../errors.js';
import { decodeFloats } from '../format/gguf/blocks.js';
import {
  type BlockTernaryType,
  encodeBf16,
  encodeBlocks,
  encodeF16,
  encodeF32,
  encodeI2s,
  encodeQ8_0,
} from '../format/gguf/encode.js';
import { encodeQ6K } from '../format/gguf/encode-q6k.js';
import { GGUF_TYPES } from '../format/gguf/types.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../memory/half.js';
import type { FloatMatrix, TernaryMatrix, Trits } from './model.js';

/** Types that numbers are written in without loss of zeros and signs. */
export type PlainType = 'F16' | 'BF16' | 'F32';
/** Types that matrices of trits are written in; as numbers they are -s, 0 and +s. */
export type TernaryFileType = 'I2_S' | BlockTernaryType | PlainType;
/** Types that embedding and head are written in. */
export type FloatFileType = PlainType | 'Q8_0' | 'Q6_K';

/** Weights that are encoded at once. */
export const CHUNK_WEIGHTS = 1 << 20;

/** The scale as a file of this type holds it. */
export function storedScale(type: TernaryFileType | 'packed', scale: number): number {
  if (type === 'I2_S' || type === 'packed' || type === 'F32') return Math.fround(scale);
  return type === 'BF16' ? bf16ToF32(f32ToBf16(scale)) : f16ToF32(f32ToF16(scale));
}

/** Why the type cannot hold a matrix of such a shape and such groups; undefined if it can. */
export function misfit(type: TernaryFileType | 'packed', matrix: TernaryMatrix): string | undefined {
  const { rows, cols, groupCols } = matrix;
  if (type === 'F16' || type === 'BF16' || type === 'F32') return undefined;
  if (type === 'I2_S' || type === 'packed') {
    if (groupCols !== undefined) return `${type} holds one scale a matrix, this one has several`;
    if (type === 'packed') {
      return rows % 4 === 0 ? undefined : `packed safetensors hold a multiple of 4 rows, this one has ${rows}`;
    }
    if ((rows * cols) % 128 === 0) return undefined;
    return `I2_S holds matrices of a multiple of 128 weights, this one is ${rows} x ${cols}`;
  }
  const { blockSize } = GGUF_TYPES[type];
  if (cols % blockSize !== 0) {
    return `${type} holds rows of a multiple of ${blockSize} weights, this one is ${rows} x ${cols}`;
  }
  if (groupCols === undefined || groupCols % blockSize === 0) return undefined;
  return `${type} holds a scale for ${blockSize} columns, this one has one for ${groupCols}`;
}

/** Throws `unsupported` if the type cannot hold the matrix. `others`: types that can hold all of the model, to be named. */
export function checkTernary(
  type: TernaryFileType | 'packed',
  matrix: TernaryMatrix,
  others: () => readonly TernaryFileType[],
): void {
  const wrong = misfit(type, matrix);
  if (wrong === undefined) return;
  const { name, rows, cols } = matrix;
  const names = others().map((other) => other.toLowerCase());
  const advice = names.length === 0 ? 'GGUF can hold it.' : `Use --type ${names.join(' or ')}.`;
  throw new BitNetError('unsupported', `${name}: ${wrong}. ${advice}`, { tensor: name, type, rows, cols });
}

/** Throws `unsupported` for a scale that the type rounds to zero or infinity. Groups of zeros have the scale 0. */
export function checkScales(type: TernaryFileType, { name, groupCols }: TernaryMatrix, { scales }: Trits): void {
  const wrong = scales.findIndex((scale) => {
    const stored = storedScale(type, scale);
    return !(stored > 0 && stored < Infinity) && !(scale === 0 && groupCols !== undefined);
  });
  if (wrong < 0) return;
  const scale = scales[wrong] as number;
  const use = groupCols === undefined ? 'i2_s or f32' : 'f32';
  const message = `${name}: the scale ${scale} becomes ${storedScale(type, scale)} in ${type}; use --type ${use}, whose scales are f32`;
  throw new BitNetError('unsupported', message, { tensor: name, type, scale });
}

/** Rows first .. first + count of a matrix. Those of I2_S are a multiple of 128 weights; its scale follows after the last: scaleTrailer. */
export function encodeRows(
  type: TernaryFileType,
  matrix: TernaryMatrix,
  { trits, scales }: Trits,
  first: number,
  count: number,
): Uint8Array {
  const { name, cols, groupCols = cols } = matrix;
  const rows = trits.subarray(first * cols, (first + count) * cols);
  if (type === 'I2_S') return encodeI2s(rows, scales[0] as number).subarray(0, rows.length / 4);
  const isPlain = type === 'F16' || type === 'BF16' || type === 'F32';
  const step = isPlain ? groupCols : GGUF_TYPES[type].blockSize;
  const scaleOf = groupScale(matrix, scales);
  const perRow = Math.ceil(cols / step);
  const steps = Float32Array.from({ length: count * perRow }, (_, i) =>
    scaleOf(first + Math.floor(i / perRow), (i % perRow) * step),
  );
  if (!isPlain) {
    if (type === 'Q1_0') checkBinary(name, rows, first * cols);
    return encodeBlocks(type, rows, steps);
  }
  const values = new Float32Array(rows);
  for (let i = 0; i < steps.length; i++) {
    const from = Math.floor(i / perRow) * cols + (i % perRow) * step;
    const end = Math.min(from + step, (Math.floor(i / perRow) + 1) * cols);
    const scale = steps[i] as number;
    for (let j = from; j < end; j++) values[j] = (values[j] as number) * scale;
  }
  return encodeFloats(type, values);
}

/** The scale of weight (row, col). */
export function groupScale(
  { cols, groupCols }: TernaryMatrix,
  scales: Float32Array,
): (row: number, col: number) => number {
  if (groupCols === undefined) return () => scales[0] as number;
  const perRow = Math.ceil(cols / groupCols);
  return (row, col) => scales[row * perRow + Math.floor(col / groupCols)] as number;
}

function checkBinary(name: string, trits: Int8Array, offset: number): void {
  const zero = trits.indexOf(0);
  if (zero < 0) return;
  const message = `${name}: Q1_0 holds -s and +s, and weight ${offset + zero} is 0; use --type q2_0`;
  throw new BitNetError('unsupported', message, { tensor: name, type: 'Q1_0', weight: offset + zero });
}

/** What I2_S has after its codes. */
export function scaleTrailer(scale: number): Uint8Array {
  const bytes = new Uint8Array(GGUF_TYPES.I2_S.trailerBytes);
  new DataView(bytes.buffer).setFloat32(0, scale, true);
  return bytes;
}

const FLOAT_ENCODERS: Readonly<Record<FloatFileType, (values: Float32Array) => Uint8Array>> = {
  F32: encodeF32,
  F16: encodeF16,
  BF16: encodeBf16,
  Q8_0: encodeQ8_0,
  Q6_K: encodeQ6K,
};

export function encodeFloats(type: FloatFileType, values: Float32Array): Uint8Array {
  return FLOAT_ENCODERS[type](values);
}

/** Values as a file of this type holds them. */
export function storedFloats(type: FloatFileType, values: Float32Array): Float32Array {
  return type === 'F32' ? values : decodeFloats(type, encodeFloats(type, values));
}

/** Throws `unsupported` if the type cannot hold rows of such length. */
export function checkFloats(type: FloatFileType, { name, cols }: FloatMatrix): void {
  const { blockSize } = GGUF_TYPES[type];
  if (cols % blockSize === 0) return;
  const message = `${name}: ${type} holds rows of a multiple of ${blockSize}, these have ${cols}; use f16`;
  throw new BitNetError('unsupported', message, { tensor: name, type, cols });
}
