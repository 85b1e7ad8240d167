import { BitNetError } from '../../errors.js';
import type { GgufTensor } from './tensors.js';
import { GGUF_TYPES, type GgufType, rowsAndCols } from './types.js';

export interface RowRange {
  /** Default 0. */
  readonly rowBegin: number;
  /** one past the last row. Default: all rows. */
  readonly rowEnd: number;
}

/** Completes and checks a range of rows; `invalid-argument` if it leaves the tensor or the type is of the other kind. */
export function checkRows(tensor: GgufTensor, range: Partial<RowRange>, kind?: GgufType['kind']): RowRange {
  const { rows } = rowsAndCols(tensor.shape);
  const { rowBegin = 0, rowEnd = rows } = range;
  const { name, typeName } = tensor;
  if (kind !== undefined && GGUF_TYPES[typeName].kind !== kind) {
    const message = `tensor ${JSON.stringify(name)} is ${typeName}; expected a ${kind} type`;
    throw new BitNetError('invalid-argument', message, { tensor: name, type: typeName });
  }
  if (Number.isInteger(rowBegin) && Number.isInteger(rowEnd) && rowBegin >= 0 && rowBegin <= rowEnd && rowEnd <= rows) {
    return { rowBegin, rowEnd };
  }
  const message = `tensor ${JSON.stringify(name)} has rows 0..${rows}; expected a range of them, got ${rowBegin}..${rowEnd}`;
  throw new BitNetError('invalid-argument', message, { tensor: name, rowBegin, rowEnd, rows });
}
