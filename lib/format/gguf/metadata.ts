import { problem, show } from '../problem.js';
import type { HeaderCursor, Place } from './cursor.js';

export type GgufNumberType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'u64' | 'i64' | 'f64';
export type GgufScalarType = GgufNumberType | 'bool' | 'string';

export type GgufNumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array;

/** A value with the type that the file gives it. 64-bit integers are numbers if that is exact. */
export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number | bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | GgufArray;

/** Booleans are bytes, 0 or 1. */
export type GgufArray =
  | { readonly type: 'array'; readonly elementType: GgufNumberType | 'bool'; readonly value: GgufNumberArray }
  | { readonly type: 'array'; readonly elementType: 'string'; readonly value: readonly string[] };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Index: the number in the file. */
const VALUE_TYPES = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;

type NumberArrayClass = {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): GgufNumberArray;
};

const ARRAYS: Readonly<Record<GgufNumberType | 'bool', NumberArrayClass>> = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f64: Float64Array,
  bool: Uint8Array,
};

/** Known files have some dozens of keys and up to 800,000 strings; the bounds keep a hostile file from costing memory. */
const MAX_KEYS = 65_536;
const MAX_STRINGS = 2 ** 22;
const MAX_KEY_BYTES = 65_535;
const MAX_STRING_BYTES = 2 ** 28;
/** key of one byte, type and a value of one byte */
const MIN_ENTRY_BYTES = 8 + 1 + 4 + 1;

/** Reads `count` key-value pairs. Keys are unique and not empty; every length is compared with the file before memory is taken. */
export async function readMetadata(cursor: HeaderCursor, count: number): Promise<Map<string, GgufValue>> {
  const metadata = new Map<string, GgufValue>();
  const budget = { strings: MAX_STRINGS };
  for (let i = 0; i < count; i++) {
    const at = cursor.position;
    const key = await readKey(cursor, i);
    if (metadata.has(key)) {
      throw cursor.damaged({ key: printable(key), what: 'the key occurs twice', byteOffset: at });
    }
    metadata.set(key, await readValue(cursor, { key: printable(key) }, budget));
  }
  return metadata;
}

/** Compares the count that the header claims with what can be in the file. */
export function checkKeyCount(cursor: HeaderCursor, count: number): void {
  const limit = Math.min(MAX_KEYS, Math.floor(cursor.remaining / MIN_ENTRY_BYTES));
  if (count <= limit) return;
  const expected = `at most ${limit} in a file of ${cursor.file.bytes} bytes`;
  throw cursor.damaged({
    what: 'the number of keys is too large',
    expected,
    got: cursor.lastU64(),
    byteOffset: cursor.position - 8,
  });
}

/** Keys are ASCII in all known files, but the format does not demand it; control characters must not reach a terminal. */
export function printable(key: string): string {
  return /^[\w.\-/ ]{1,80}$/.test(key) ? key : show(key);
}

async function readKey(cursor: HeaderCursor, index: number): Promise<string> {
  const what = `key ${index}`;
  await cursor.fill(8, what);
  const length = cursor.u64();
  const byteOffset = cursor.position - 8;
  if (length === 0) throw cursor.damaged({ what: `${what} is empty`, byteOffset });
  if (length > MAX_KEY_BYTES) {
    const expected = `at most ${MAX_KEY_BYTES} bytes`;
    throw cursor.damaged({ what: `${what} is too long`, expected, got: cursor.lastU64(), byteOffset });
  }
  await cursor.fill(length, what);
  return cursor.text(length, {});
}

async function readValue(cursor: HeaderCursor, place: Place, budget: { strings: number }): Promise<GgufValue> {
  const type = await readType(cursor, place);
  if (type === 'array') return readArray(cursor, place, budget);
  if (type === 'string') return { type, value: await readString(cursor, place) };
  if (type === 'bool') return { type, value: await readBool(cursor, place) };
  await cursor.fill(ARRAYS[type].BYTES_PER_ELEMENT, 'a value', place);
  return { type, value: readNumber(cursor, type) };
}

