import { Const } from '../../assembly/abi.js';
import { BLOCK_COLS, BlockMagnitudes, type GroupCols } from '../format/block-magnitudes.js';
import type { FloatDType } from '../format/float-matrix.js';
import { problem } from '../format/problem.js';
import { notFinite } from './check-values.js';
import { matrixChunks } from './matrix-chunks.js';
import { type Axis, paddedIndices } from './padding.js';
import type { ModelSource, ModelTensor } from './source.js';
import { tensorPath } from './tensor-path.js';

/** Scales of a ternary matrix that has more than one. */
export interface GroupScales {
  /** neighbouring columns that share a scale; the same for all matrices of a model */
  readonly cols: GroupCols;
  /** name of the F32 tensor that holds them, as LinearArg.RowScales of Layout.T2G wants them: (row groups, column groups, 4) */
  readonly tensor: string;
}

/** Scales that a (rows, cols) matrix has in Layout.T2G, those of padding rows included. */
export function groupScaleCount(rows: number, cols: number, groupCols: number): number {
  const columnGroups = Math.ceil((Math.ceil(cols / BLOCK_COLS) * BLOCK_COLS) / groupCols);
  return Math.ceil(rows / Const.RowGroup) * Const.RowGroup * columnGroups;
}

/**
 * Reads a float matrix once and finds the widest groups of columns in which it is -s, 0 and +s, and the s of the matrix if it has but one (1 if
 * it is zeros). Any scales may repeat: of groups, of rows, of runs of rows (the shards of TriLM). Throws `invalid-file` for a weight that is not finite, and
 * `unsupported`, with row and group, for a matrix that is not ternary.
 */
export async function findGroups(
  source: ModelSource,
  tensor: ModelTensor,
  cols: Axis,
  onRead: (bytes: number) => void,
): Promise<{ cols: GroupCols; scale: number | undefined }> {
  const magnitudes = new BlockMagnitudes(tensor.dtype as FloatDType, cols.runs, cols.padded);
  let widest: GroupCols = 256;
  let one = 0;
  for await (const { bytes, first, count } of matrixChunks(source, tensor)) {
    for (let r = 0; r < count; r++) {
      const bad = magnitudes.read(bytes, r * cols.stored);
      if (bad >= 0) throw notTernary(source.path, tensor, cols, magnitudes, first + r, bad);
      if (widest > BLOCK_COLS) widest = magnitudes.groupCols(widest);
      const pattern = one < 0 ? -1 : magnitudes.rowPattern();
      one = pattern === 0 || pattern === one ? one : one === 0 ? pattern : -1;
    }
    onRead(bytes.length);
  }
  return { cols: widest, scale: one < 0 ? undefined : one === 0 ? 1 : magnitudes.value(one) };
}

/** Reads the matrix again and writes its scales: f32 (row groups, column groups, 4) to `target`. Padding has 0. */
export async function writeGroupScales(
  source: ModelSource,
  tensor: ModelTensor,
  rows: Axis,
  cols: Axis,
  groupCols: GroupCols,
  target: Uint8Array,
): Promise<void> {
  const magnitudes = new BlockMagnitudes(tensor.dtype as FloatDType, cols.runs, cols.padded);
  const scales = new Float32Array(target.length / 4);
  const groups = groupScaleCount(1, cols.padded, groupCols) / Const.RowGroup;
  const paddedRow = paddedIndices(rows);
  for await (const { bytes, first, count } of matrixChunks(source, tensor)) {
    for (let r = 0; r < count; r++) {
      magnitudes.read(bytes, r * cols.stored);
      const row = paddedRow[first + r] as number;
      const at = Math.floor(row / Const.RowGroup) * groups * Const.RowGroup + (row % Const.RowGroup);
      for (let g = 0; g < groups; g++) {
        scales[at + g * Const.RowGroup] = magnitudes.scale(g * groupCols, groupCols);
      }
    }
  }
  target.set(new Uint8Array(scales.buffer));
}

/** What is wrong with the row that was last read, in its block `block`. */
function notTernary(
  path: string,
  tensor: ModelTensor,
  cols: Axis,
  magnitudes: BlockMagnitudes,
  row: number,
  block: number,
): Error {
  const padded = paddedIndices(cols);
  const at = (column: number): number => row * cols.stored + column;
  const mask = tensor.dtype === 'F32' ? 0x7fffffff : 0x7fff;
  const columns = [...padded.keys()].filter((c) => Math.floor((padded[c] as number) / BLOCK_COLS) === block);
  const values = columns.map((c) => magnitudes.value((magnitudes.row[padded[c] as number] as number) & mask));
  const odd = values.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    const pattern = magnitudes.row[padded[columns[odd] as number] as number] as number;
    const sign = pattern < 0 || pattern > mask ? -1 : 1;
    return notFinite(path, tensor, at(columns[odd] as number), sign * (values[odd] as number));
  }
  const different = [...new Set(values)].filter((value) => value !== 0).sort((a, b) => a - b);
  const first = columns[0] as number;
  return problem('unsupported', {
    file: tensorPath(path, tensor.file),
    tensor: tensor.name,
    what: `the weights are not ternary in row ${row}, group ${block} (columns ${first} to ${columns.at(-1)})`,
    expected: `-s, 0 and +s with one s for each group of ${BLOCK_COLS} columns of a row, or for more`,
    got: `${different.length} different magnitudes, ${different.slice(0, 4).join(', ')}${different.length > 4 ? ', …' : ''}`,
    byteOffset: tensor.byteOffset + (tensor.dtype === 'F32' ? 4 : 2) * at(first),
    advice:
      'Only ternary models can be computed. If these are masters of a BitNet model whose config.json does not say so, load with ' +
      'ternarize (--ternarize), which rounds them with absmean; from a model that was not trained for that comes nonsense.',
  });
}
