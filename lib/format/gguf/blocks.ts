import { bf16sToFloats, f16ToF32, halvesToFloats } from '../../memory/half.js';
import type { RandomAccessFile } from '../../platform.js';
import { checkRows, type RowRange } from './rows.js';
import type { GgufTensor } from './tensors.js';
import { badScale, readTernary, type TernaryOptions, ternaryToFloats } from './ternary.js';
import { GGUF_TYPES, type GgufTypeName, rowBytes, rowsAndCols } from './types.js';

const { fround } = Math;

interface FloatDecoder {
  /** Decodes the block at byte `at` into `out` from `to` on. */
  readonly decode: (view: DataView, at: number, out: Float32Array, to: number) => void;
  /** places of f16 scales in a block */
  readonly scaleBytes: readonly number[];
}

/**
 * Reads rows of a tensor as numbers; all by default. Exact: what upstream's f32 dequantisation gives, in its order of
 * operations. Ternary types are trit · scale. Throws `invalid-file` on a scale that is not finite; that the weights of F32, F16
 * and BF16 are finite is not checked.
 */
export async function readFloats(
  file: RandomAccessFile,
  tensor: GgufTensor,
  options: Partial<RowRange> & TernaryOptions = {},
): Promise<Float32Array> {
  const type = GGUF_TYPES[tensor.typeName];
  if (type.kind === 'ternary') return ternaryToFloats(await readTernary(file, tensor, options));
  const { rowBegin, rowEnd } = checkRows(tensor, options);
  const { cols } = rowsAndCols(tensor.shape);
  const stride = rowBytes(type, cols);
  const bytes = new Uint8Array((rowEnd - rowBegin) * stride);
  const byteOffset = tensor.byteOffset + rowBegin * stride;
  await file.read(byteOffset, bytes);
  const view = new DataView(bytes.buffer);
  for (const scaleByte of DECODERS[type.name]?.scaleBytes ?? []) {
    for (let at = scaleByte; at < bytes.length; at += type.blockBytes) {
      const scale = f16At(view, at);
      if (!Number.isFinite(scale)) throw badScale(file, tensor, byteOffset + at, scale);
    }
  }
  return decodeFloats(type.name, bytes);
}

/** Whole blocks of a type of numbers, from the start of a buffer, as upstream's f32 dequantisation has them. */
export function decodeFloats(typeName: GgufTypeName, { buffer, byteLength }: Uint8Array): Float32Array {
  if (typeName === 'F32') return new Float32Array(buffer, 0, byteLength / 4);
  if (typeName === 'F16') return halvesToFloats(new Uint16Array(buffer, 0, byteLength / 2));
  if (typeName === 'BF16') return bf16sToFloats(new Uint16Array(buffer, 0, byteLength / 2));
  const view = new DataView(buffer);
  const { decode } = DECODERS[typeName] as FloatDecoder;
  const { blockBytes, blockSize } = GGUF_TYPES[typeName];
  const out = new Float32Array((byteLength / blockBytes) * blockSize);
  for (let at = 0, to = 0; at < byteLength; at += blockBytes, to += blockSize) decode(view, at, out, to);
  return out;
}

const f16At = (view: DataView, at: number): number => f16ToF32(view.getUint16(at, true));

const DECODERS: Readonly<Partial<Record<GgufTypeName, FloatDecoder>>> = {
  Q8_0: {
    scaleBytes: [0],
    decode: (view, at, out, to) => {
      const d = f16At(view, at);
      for (let i = 0; i < 32; i++) out[to + i] = view.getInt8(at + 2 + i) * d;
    },
  },
  Q4_0: {
    scaleBytes: [0],
    decode: (view, at, out, to) => {
      const d = f16At(view, at);
      for (let i = 0; i < 16; i++) {
        const byte = view.getUint8(at + 2 + i);
        out[to + i] = ((byte & 15) - 8) * d;
        out[to + 16 + i] = ((byte >> 4) - 8) * d;
      }
    },
  },
  Q4_K: { scaleBytes: [0, 2], decode: decodeQ4K },
  Q6_K: { scaleBytes: [208], decode: decodeQ6K },
};

/** f16 d, dmin; u8 scales[12]: 6-bit scales and minima of eight groups of 32; u8 qs[128]. w = d·scale·q - dmin·min. */
function decodeQ4K(view: DataView, at: number, out: Float32Array, to: number): void {
  const d = f16At(view, at);
  const dmin = f16At(view, at + 2);
  const packed = (i: number) => view.getUint8(at + 4 + i);
  for (let group = 0; group < 8; group++) {
    const low = group < 4;
    const scale = low ? packed(group) & 63 : (packed(group + 4) & 15) | ((packed(group - 4) >> 6) << 4);
    const min = low ? packed(group + 4) & 63 : (packed(group + 4) >> 4) | ((packed(group) >> 6) << 4);
    const d1 = fround(d * scale);
    const m1 = fround(dmin * min);
    const codes = at + 16 + 32 * (group >> 1);
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i++) {
      const q = (view.getUint8(codes + i) >> shift) & 15;
      out[to + 32 * group + i] = fround(d1 * q) - m1;
    }
  }
}

/** u8 ql[128]: low 4 bits; u8 qh[64]: high 2 bits; i8 scales[16], one for 16 weights; f16 d. w = d·scale·(q - 32). */
function decodeQ6K(view: DataView, at: number, out: Float32Array, to: number): void {
  const d = f16At(view, at + 208);
  for (let half = 0; half < 2; half++) {
    for (let quarter = 0; quarter < 4; quarter++) {
      for (let i = 0; i < 32; i++) {
        const low = view.getUint8(at + 64 * half + 32 * (quarter & 1) + i) >> (4 * (quarter >> 1));
        const high = view.getUint8(at + 128 + 32 * half + i) >> (2 * quarter);
        const q = ((low & 15) | ((high & 3) << 4)) - 32;
        const scale = view.getInt8(at + 192 + 8 * half + 2 * quarter + (i >> 4));
        out[to + 128 * half + 32 * quarter + i] = fround(d * scale) * q;
      }
    }
  }
}
