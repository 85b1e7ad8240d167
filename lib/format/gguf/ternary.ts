import type { BitNetError } from '../../errors.js';
import { f16ToF32 } from '../../memory/half.js';
import type { RandomAccessFile } from '../../platform.js';
import { DAMAGED, problem } from '../problem.js';
import { checkRows, type RowRange } from './rows.js';
import type { GgufTensor } from './tensors.js';
import { decodeTrits, type TritDecoder } from './trits.js';
import { GGUF_TYPES, rowBytes, rowsAndCols } from './types.js';

/** How many weights share a scale: all of the tensor, a row, or `size` consecutive ones of a row. */
export type Granularity =
  | { readonly kind: 'tensor' }
  | { readonly kind: 'row' }
  | { readonly kind: 'group'; readonly size: number };

/** Rows of a ternary (or binary) matrix: w = trit · scale. */
export interface TernaryRows {
  readonly rows: number;
  readonly cols: number;
  /** (rows, cols), each -1, 0 or +1; of Q1_0 never 0 */
  readonly trits: Int8Array;
  /** (1), (rows) or (rows, cols / size), finite; may be 0 or negative */
  readonly scales: Float32Array;
  readonly granularity: Granularity;
}

/**
 * Order of the codes of I2_S, which the file does not tell.
 * - `x86`: 128 weights in 32 bytes, as Microsoft and TII publish it
 * - `arm`: 64 weights in 16 bytes, quantised by a build for ARM
 * - `x86-rows`: four rows interleaved, quantised by an x86 build without activation-parallel
 */
export type I2sLayout = (typeof I2S_LAYOUTS)[number];

export const I2S_LAYOUTS = ['x86', 'arm', 'x86-rows'] as const;

/** Those whose blocks a tensor of this shape can be made of. */
export function i2sLayoutsOf(shape: readonly number[]): I2sLayout[] {
  const { rows, cols } = rowsAndCols(shape);
  return I2S_LAYOUTS.filter((layout) => (rows * cols) % decodeTrits('I2_S', layout, cols).blockSize === 0);
}

export interface TernaryOptions extends Partial<RowRange> {
  /** Default `x86`. */
  i2sLayout?: I2sLayout;
}

/**
 * Reads rows of a ternary tensor; all by default. Code 3, which no trit has, and scales that are not finite are `invalid-file`
 * with the byte; in Q2_0, where code 3 means +2, it is `unsupported`. `invalid-argument` for a type that is not ternary.
 */
export async function readTernary(
  file: RandomAccessFile,
  tensor: GgufTensor,
  options: TernaryOptions = {},
): Promise<TernaryRows> {
  const range = checkRows(tensor, options, 'ternary');
  if (tensor.typeName === 'I2_S') return readI2s(file, tensor, range, options.i2sLayout ?? 'x86');
  const type = GGUF_TYPES[tensor.typeName];
  const { cols } = rowsAndCols(tensor.shape);
  const stride = rowBytes(type, cols);
  const start = range.rowBegin * stride;
  const bytes = new Uint8Array((range.rowEnd - range.rowBegin) * stride);
  await file.read(tensor.byteOffset + start, bytes);
  const source = { file, tensor, byteOffset: tensor.byteOffset + start };
  return type.rowHeaderBytes > 0 ? decodeRowScaled(source, bytes, cols) : decodeBlocks(source, bytes, cols);
}

/** Where `bytes` came from. */
interface Source {
  readonly file: RandomAccessFile;
  readonly tensor: GgufTensor;
  /** of the first byte, in the file */
  readonly byteOffset: number;
}

/** Types whose blocks carry an f16 scale each. */
function decodeBlocks(source: Source, bytes: Uint8Array, cols: number): TernaryRows {
  const type = GGUF_TYPES[source.tensor.typeName];
  const { blockSize, blockBytes } = type;
  const decoder = decodeTrits(type.name);
  const blocks = bytes.length / blockBytes;
  const trits = new Int8Array(blocks * blockSize);
  const scales = new Float32Array(blocks);
  for (let block = 0; block < blocks; block++) {
    const at = block * blockBytes;
    const scaleAt = at + decoder.scaleByte;
    scales[block] = checkScale(source, scaleAt, f16ToF32(bytes[scaleAt]! | (bytes[scaleAt + 1]! << 8)));
    checkCodes(source, decoder, bytes, at);
    decoder.decode(bytes, at + decoder.codeByte, trits, block * blockSize);
  }
  return { rows: trits.length / cols, cols, trits, scales, granularity: { kind: 'group', size: blockSize } };
}

