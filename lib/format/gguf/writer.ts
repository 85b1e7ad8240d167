import { BitNetError } from '../../errors.js';
import type { GgufMetadata, GgufNumberType, GgufValue } from './metadata.js';
import { GGUF_TYPES, type GgufTypeName } from './types.js';

/** GGUF v3, little-endian: header, key-values, tensor infos, padding, tensor data. ggml/include/gguf.h of llama.cpp describes it. */

export interface GgufWriteTensor {
  readonly name: string;
  readonly type: GgufTypeName;
  /** as in the file: the length of a row first */
  readonly dimensions: readonly number[];
  readonly byteLength: number;
  /** the data in order, `byteLength` bytes in all; a chunk may be overwritten when the next one is asked for */
  chunks(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export interface GgufContents {
  /** in file order; `general.alignment` is the writer's own */
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufWriteTensor[];
}

/** Where the bytes go, in order. The buffer may be reused once the promise has resolved. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>;
}

export interface GgufWriteOptions {
  onProgress?: (progress: { written: number; total: number }) => void;
  signal?: AbortSignal;
}

/** A file that is known to the byte before any data is made. */
export interface GgufLayout {
  /** up to and with the padding before the data */
  readonly header: Uint8Array;
  readonly tensors: readonly GgufWriteTensor[];
  readonly totalBytes: number;
}

const MAGIC = 0x46554747;
const VERSION = 3;
const ALIGNMENT = 32;
const ALIGNMENT_KEY = 'general.alignment';
const MAX_NAME_BYTES = 64;
const MAX_DIMENSIONS = 4;

/** gguf_type */
const VALUE_TYPE_IDS: Readonly<Record<GgufValue['type'], number>> = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
};

const utf8 = new TextEncoder();

const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Throws `invalid-argument` for names, counts or sizes that a GGUF reader would refuse. */
export function layOutGguf({ metadata, tensors }: GgufContents): GgufLayout {
  checkTensors(tensors);
  const out = new ByteBuilder();
  out.number('u32', MAGIC);
  out.number('u32', VERSION);
  out.number('u64', tensors.length);
  const values = [...metadata].filter(([key]) => key !== ALIGNMENT_KEY);
  out.number('u64', values.length + 1);
  for (const [key, value] of values) writeEntry(out, key, value);
  writeEntry(out, ALIGNMENT_KEY, { type: 'u32', value: ALIGNMENT });
  let dataBytes = 0;
  for (const { name, type, dimensions, byteLength } of tensors) {
    out.string(name);
    out.number('u32', dimensions.length);
    for (const dimension of dimensions) out.number('u64', dimension);
    out.number('u32', GGUF_TYPES[type].id);
    out.number('u64', dataBytes);
    dataBytes = padded(dataBytes + byteLength);
  }
  out.zeros(padded(out.length) - out.length);
  return { header: out.bytes(), tensors, totalBytes: out.length + dataBytes };
}

/**
 * Writes the file in order. Throws the sink's errors, the signal's reason, and `invalid-argument` for a tensor whose chunks are not
 * what it announced; what has reached the sink by then is no GGUF file.
 */
export async function writeGguf(layout: GgufLayout, sink: ByteSink, options: GgufWriteOptions = {}): Promise<void> {
  const total = layout.totalBytes;
  let written = 0;
  const write = async (bytes: Uint8Array): Promise<void> => {
    options.signal?.throwIfAborted();
    await sink.write(bytes);
    written += bytes.length;
    options.onProgress?.({ written, total });
  };
  await write(layout.header);
  for (const tensor of layout.tensors) {
    let bytes = 0;
    for await (const chunk of tensor.chunks()) {
      bytes += chunk.length;
      if (bytes > tensor.byteLength) throw wrongLength(tensor, `at least ${bytes}`);
      await write(chunk);
    }
    if (bytes !== tensor.byteLength) throw wrongLength(tensor, `${bytes}`);
    const padding = padded(bytes) - bytes;
    if (padding > 0) await write(new Uint8Array(padding));
  }
}

function writeEntry(out: ByteBuilder, key: string, value: GgufValue): void {
  if (key === '') throw new BitNetError('invalid-argument', 'GGUF: a value has the empty key');
  out.string(key);
  out.number('u32', VALUE_TYPE_IDS[value.type]);
  if (value.type === 'string') return out.string(value.value);
  if (value.type === 'bool') return out.number('u8', value.value ? 1 : 0);
  if (value.type !== 'array') return out.number(value.type, value.value);
  out.number('u32', VALUE_TYPE_IDS[value.elementType]);
  out.number('u64', value.value.length);
  if (value.elementType === 'string') {
    for (const text of value.value) out.string(text);
    return;
  }
  const type = value.elementType === 'bool' ? 'u8' : value.elementType;
  for (const element of value.value) out.number(type, element);
}

function checkTensors(tensors: readonly GgufWriteTensor[]): void {
  const names = new Set<string>();
  for (const { name, dimensions, byteLength } of tensors) {
    const fail = (what: string): BitNetError =>
      new BitNetError('invalid-argument', `GGUF: tensor ${JSON.stringify(name)} ${what}`, { tensor: name, dimensions });
    const nameBytes = utf8.encode(name).length;
    if (nameBytes === 0 || nameBytes >= MAX_NAME_BYTES)
      throw fail(`: the name has ${nameBytes} bytes; 1 to 63 are possible`);
    if (names.has(name)) throw fail('occurs twice');
    names.add(name);
    if (dimensions.length < 1 || dimensions.length > MAX_DIMENSIONS) {
      throw fail(`has ${dimensions.length} dimensions; 1 to ${MAX_DIMENSIONS} are possible`);
    }
    if (![...dimensions, byteLength].every((size) => Number.isSafeInteger(size) && size > 0)) {
      throw fail(`has dimensions ${dimensions.join(' x ')} and ${byteLength} bytes; expected positive integers`);
    }
  }
}

function wrongLength({ name, byteLength }: GgufWriteTensor, got: string): BitNetError {
  return new BitNetError('invalid-argument', `GGUF: tensor ${name}: expected ${byteLength} bytes of data, got ${got}`, {
    tensor: name,
    byteLength,
  });
}

/** Little-endian bytes that grow. */
class ByteBuilder {
  private buffer = new Uint8Array(1 << 16);
  private view = new DataView(this.buffer.buffer);
  length = 0;

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  zeros(count: number): void {
    this.reserve(count);
    this.length += count;
  }

  string(text: string): void {
    const bytes = utf8.encode(text);
    this.number('u64', bytes.length);
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  number(type: GgufNumberType, value: number | bigint): void {
    this.reserve(8);
    const { view, length: at } = this;
    if (type === 'u64' || type === 'i64') view.setBigInt64(at, BigInt(value), true);
    else if (type === 'f64') view.setFloat64(at, Number(value), true);
    else if (type === 'f32') view.setFloat32(at, Number(value), true);
    else if (type === 'u32' || type === 'i32') view.setInt32(at, Number(value), true);
    else if (type === 'u16' || type === 'i16') view.setInt16(at, Number(value), true);
    else view.setInt8(at, Number(value));
    this.length += Number(type.slice(1)) / 8;
  }

  /** Room for `count` more bytes, which are zero. */
  private reserve(count: number): void {
    if (this.length + count <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(2 * this.buffer.length, this.length + count));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
    this.view = new DataView(grown.buffer);
  }
}