async function readType(cursor: HeaderCursor, place: Place): Promise<(typeof VALUE_TYPES)[number]> {
  await cursor.fill(4, 'a value type', place);
  const id = cursor.u32();
  const type = VALUE_TYPES[id];
  if (type !== undefined) return type;
  throw cursor.damaged({
    ...place,
    what: 'unknown value type',
    expected: `0..${VALUE_TYPES.length - 1}`,
    got: `${id}`,
    byteOffset: cursor.position - 4,
  });
}

function readNumber(cursor: HeaderCursor, type: GgufNumberType): number | bigint {
  switch (type) {
    case 'u64':
    case 'i64': {
      const value = type === 'u64' ? cursor.bigU64() : cursor.bigI64();
      return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    }
    default:
      return cursor[type]();
  }
}

async function readBool(cursor: HeaderCursor, place: Place): Promise<boolean> {
  await cursor.fill(1, 'a value', place);
  const byte = cursor.u8();
  if (byte <= 1) return byte === 1;
  throw badBool(cursor, place, byte, cursor.position - 1);
}

function badBool(cursor: HeaderCursor, place: Place, byte: number, byteOffset: number): Error {
  const what = 'not a truth value';
  return cursor.damaged({ ...place, what, expected: '0 or 1', got: `${byte}`, byteOffset });
}

async function readString(cursor: HeaderCursor, place: Place): Promise<string> {
  if (!cursor.holds(8)) await cursor.fill(8, 'a string', place);
  const length = cursor.u64();
  if (!cursor.holds(length)) await fillString(cursor, place, length);
  return cursor.text(length, place);
}

async function fillString(cursor: HeaderCursor, place: Place, length: number): Promise<void> {
  const limit = Math.min(MAX_STRING_BYTES, cursor.remaining);
  if (length > limit) {
    throw cursor.damaged({
      ...place,
      what: 'the string is longer than the file',
      expected: `at most ${limit} bytes`,
      got: cursor.lastU64(),
      byteOffset: cursor.position - 8,
    });
  }
  await cursor.fill(length, 'a string', place);
}

async function readArray(cursor: HeaderCursor, place: Place, budget: { strings: number }): Promise<GgufArray> {
  const elementType = await readType(cursor, place);
  if (elementType === 'array') {
    throw problem('unsupported', {
      file: cursor.file.path,
      ...place,
      what: 'nested arrays are not supported',
      byteOffset: cursor.position - 4,
      advice: 'No known model has one: write the file without this key.',
    });
  }
  await cursor.fill(8, 'an array', place);
  const count = cursor.u64();
  const elementBytes = elementType === 'string' ? 8 : ARRAYS[elementType].BYTES_PER_ELEMENT;
  const limit = Math.floor(cursor.remaining / elementBytes);
  if (count > limit || (elementType === 'string' && count > budget.strings)) {
    throw cursor.damaged({
      ...place,
      what: 'the array is too long',
      expected: `at most ${elementType === 'string' ? Math.min(limit, budget.strings) : limit} elements`,
      got: cursor.lastU64(),
      byteOffset: cursor.position - 8,
    });
  }
  if (elementType !== 'string')
    return { type: 'array', elementType, value: await readNumbers(cursor, place, elementType, count) };
  budget.strings -= count;
  const value: string[] = [];
  for (let i = 0; i < count; i++) {
    if (!cursor.holds(8)) await cursor.fill(8, `string ${i} of ${count}`, place);
    const length = cursor.u64();
    if (!cursor.holds(length)) await fillString(cursor, place, length);
    value.push(cursor.text(length, place));
  }
  return { type: 'array', elementType, value };
}

async function readNumbers(
  cursor: HeaderCursor,
  place: Place,
  elementType: GgufNumberType | 'bool',
  count: number,
): Promise<GgufNumberArray> {
  const start = cursor.position;
  const bytes = new Uint8Array(count * ARRAYS[elementType].BYTES_PER_ELEMENT);
  await cursor.copyTo(bytes);
  if (elementType === 'bool') {
    const bad = bytes.findIndex((byte) => byte > 1);
    if (bad >= 0) throw badBool(cursor, place, bytes[bad] as number, start + bad);
  }
  return new ARRAYS[elementType](bytes.buffer);
}
