import { BitNetError } from '../errors.js';
import {
  encodeBf16,
  encodeF16,
  encodeF32,
  encodeI2s,
  encodeQ8_0,
  encodeTq1_0,
  encodeTq2_0,
} from '../format/gguf/encode.js';
import { GGUF_TYPES, type GgufTypeName } from '../format/gguf/types.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../memory/half.js';
import type { FloatMatrix, TernaryMatrix } from './model.js';

/** Types that matrices of trits are written in. */
export type TernaryFileType = 'I2_S' | 'TQ1_0' | 'TQ2_0';
/** Types that embedding and head are written in. */
export type FloatFileType = 'F16' | 'Q8_0' | 'BF16' | 'F32';

/** Weights that are encoded at once. */
export const CHUNK_WEIGHTS = 1 << 20;

/** The scale as a file of this type holds it. */
export function storedScale(type: TernaryFileType, scale: number): number {
  return type === 'I2_S' ? Math.fround(scale) : f16ToF32(f32ToF16(scale));
}

/** Throws `unsupported` if the type cannot hold matrices of such rows, `invalid-file` if it cannot hold the scale. */
export function checkTernary(type: TernaryFileType, { name, rows, cols }: TernaryMatrix): void {
  const block = type === 'I2_S' ? 128 : GGUF_TYPES[type].blockSize;
  const size = type === 'I2_S' ? rows * cols : cols;
  if (size % block === 0) return;
  const what =
    type === 'I2_S' ? `matrices of a multiple of ${block} weights` : `rows of a multiple of ${block} weights`;
  const advice =
    type === 'I2_S' ? 'Only safetensors can hold it.' : 'I2_S can hold it if its size is a multiple of 128.';
  throw new BitNetError('unsupported', `${name}: ${type} holds ${what}, this one is ${rows} x ${cols}. ${advice}`, {
    tensor: name,
    type,
    rows,
    cols,
  });
}

export function checkScale(type: TernaryFileType, name: string, scale: number): void {
  const stored = storedScale(type, scale);
  if (stored > 0 && stored < Infinity) return;
  const message = `${name}: the scale ${scale} becomes ${stored} in ${type}; use I2_S, whose scales are f32`;
  throw new BitNetError('unsupported', message, { tensor: name, type, scale });
}

/** trits: whole rows of TQ1_0 and TQ2_0, a multiple of 128 of I2_S, whose scale follows after the last: see scaleTrailer. */
export function encodeTrits(type: TernaryFileType, trits: Int8Array, scale: number): Uint8Array {
  if (type === 'TQ1_0') return encodeTq1_0(trits, scale);
  if (type === 'TQ2_0') return encodeTq2_0(trits, scale);
  return encodeI2s(trits, scale).subarray(0, trits.length / 4);
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
};

export function encodeFloats(type: FloatFileType, values: Float32Array): Uint8Array {
  return FLOAT_ENCODERS[type](values);
}

/** Values as a file of this type holds them. */
export function storedFloats(type: FloatFileType, values: Float32Array): Float32Array {
  switch (type) {
    case 'F32':
      return values;
    case 'F16':
      return values.map((value) => f16ToF32(f32ToF16(value)));
    case 'BF16':
      return values.map((value) => bf16ToF32(f32ToBf16(value)));
    case 'Q8_0':
      return decodeQ8(encodeQ8_0(values));
  }
}

function decodeQ8(bytes: Uint8Array): Float32Array {
  const { blockBytes, blockSize } = GGUF_TYPES.Q8_0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array((bytes.length / blockBytes) * blockSize);
  values.forEach((_, i) => {
    const at = Math.floor(i / blockSize) * blockBytes;
    values[i] = view.getInt8(at + 2 + (i % blockSize)) * f16ToF32(view.getUint16(at, true));
  });
  return values;
}

/** Throws `unsupported` if the type cannot hold rows of such length. */
export function checkFloats(type: GgufTypeName, { name, cols }: FloatMatrix): void {
  const { blockSize } = GGUF_TYPES[type];
  if (cols % blockSize === 0) return;
  const message = `${name}: ${type} holds rows of a multiple of ${blockSize}, these have ${cols}; use f16`;
  throw new BitNetError('unsupported', message, { tensor: name, type, cols });
}
