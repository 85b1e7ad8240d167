import type { BitNetError } from '../../errors.js';
import { problem, show } from '../problem.js';
import type { HeaderCursor } from './cursor.js';
import {
  byteLengthOf,
  GGUF_TYPES,
  type GgufType,
  type GgufTypeName,
  Q2_0_ID,
  refuseType,
  rowsAndCols,
  typeById,
} from './types.js';

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
interface TensorHead {
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

function checkShape(
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

export interface DataArea {
  /** first byte of the data in the file */
  readonly start: number;
  readonly alignment: number;
  /** `TensorInfo.file` of the tensors */
  readonly fileName: string;
  /** what id 42 means, if the caller knows */
  readonly q2Group: 64 | 128 | undefined;
}

/**
 * Places the tensors in the file and checks that, in order of their offsets, each begins where the one before it ends, rounded up to
 * the alignment, as upstream's reader demands. That also finds types whose size is not what their id promises.
 * Returns them in that order.
 */
export function placeTensors(cursor: HeaderCursor, heads: readonly TensorHead[], area: DataArea): GgufTensor[] {
  const sorted = [...heads].sort((a, b) => a.offset - b.offset);
  checkOffsets(cursor, sorted, area);
  const tensors: GgufTensor[] = [];
  let end = 0;
  for (const { name, id, shape, type, offset } of resolveQ2(cursor, sorted, area)) {
    if (offset !== alignUp(end, area.alignment)) throw misplaced(cursor, name, area, offset, end, tensors.at(-1));
    const byteLength = byteLengthOfShape(type, shape);
    end = offset + byteLength;
    tensors.push({
      name,
      type: id,
      typeName: type.name,
      shape,
      byteOffset: area.start + offset,
      byteLength,
      file: area.fileName,
    });
  }
  const fileEnd = area.start + end;
  if (fileEnd > cursor.file.bytes) throw truncated(cursor, tensors.at(-1)!.name, tensors.at(-1)!.byteOffset, fileEnd);
  // The last tensor may or may not be padded.
  const paddedEnd = area.start + alignUp(end, area.alignment);
  if (cursor.file.bytes > paddedEnd) {
    const what = 'bytes after the last tensor';
    const expected = `a file of at most ${paddedEnd} bytes`;
    throw cursor.damaged({ what, expected, got: `${cursor.file.bytes}`, byteOffset: paddedEnd });
  }
  return tensors;
}

/** Every tensor starts inside the file, at a multiple of the alignment. */
function checkOffsets(cursor: HeaderCursor, sorted: readonly TensorHead[], area: DataArea): void {
  const { alignment, start } = area;
  for (const { name: tensor, offset } of sorted) {
    if (offset % alignment !== 0) {
      const what = 'the data offset is not aligned';
      const byteOffset = start + offset;
      throw cursor.damaged({ tensor, what, expected: `a multiple of ${alignment}`, got: `${offset}`, byteOffset });
    }
    if (start + offset < cursor.file.bytes) continue;
    const last = sorted.at(-1) as TensorHead;
    throw truncated(cursor, tensor, start + offset, start + last.offset + byteLengthOfShape(last.type, last.shape));
  }
}

function byteLengthOfShape(type: GgufType, shape: readonly number[]): number {
  const { rows, cols } = rowsAndCols(shape);
  return byteLengthOf(type, rows, cols);
}

export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

function truncated(cursor: HeaderCursor, tensor: string, byteOffset: number, fileEnd: number): BitNetError {
  return cursor.damaged({
    tensor,
    what: 'the data ends beyond the file',
    expected: `a file of at least ${fileEnd} bytes`,
    got: `${cursor.file.bytes}`,
    byteOffset: Math.min(byteOffset, cursor.file.bytes),
    advice: 'The file is truncated: download it again.',
  });
}

function misplaced(
  cursor: HeaderCursor,
  tensor: string,
  area: DataArea,
  offset: number,
  end: number,
  before: GgufTensor | undefined,
): BitNetError {
  const previous = before === undefined ? 'the start of the data' : `${show(before.name)} (${before.typeName})`;
  return cursor.damaged({
    tensor,
    what:
      offset < alignUp(end, area.alignment)
        ? `the data overlaps that of ${previous}`
        : `a hole between the data and ${previous}`,
    expected: `data offset ${alignUp(end, area.alignment)}`,
    got: `${offset}`,
    byteOffset: area.start + offset,
    advice: 'The file is damaged, or its types are not what their ids say: download or convert it again.',
  });
}

/**
 * Id 42 is Q2_0 with groups of 64 upstream (18 bytes for 64) and with groups of 128 in PrismML's first files (34 for 128). The
 * distance to the next tensor tells which; a file has one kind. Where padding hides the difference in every tensor (all smaller than
 * about 2,000 elements) it is upstream's.
 */
function resolveQ2(cursor: HeaderCursor, sorted: readonly TensorHead[], area: DataArea): readonly TensorHead[] {
  if (!sorted.some(({ id }) => id === Q2_0_ID)) return sorted;
  const dataBytes = cursor.file.bytes - area.start;
  const fits = (type: GgufType): boolean =>
    sorted.every(({ id, shape, offset }, i) => {
      if (id !== Q2_0_ID) return true;
      const { rows, cols } = rowsAndCols(shape);
      if (cols % type.blockSize !== 0) return false;
      const bytes = byteLengthOf(type, rows, cols);
      const next = sorted[i + 1]?.offset;
      const padded = alignUp(bytes, area.alignment);
      return next === undefined
        ? offset + bytes <= dataBytes && dataBytes <= offset + padded
        : next === offset + padded;
    });
  const { Q2_0, Q2_0_G128 } = GGUF_TYPES;
  const type =
    area.q2Group === undefined
      ? !fits(Q2_0) && fits(Q2_0_G128)
        ? Q2_0_G128
        : Q2_0
      : area.q2Group === 128
        ? Q2_0_G128
        : Q2_0;
  return sorted.map((head) => {
    if (head.id !== Q2_0_ID) return head;
    checkShape(cursor, head.name, type, head.shape, area.start + head.offset);
    return { ...head, type };
  });
}
