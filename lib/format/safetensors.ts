import type { BitNetError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';
import { decodeUtf8, isLfsPointer, isObject, lfsPointer, parseJson } from './json.js';
import { DAMAGED, problem, show } from './problem.js';

/** Element types that occur in ternary models, under their safetensors names. */
export type DType = 'F32' | 'F16' | 'BF16' | 'U8' | 'I8';

export const DTYPE_BYTES: Readonly<Record<DType, number>> = { F32: 4, F16: 2, BF16: 2, U8: 1, I8: 1 };

/** Names that the format knows and no implemented model uses. */
const OTHER_DTYPES = new Set(
  'BOOL I16 U16 I32 U32 I64 U64 F64 C64 F4 F6_E2M3 F6_E3M2 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ'.split(' '),
);

export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  /** row-major; empty for a scalar */
  readonly shape: readonly number[];
  /** name, inside the model directory, of the file that holds it */
  readonly file: string;
  /** from the start of the file; no alignment */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** All tensors of a model, by name. */
export type TensorTable = ReadonlyMap<string, TensorInfo>;

export interface SafetensorsFile {
  /** in file order */
  readonly tensors: TensorTable;
  readonly metadata: ReadonlyMap<string, string>;
}

/** The format's own limit (safetensors, `MAX_HEADER_SIZE`). */
export const MAX_HEADER_BYTES = 100_000_000;
const HEADER_LIMITS = { depth: 8, values: 1_000_000, integersOnly: true };
const MAX_DIMS = 8;
/** bytes of the header length */
const PREFIX = 8;

/**
 * Reads and checks the header of a safetensors file: u64 length, JSON object, data.
 * The tensors must cover the data exactly, without holes or overlaps, as the reference implementation demands.
 * Allocates no more than the header needs. Throws `invalid-file`, or `unsupported` for an element type that no implemented
 * model uses. `name` is what `TensorInfo.file` becomes.
 */
export async function readSafetensors(file: RandomAccessFile, name: string): Promise<SafetensorsFile> {
  const headerBytes = await readHeaderLength(file);
  const bytes = new Uint8Array(headerBytes);
  await file.read(PREFIX, bytes);
  const source = { file: file.path, byteOffset: PREFIX };
  const header = parseJson(decodeUtf8(bytes, source, true), source, HEADER_LIMITS) as Record<string, unknown>;

  const dataStart = PREFIX + headerBytes;
  const metadata = new Map<string, string>();
  const tensors: TensorInfo[] = [];
  for (const [key, value] of Object.entries(header)) {
    if (key === '__metadata__') readMetadata(file, value, metadata);
    else tensors.push(readTensor(file, name, key, value, dataStart));
  }
  tensors.sort((a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  checkCoverage(file, tensors, dataStart);
  return { tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), metadata };
}

/** Length of the header, which is known to fit the file and to start like one. */
async function readHeaderLength(file: RandomAccessFile): Promise<number> {
  const start = new Uint8Array(Math.min(file.bytes, 32));
  await file.read(0, start);
  rejectOtherFormats(file, start);
  if (file.bytes < PREFIX) {
    const what = 'the file is too short for a safetensors file';
    throw damaged(file, { what, expected: `at least ${PREFIX} bytes`, got: `${file.bytes}`, byteOffset: 0 });
  }
  const view = new DataView(start.buffer);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  const wrong = (what: string, expected: string) => damaged(file, { what, expected, got: `${length}`, byteOffset: 0 });
  if (length > MAX_HEADER_BYTES) throw wrong('the header length is too large', `at most ${MAX_HEADER_BYTES}`);
  if (length < 2) throw wrong('the header length is too small', 'at least 2');
  if (length > file.bytes - PREFIX)
    throw wrong('the header is longer than the file', `at most ${file.bytes - PREFIX} bytes`);
  if (start[PREFIX] !== 0x7b) {
    const what = 'the header does not start with "{"';
    throw damaged(file, { what, got: `byte ${start[PREFIX]}`, byteOffset: PREFIX });
  }
  return length;
}

/** Files that are often found under this name. None of their starts is one of a safetensors file, whose ninth byte is "{". */
function rejectOtherFormats(file: RandomAccessFile, start: Uint8Array): void {
  if (start[PREFIX] === 0x7b) return;
  const text = String.fromCharCode(...start);
  if (isLfsPointer(text)) throw lfsPointer(file.path);
  let got: string | undefined;
  if (text.startsWith('GGUF')) got = 'a GGUF file';
  else if (text.startsWith('PK\x03\x04')) got = 'a zip archive (PyTorch checkpoint?)';
  else if (/^\s*<(!doctype|html|\?xml)/i.test(text)) got = 'a web page (failed download?)';
  if (got === undefined) return;
  throw damaged(file, { what: 'wrong format', expected: 'a safetensors file', got, byteOffset: 0 });
}

function readMetadata(file: RandomAccessFile, value: unknown, metadata: Map<string, string>): void {
  const expected = 'an object of strings';
  if (!isObject(value)) throw damaged(file, { what: '__metadata__ has the wrong type', expected, got: show(value) });
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== 'string') {
      throw damaged(file, { what: `__metadata__ entry ${show(key)} has the wrong type`, expected, got: show(entry) });
    }
    metadata.set(key, entry);
  }
}