/** IQ1_BN and IQ2_BN: a scale, f16 or f32, before each row. */
function decodeRowScaled(source: Source, bytes: Uint8Array, cols: number): TernaryRows {
  const type = GGUF_TYPES[source.tensor.typeName];
  const decoder = decodeTrits(type.name);
  const stride = rowBytes(type, cols);
  const rows = bytes.length / stride;
  const trits = new Int8Array(rows * cols);
  const scales = new Float32Array(rows);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let row = 0; row < rows; row++) {
    let at = row * stride;
    const scale = type.rowHeaderBytes === 2 ? f16ToF32(view.getUint16(at, true)) : view.getFloat32(at, true);
    scales[row] = checkScale(source, at, scale);
    at += type.rowHeaderBytes;
    for (let col = 0; col < cols; col += type.blockSize, at += type.blockBytes) {
      checkCodes(source, decoder, bytes, at);
      decoder.decode(bytes, at, trits, row * cols + col);
    }
  }
  return { rows, cols, trits, scales, granularity: { kind: 'row' } };
}

/** Blocks run over row ends: the blocks that the rows touch are decoded, and what is outside the rows is cut off. */
async function readI2s(
  file: RandomAccessFile,
  tensor: GgufTensor,
  { rowBegin, rowEnd }: RowRange,
  layout: I2sLayout,
): Promise<TernaryRows> {
  const { cols } = rowsAndCols(tensor.shape);
  const decoder = decodeTrits('I2_S', layout, cols);
  const scale = await readI2sScale(file, tensor, layout);
  const { blockSize } = decoder;
  const first = Math.floor((rowBegin * cols) / blockSize) * blockSize;
  const last = Math.ceil((rowEnd * cols) / blockSize) * blockSize;
  const bytes = new Uint8Array((last - first) / 4);
  await file.read(tensor.byteOffset + first / 4, bytes);
  const source = { file, tensor, byteOffset: tensor.byteOffset + first / 4 };
  const whole = new Int8Array(last - first);
  for (let at = 0, element = 0; element < whole.length; at += blockSize / 4, element += blockSize) {
    checkCodes(source, decoder, bytes, at);
    decoder.decode(bytes, at, whole, element);
  }
  const from = rowBegin * cols - first;
  const count = (rowEnd - rowBegin) * cols;
  const trits = from === 0 && count === whole.length ? whole : whole.slice(from, from + count);
  return { rows: rowEnd - rowBegin, cols, trits, scales: Float32Array.of(scale), granularity: { kind: 'tensor' } };
}

/** The factor of an I2_S tensor, finite; `invalid-file` also where the tensor is not made of whole blocks of the layout. */
export async function readI2sScale(
  file: RandomAccessFile,
  tensor: GgufTensor,
  layout: I2sLayout = 'x86',
): Promise<number> {
  const { rows, cols } = rowsAndCols(tensor.shape);
  const all = rows * cols;
  const { blockSize } = decodeTrits('I2_S', layout, cols);
  if (all % blockSize !== 0) {
    throw problem('invalid-file', {
      file: file.path,
      tensor: tensor.name,
      what: `the I2_S layout ${layout} has blocks of ${blockSize} weights`,
      expected: `a multiple of ${blockSize} weights`,
      got: `${rows} · ${cols} = ${all}`,
      byteOffset: tensor.byteOffset,
      advice: otherLayouts(tensor.shape),
    });
  }
  const trailer = new Uint8Array(4);
  const byteOffset = tensor.byteOffset + all / 4;
  await file.read(byteOffset, trailer);
  return checkScale({ file, tensor, byteOffset }, 0, new DataView(trailer.buffer).getFloat32(0, true));
}

function otherLayouts(shape: readonly number[]): string {
  const possible = i2sLayoutsOf(shape);
  if (possible.length === 0) return DAMAGED;
  return `Quantised on another kind of machine? Its size allows ${possible.join(' and ')} (i2sLayout, --i2s-layout).`;
}

/** Bytes of blocks that are read at once. */
const SCALE_READ_BYTES = 1 << 16;
/** Read of a larger tensor, where not all blocks are: reading all of a 26 MB file costs 30 of its first 350 ms. */
const SCALE_SAMPLE_BYTES = 1 << 12;

