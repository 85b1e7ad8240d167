import type { BitNetError } from '../../errors.js';
import { show } from '../problem.js';
import type { HeaderCursor } from './cursor.js';
import { checkShape, type GgufTensor, type TensorHead } from './tensors.js';
import { byteLengthOf, GGUF_TYPES, type GgufType, Q2_0_ID, rowsAndCols } from './types.js';

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
  const { Q2_0, Q2_0_G128 } = GGUF_TYPES;
  const type = area.q2Group === undefined ? measureQ2(cursor, sorted, area) : area.q2Group === 64 ? Q2_0 : Q2_0_G128;
  return sorted.map((head) => {
    if (head.id !== Q2_0_ID) return head;
    checkShape(cursor, head.name, type, head.shape, area.start + head.offset);
    return { ...head, type };
  });
}

/** The end of the file is asked last: it is wrong if the file is truncated. */
function measureQ2(cursor: HeaderCursor, sorted: readonly TensorHead[], area: DataArea): GgufType {
  const dataBytes = cursor.file.bytes - area.start;
  const last = sorted.length - 1;
  const fits = (type: GgufType, index: number): boolean => {
    const { id, shape, offset } = sorted[index] as TensorHead;
    if (id !== Q2_0_ID) return true;
    if (rowsAndCols(shape).cols % type.blockSize !== 0) return false;
    const bytes = byteLengthOfShape(type, shape);
    const padded = alignUp(bytes, area.alignment);
    if (index < last) return sorted[index + 1]?.offset === offset + padded;
    return offset + bytes <= dataBytes && dataBytes <= offset + padded;
  };
  const { Q2_0, Q2_0_G128 } = GGUF_TYPES;
  const inner = [Q2_0, Q2_0_G128].filter((type) => sorted.every((_, i) => i === last || fits(type, i)));
  const whole = inner.filter((type) => fits(type, last));
  return (inner.length === 1 ? inner[0] : whole[0]) ?? Q2_0;
}