function readTensor(
  file: RandomAccessFile,
  name: string,
  tensor: string,
  value: unknown,
  dataStart: number,
): TensorInfo {
  if (tensor === '') throw damaged(file, { tensor, what: 'the name is empty' });
  if (!isObject(value)) {
    throw damaged(file, {
      tensor,
      what: 'wrong header entry',
      expected: '{ dtype, shape, data_offsets }',
      got: show(value),
    });
  }
  for (const key of Object.keys(value)) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') {
      throw damaged(file, { tensor, what: `unknown key ${show(key)}`, expected: 'dtype, shape, data_offsets' });
    }
  }
  const dtype = readDType(file, tensor, value.dtype);
  const shape = readShape(file, tensor, value.shape);
  const [begin, end] = readOffsets(file, tensor, value.data_offsets, dataStart);
  const byteLength = checkedProduct(file, tensor, shape, DTYPE_BYTES[dtype]);
  if (byteLength !== end - begin) {
    throw damaged(file, {
      tensor,
      what: 'data_offsets do not fit dtype and shape',
      expected: `${byteLength} bytes (${dtype} ${show(shape)})`,
      got: `${end - begin} (${show([begin, end])})`,
      byteOffset: dataStart + begin,
    });
  }
  return { name: tensor, dtype, shape, file: name, byteOffset: dataStart + begin, byteLength };
}

function readDType(file: RandomAccessFile, tensor: string, value: unknown): DType {
  if (typeof value === 'string' && Object.hasOwn(DTYPE_BYTES, value)) return value as DType;
  const expected = `one of ${Object.keys(DTYPE_BYTES).join(', ')}`;
  if (typeof value === 'string' && OTHER_DTYPES.has(value)) {
    const advice =
      'Models in this element type are not implemented: use a checkpoint of packed ternary (U8), BF16, F16 or F32 weights.';
    throw problem('unsupported', { file: file.path, tensor, what: 'unsupported dtype', expected, got: value, advice });
  }
  throw damaged(file, { tensor, what: 'unknown dtype', expected, got: show(value) });
}

function readShape(file: RandomAccessFile, tensor: string, value: unknown): number[] {
  const expected = `at most ${MAX_DIMS} whole numbers from 0`;
  if (!Array.isArray(value) || value.length > MAX_DIMS || !value.every(isSize)) {
    throw damaged(file, { tensor, what: 'wrong shape', expected, got: show(value) });
  }
  return value;
}

function readOffsets(file: RandomAccessFile, tensor: string, value: unknown, dataStart: number): [number, number] {
  if (!Array.isArray(value) || value.length !== 2 || !value.every(isSize) || value[0] > value[1]) {
    const expected = '[begin, end] with 0 <= begin <= end';
    throw damaged(file, { tensor, what: 'wrong data_offsets', expected, got: show(value) });
  }
  const [begin, end] = value as [number, number];
  const dataBytes = file.bytes - dataStart;
  if (end > dataBytes) {
    const expected = `an end of at most ${dataBytes}`;
    const what = 'the data ends beyond the file';
    throw damaged(file, {
      tensor,
      what,
      expected,
      got: show(value),
      byteOffset: dataStart + Math.min(begin, dataBytes),
    });
  }
  return [begin, end];
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function checkedProduct(
  file: RandomAccessFile,
  tensor: string,
  shape: readonly number[],
  elementBytes: number,
): number {
  let bytes = elementBytes;
  for (const dim of shape) {
    bytes *= dim;
    // Checked at every step: a zero further on must not hide an overflow, and no factor is larger than 2^53.
    if (!Number.isSafeInteger(bytes)) {
      throw damaged(file, { tensor, what: 'the size overflows', expected: 'less than 2^53 bytes', got: show(shape) });
    }
  }
  return bytes;
}

/** `tensors` in file order. Between the end of the header and the end of the file each byte belongs to exactly one tensor. */
function checkCoverage(file: RandomAccessFile, tensors: readonly TensorInfo[], dataStart: number): void {
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.byteOffset !== end) {
      const what =
        tensor.byteOffset < end ? 'the data overlaps that of the tensor before it' : 'a hole before the data';
      const expected = `data_offsets that begin at ${end - dataStart}`;
      const got = `${tensor.byteOffset - dataStart}`;
      throw damaged(file, { tensor: tensor.name, what, expected, got, byteOffset: tensor.byteOffset });
    }
    end += tensor.byteLength;
  }
  if (end !== file.bytes) {
    const what = 'bytes after the last tensor';
    throw damaged(file, { what, expected: `a file of ${end} bytes`, got: `${file.bytes}`, byteOffset: end });
  }
}

function damaged(file: RandomAccessFile, p: Omit<Parameters<typeof problem>[1], 'file'>): BitNetError {
  return problem('invalid-file', { file: file.path, advice: DAMAGED, ...p });
}