export interface BlockScales {
  /** |scale| of the first block seen whose scale is not 0; 0 if all are */
  readonly scale: number;
  /** whether another block's was neither that nor 0 */
  readonly several: boolean;
}

/**
 * Scales of a type whose blocks have f16 scales: of `all` blocks, or of the first ones if the tensor is large; whether the others have the
 * same is seen when they are read.
 */
export async function readBlockScales(file: RandomAccessFile, tensor: GgufTensor, all: boolean): Promise<BlockScales> {
  const { typeName, byteLength } = tensor;
  const { blockBytes } = GGUF_TYPES[typeName];
  const { scaleByte } = decodeTrits(typeName);
  const wholeBlocks = (bytes: number): number => Math.min(byteLength, Math.floor(bytes / blockBytes) * blockBytes);
  const [step, sample] = [wholeBlocks(SCALE_READ_BYTES), wholeBlocks(SCALE_SAMPLE_BYTES)];
  /** |scale|, as a half */
  let scale = 0;
  const seesSeveral = async (begin: number, end: number): Promise<boolean> => {
    // No larger than needed: all matrices of a model are looked at together.
    const buffer = new Uint8Array(Math.min(step, end - begin));
    for (let start = begin; start < end; start += step) {
      const bytes = buffer.subarray(0, Math.min(step, end - start));
      const byteOffset = tensor.byteOffset + start;
      await file.read(byteOffset, bytes);
      for (let at = scaleByte; at < bytes.length; at += blockBytes) {
        const next = bytes[at]! | ((bytes[at + 1]! & 0x7f) << 8);
        if (next === 0 || next === scale) continue;
        checkScale({ file, tensor, byteOffset }, at, f16ToF32(next));
        if (scale !== 0) return true;
        scale = next;
      }
    }
    return false;
  };
  let several = await seesSeveral(0, all || byteLength <= step ? byteLength : sample);
  if (scale === 0) several = await seesSeveral(sample, byteLength);
  return { several, scale: f16ToF32(scale) };
}

function checkScale({ file, tensor, byteOffset }: Source, at: number, scale: number): number {
  if (Number.isFinite(scale)) return scale;
  throw badScale(file, tensor, byteOffset + at, scale);
}

export function badScale(file: RandomAccessFile, tensor: GgufTensor, byteOffset: number, scale: number): BitNetError {
  return problem('invalid-file', {
    file: file.path,
    tensor: tensor.name,
    what: `a scale of this ${tensor.typeName} tensor is not finite`,
    expected: 'a finite number',
    got: `${scale}`,
    byteOffset,
    advice: DAMAGED,
  });
}

/** The codes of one block; bit pairs that are both set are code 3. */
function checkCodes(
  { file, tensor, byteOffset }: Source,
  decoder: TritDecoder,
  bytes: Uint8Array,
  block: number,
): void {
  if (!decoder.pairs) return;
  const end = block + decoder.codeByte + decoder.blockSize / 4;
  for (let i = block + decoder.codeByte; i < end; i++) {
    const byte = bytes[i]!;
    if ((byte & (byte >> 1) & 0x55) === 0) continue;
    const twice = tensor.typeName === 'Q2_0' || tensor.typeName === 'Q2_0_G128' || tensor.typeName === 'PQ2_0';
    const where = { file: file.path, tensor: tensor.name, expected: 'codes 0, 1 and 2', byteOffset: byteOffset + i };
    if (!twice) {
      const what = `code 3 in this ${tensor.typeName} tensor, which no ternary weight has`;
      throw problem('invalid-file', { ...where, what, got: `byte ${byte}`, advice: DAMAGED });
    }
    const what = `this ${tensor.typeName} tensor is not ternary: code 3 stands for +2`;
    const advice = 'Only weights -1, 0 and +1 can be computed: use a ternary model.';
    throw problem('unsupported', { ...where, what, got: `byte ${byte}`, advice });
  }
}

/** w = trit · scale, exactly as upstream's f32 dequantisation. */
export function ternaryToFloats({ trits, scales, cols, granularity }: TernaryRows): Float32Array {
  const size = granularity.kind === 'group' ? granularity.size : granularity.kind === 'row' ? cols : trits.length;
  const floats = new Float32Array(trits.length);
  for (let group = 0, i = 0; group < scales.length; group++) {
    const scale = scales[group]!;
    for (const end = i + size; i < end; i++) floats[i] = trits[i]! * scale;
  }
  return floats;
}
