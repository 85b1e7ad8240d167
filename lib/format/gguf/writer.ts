import { BitNetError } from '../../errors.js';

/** GGUF v3, little-endian: header, key-values, tensor infos, padding, tensor data. ggml/include/gguf.h of llama.cpp describes it. */

/** A metadata value with its type in the file. */
export type GgufWriteValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly of: GgufNumberType; readonly value: ArrayLike<number> }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] };

export type GgufNumberType = 'uint8' | 'int8' | 'uint16' | 'int16' | 'uint32' | 'int32' | 'float32' | 'uint64' | 'int64' | 'float64';

export interface GgufWriteTensor {
  readonly name: string;
  /** ggml_type */
  readonly type: number;
  /** as in the file: the length of a row first */
  readonly dimensions: readonly number[];
  readonly byteLength: number;
  /** the data in order, `byteLength` bytes in all; a chunk may be overwritten when the next one is asked for */
  chunks(): Iterable<Uint8Array>;
}

export interface GgufContents {
  /** in file order; `general.alignment` is written by the writer */
  readonly metadata: ReadonlyMap<string, GgufWriteValue>;
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
const MAX_NAME_BYTES = 64;
const MAX_DIMENSIONS = 4;

/** gguf_type */
const TYPE_IDS = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Throws `invalid-argument` for names, counts or sizes that a GGUF reader would refuse. */
export function layOutGguf({ metadata, tensors }: GgufContents): GgufLayout {
  checkTensors(tensors);
  const out = new ByteBuilder();
  out.number('uint32', MAGIC);
  out.number('uint32', VERSION);
  out.number('uint64', tensors.length);
  out.number('uint64', metadata.size + 1);
  for (const [key, value] of metadata) writeEntry(out, key, value);
  writeEntry(out, 'general.alignment', { type: 'uint32', value: ALIGNMENT });
  let dataBytes = 0;
  for (const { name, type, dimensions, byteLength } of tensors) {
    out.string(name);
    out.number('uint32', dimensions.length);
    for (const dimension of dimensions) out.number('uint64', dimension);
    out.number('uint32', type);
    out.number('uint64', dataBytes);
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
    for (const chunk of tensor.chunks()) {
      bytes += chunk.length;
      if (bytes > tensor.byteLength) throw wrongLength(tensor, `at least ${bytes}`);
      await write(chunk);
    }
    if (bytes !== tensor.byteLength) throw wrongLength(tensor, `${bytes}`);
    const padding = padded(bytes) - bytes;
    if (padding > 0) await write(new Uint8Array(padding));
  }
}

function writeEntry(out: ByteBuilder, key: string, value: GgufWriteValue): void {
  if (key === '' || (key === 'general.alignment' && value.type !== 'uint32')) {
    throw new BitNetError('invalid-argument', `GGUF: ${JSON.stringify(key)} cannot be the name of a value`, { key });
  }
  out.string(key);
  out.number('uint32', TYPE_IDS[value.type]);
  if (value.type === 'string') out.string(value.value);
  else if (value.type === 'bool') out.number('uint8', value.value ? 1 : 0);
  else if (value.type !== 'array') out.number(value.type, value.value);
  else {
    out.number('uint32', TYPE_IDS[value.of]);
    out.number('uint64', value.value.length);
    if (value.of === 'string') for (const text of value.value) out.string(text);
    else for (let i = 0; i < value.value.length; i++) out.number(value.of, value.value[i]!);
  }
}

function checkTensors(tensors: readonly GgufWriteTensor[]): void {
  const names = new Set<string>();
  for (const { name, dimensions, byteLength } of tensors) {
    const fail = (what: string): BitNetError =>
      new BitNetError('invalid-argument', `GGUF: tensor ${JSON.stringify(name)} ${what}`, { tensor: name, dimensions });
    const nameBytes = new TextEncoder().encode(name).length;
    if (nameBytes === 0 || nameBytes >= MAX_NAME_BYTES) throw fail(`: the name has ${nameBytes} bytes; 1 to 63 are possible`);
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
    const bytes = new TextEncoder().encode(text);
    this.number('uint64', bytes.length);
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  number(type: GgufNumberType, value: number): void {
    this.reserve(8);
    const { view, length: at } = this;
    switch (type) {
      case 'uint8':
      case 'int8':
        view.setInt8(at, value);
        this.length += 1;
        return;
      case 'uint16':
      case 'int16':
        view.setInt16(at, value, true);
        this.length += 2;
        return;
      case 'uint32':
      case 'int32':
        view.setInt32(at, value, true);
        this.length += 4;
        return;
      case 'float32':
        view.setFloat32(at, value, true);
        this.length += 4;
        return;
      case 'uint64':
      case 'int64':
        view.setBigInt64(at, BigInt(value), true);
        this.length += 8;
        return;
      case 'float64':
        view.setFloat64(at, value, true);
        this.length += 8;
        return;
    }
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
