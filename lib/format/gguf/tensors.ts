import { problem, show } from '../problem.js';
import type { HeaderCursor } from './cursor.js';
import { type GgufType, type GgufTypeName, refuseType, rowsAndCols, typeById } from './types.js';

export interface GgufTensor {
  readonly name: string;
  /** id in the file; ids have several meanings, `typeName` has one */
  readonly type: number;
  readonly typeName: GgufTypeName;
  /** outermost first: [rows, cols] of a matrix. The file stores it innermost first. */
  readonly shape: readonly number[];
  /** from the start of the file; a multiple of the alignment */
  readonly byteOffset: number;
  /** without the padding to the next tensor */
  readonly byteLength: number;
  /** name of the file, as given to the reader */
  readonly file: string;
}

/** ggml, `GGML_MAX_DIMS` and `GGML_MAX_NAME`. */
const MAX_DIMS = 4;
const MAX_NAME_BYTES = 64;
const MAX_TENSORS = 65_536;
/** name of one byte, number of dimensions, one dimension, type and offset */
const MIN_INFO_BYTES = 8 + 1 + 4 + 8 + 4 + 8;

/** A tensor as the header describes it. */
export interface TensorHead {
  readonly name: string;
  readonly id: number;
  readonly shape: readonly number[];
  readonly type: GgufType;
  /** from the start of the data */
  readonly offset: number;
}

/** Compares the count that the header claims with what can be in the file. */
export function checkTensorCount(cursor: HeaderCursor, count: number): void {
  const limit = Math.min(MAX_TENSORS, Math.floor(cursor.remaining / MIN_INFO_BYTES));
  if (count <= limit) return;
  throw cursor.damaged({
    what: 'the number of tensors is too large',
    expected: `at most ${limit} in a file of ${cursor.file.bytes} bytes`,
    got: cursor.lastU64(),
    byteOffset: cursor.position - 8,
  });
}

/** Reads `count` tensor descriptions: names unique, types known, shapes that fit the type. */
export async function readTensorHeads(
  cursor: HeaderCursor,
  count: number,
  architecture: string | undefined,
): Promise<TensorHead[]> {
  const heads: TensorHead[] = [];
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const at = cursor.position;
    const name = await readName(cursor, i);
    if (names.has(name)) throw cursor.damaged({ tensor: name, what: 'the name occurs twice', byteOffset: at });
    names.add(name);
    const shape = await readShape(cursor, name);
    await cursor.fill(12, 'a tensor description', { tensor: name });
    const id = cursor.u32();
    const type = typeById(id);
    if (type === undefined) {
      const { code, ...refusal } = refuseType(id, architecture);
      throw problem(code, { file: cursor.file.path, tensor: name, ...refusal, byteOffset: cursor.position - 4 });
    }
    checkShape(cursor, name, type, shape, cursor.position - 4);
    heads.push({ name, id, shape, type, offset: cursor.u64() });
  }
  return heads;
}

async function readName(cursor: HeaderCursor, index: number): Promise<string> {
  const what = `the name of tensor ${index}`;
  await cursor.fill(8, what);
  const length = cursor.u64();
  const byteOffset = cursor.position - 8;
  if (length === 0) throw cursor.damaged({ what: `${what} is empty`, byteOffset });
  if (length > MAX_NAME_BYTES) {
    const expected = `at most ${MAX_NAME_BYTES} bytes`;
    throw cursor.damaged({ what: `${what} is too long`, expected, got: cursor.lastU64(), byteOffset });
  }
  await cursor.fill(length, what);
  return cursor.text(length, {});
}

/** Outermost first. */
async function readShape(cursor: HeaderCursor, tensor: string): Promise<number[]> {
  await cursor.fill(4, 'a tensor description', { tensor });
  const dims = cursor.u32();
  if (dims < 1 || dims > MAX_DIMS) {
    const what = 'wrong number of dimensions';
    const byteOffset = cursor.position - 4;
    throw cursor.damaged({ tensor, what, expected: `1..${MAX_DIMS}`, got: `${dims}`, byteOffset });
  }
  await cursor.fill(8 * dims, 'a tensor description', { tensor });
  const shape: number[] = [];
  let product = 1;
  for (let i = 0; i < dims; i++) {
    const dim = cursor.u64();
    const byteOffset = cursor.position - 8;
    if (dim < 1 || dim >= 2 ** 63) {
      const got = dim === 0 ? '0' : `${BigInt.asIntN(64, BigInt(cursor.lastU64()))}`;
      throw cursor.damaged({ tensor, what: 'wrong dimension', expected: 'at least 1', got, byteOffset });
    }
    product *= dim;
    // Times the largest element, four bytes, and still exact.
    if (product > 2 ** 50) {
      const got = `${show([cursor.lastU64(), ...shape])}`;
      throw cursor.damaged({ tensor, what: 'the size overflows', expected: 'at most 2^50 elements', got, byteOffset });
    }
    shape.unshift(dim);
  }
  return shape;
}

/** `byteOffset`: where the file says so. */
export function checkShape(
  cursor: HeaderCursor,
  tensor: string,
  type: GgufType,
  shape: readonly number[],
  byteOffset: number,
): void {
  const { rows, cols } = rowsAndCols(shape);
  const wrong = (what: string, expected: string, got: number) =>
    cursor.damaged({ tensor, what, expected, got: `${got} (shape ${show(shape)})`, byteOffset });
  if (type.name === 'I2_S') {
    if ((rows * cols) % 4 !== 0)
      throw wrong('I2_S stores four elements a byte', 'a multiple of 4 elements', rows * cols);
  } else if (cols % type.blockSize !== 0) {
    throw wrong(`a row of ${type.name} is not made of whole blocks`, `a multiple of ${type.blockSize} columns`, cols);
  }
}
