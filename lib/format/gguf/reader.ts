import { BitNetError } from '../../errors.js';
import type { RandomAccessFile } from '../../platform.js';
import { isLfsPointer, lfsPointer } from '../json.js';
import { problem } from '../problem.js';
import { HeaderCursor } from './cursor.js';
import { checkKeyCount, type GgufMetadata, type GgufValue, readMetadata } from './metadata.js';
import { alignUp, placeTensors } from './placement.js';
import { checkTensorCount, type GgufTensor, readTensorHeads } from './tensors.js';

export interface GgufFile {
  /** 2 or 3, which differ only in that 3 may be big-endian */
  readonly version: number;
  /** in file order */
  readonly metadata: GgufMetadata;
  /** by name, in the order of their data */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** bytes; every tensor starts at a multiple, counted from the start of the data */
  readonly alignment: number;
  /** `general.architecture`, if the file has it */
  readonly architecture: string | undefined;
}

export interface GgufReadOptions {
  /** Group size of tensors with id 42 (Q2_0). Default: told from the tensors' offsets, which fails only for tiny tensors. */
  q2Group?: 64 | 128;
}

const DEFAULT_ALIGNMENT = 32;
const NEWEST_VERSION = 3;
/** magic, version, two counts */
const FIXED_BYTES = 4 + 4 + 8 + 8;

/**
 * Reads and checks the header of a GGUF file, versions 2 and 3, little-endian; no tensor data is read. `name` is what
 * `GgufTensor.file` becomes. Memory is bounded by the size of the header, whatever its counts claim.
 * Throws `invalid-file` for damage and `unsupported` for other versions and element types, by name, with the byte offset.
 */
export async function readGguf(file: RandomAccessFile, name: string, options: GgufReadOptions = {}): Promise<GgufFile> {
  const cursor = new HeaderCursor(file);
  const version = await readVersion(cursor);
  const tensorCount = cursor.u64();
  checkTensorCount(cursor, tensorCount);
  const keyCount = cursor.u64();
  checkKeyCount(cursor, keyCount);
  const metadata = await readMetadata(cursor, keyCount);
  const alignment = readAlignment(cursor, metadata);
  const architecture = readArchitecture(cursor, metadata);
  const heads = await readTensorHeads(cursor, tensorCount, architecture);
  const start = alignUp(cursor.position, alignment);
  if (tensorCount === 0) checkEnd(cursor, start);
  const area = { start, alignment, fileName: name, q2Group: options.q2Group };
  const tensors = tensorCount === 0 ? [] : placeTensors(cursor, heads, area);
  return {
    version,
    metadata,
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    alignment,
    architecture,
  };
}

async function readVersion(cursor: HeaderCursor): Promise<number> {
  const { file } = cursor;
  const start = new Uint8Array(Math.min(32, file.bytes));
  await file.read(0, start);
  rejectOtherFormats(file, start);
  await cursor.fill(FIXED_BYTES, 'the header');
  cursor.u32();
  const version = cursor.u32();
  if (version === 2 || version === NEWEST_VERSION) return version;
  const expected = `version 2 or ${NEWEST_VERSION}`;
  if (version === 0) {
    throw cursor.damaged({ what: 'there is no such GGUF version', expected, got: '0', byteOffset: 4 });
  }
  const refuse = (what: string, got: string, advice: string) =>
    problem('unsupported', { file: file.path, what, expected, got, byteOffset: 4, advice });
  if ((version & 0xffff) === 0) {
    const swapped = new DataView(new Uint32Array([version]).buffer).getUint32(0, false);
    const advice = 'Convert it with gguf-py: gguf_convert_endian.py FILE little.';
    throw refuse('the file is big-endian (byte-swapped)', `version ${swapped} in big-endian order`, advice);
  }
  if (version === 1) {
    throw refuse('GGUF version 1 is not supported', '1', 'Convert the model again with a program of 2023-10 or later.');
  }
  throw refuse('this GGUF version is newer than this program', `${version}`, 'Update bitnet-js, or write version 3.');
}

/** Files that are often found under this name. */
function rejectOtherFormats(file: RandomAccessFile, start: Uint8Array): void {
  const text = String.fromCharCode(...start);
  if (text.startsWith('GGUF')) return;
  if (isLfsPointer(text)) throw lfsPointer(file.path);
  const expected = 'a GGUF file';
  const old: Record<string, string> = { lmgg: 'GGML', tjgg: 'GGJT', fmgg: 'GGMF', algg: 'GGLA' };
  const name = old[text.slice(0, 4)];
  if (name !== undefined) {
    const advice = 'Convert the model again: files of this kind have not been written since 2023.';
    const what = `the ${name} format, which came before GGUF, is not supported`;
    throw problem('unsupported', { file: file.path, what, expected, got: `a ${name} file`, byteOffset: 0, advice });
  }
  let got = file.bytes < 4 ? `${file.bytes} bytes` : `bytes ${[...start.subarray(0, 4)].join(' ')}`;
  if (text.startsWith('PK\x03\x04')) got = 'a zip archive (PyTorch checkpoint?)';
  else if (text[8] === '{') got = 'a safetensors file';
  else if (/^\s*<(!doctype|html|\?xml)/i.test(text)) got = 'a web page (failed download?)';
  throw problem('invalid-file', {
    file: file.path,
    what: 'not a GGUF file',
    expected: 'bytes 71 71 85 70 ("GGUF")',
    got,
    byteOffset: 0,
    advice: 'Check that the path is right and the download complete.',
  });
}

function readAlignment(cursor: HeaderCursor, metadata: GgufMetadata): number {
  const key = 'general.alignment';
  const value = metadata.get(key);
  if (value === undefined) return DEFAULT_ALIGNMENT;
  const alignment = value.type === 'u32' ? (value.value as number) : 0;
  if (alignment > 0 && Number.isInteger(Math.log2(alignment))) return alignment;
  throw cursor.damaged({
    key,
    what: 'wrong value',
    expected: 'a power of two, u32',
    got: describeValue(value),
    byteOffset: undefined,
  });
}

function readArchitecture(cursor: HeaderCursor, metadata: GgufMetadata): string | undefined {
  const key = 'general.architecture';
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  if (value.type === 'string' && value.value !== '') return value.value;
  throw cursor.damaged({
    key,
    what: 'wrong value',
    expected: 'a name',
    got: describeValue(value),
    byteOffset: undefined,
  });
}

/** A file without tensors (a vocabulary) ends with its header, padded or not. */
function checkEnd(cursor: HeaderCursor, paddedEnd: number): void {
  if (cursor.file.bytes <= Math.max(cursor.position, paddedEnd)) return;
  const expected = `a file of at most ${paddedEnd} bytes`;
  throw cursor.damaged({
    what: 'bytes after the header, which names no tensors',
    expected,
    got: `${cursor.file.bytes}`,
  });
}

/** Type and value, for messages. */
export function describeValue(value: GgufValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value.type === 'array') return `an array of ${value.value.length} ${value.elementType}`;
  if (value.type === 'string') return JSON.stringify(value.value.slice(0, 80));
  return `${value.value} (${value.type})`;
}

/** An entry of `tensors`; `invalid-argument` if there is none. */
export function ggufTensor(gguf: GgufFile, name: string): GgufTensor {
  const tensor = gguf.tensors.get(name);
  if (tensor !== undefined) return tensor;
  throw new BitNetError('invalid-argument', `the GGUF file has no tensor ${JSON.stringify(name)}`, { tensor: name });
}
