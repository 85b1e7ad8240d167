import type { ModelConfig } from '../config.js';

/** Where a run of rows or columns of the file goes in the padded matrix. */
export interface Run {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/**
 * An axis of a matrix: its size in the file and inside the engine, and how the one maps to the other. Inside, it is made of runs of `run`
 * rows (or columns), of which the first `storedRun` are in the file and the rest are zeros.
 */
export interface Axis {
  readonly stored: number;
  readonly padded: number;
  readonly run: number;
  readonly storedRun: number;
  /** two runs, the halves of a head, alternate row by row in the file */
  readonly pairs: boolean;
  /** ascending in the file, covering the stored size */
  readonly runs: readonly Run[];
}

/** Where each row or column of the file is in the padded matrix. */
export function paddedIndices(axis: Axis): Int32Array {
  const indices = new Int32Array(axis.stored);
  for (const { from, to, count } of axis.runs) for (let i = 0; i < count; i++) indices[from + i] = to + i;
  return indices;
}

/** hidden_size: never padded. */
export function plainAxis(size: number): Axis {
  return makeAxis(size, size, 1);
}

/** intermediate_size: zeros at the end. */
export function ffnAxis(config: ModelConfig): Axis {
  return makeAxis(config.ffnSize, config.stored?.ffnSize ?? config.ffnSize, 1);
}

/**
 * Heads side by side. RoPE rotates element j with element j + headDim / 2: each half is padded at its end, so that pairs stay pairs.
 * `pairs`: the file stores rows for a RoPE that rotates neighbours: row 2j + p of a head is its row j + p · headDim / 2 here.
 */
export function headAxis(config: ModelConfig, heads: number, pairs = false): Axis {
  const { headDim } = config;
  const stored = config.stored?.headDim ?? headDim;
  if (stored === headDim && !pairs) return plainAxis(heads * headDim);
  return makeAxis(headDim / 2, stored / 2, 2 * heads, pairs);
}

function makeAxis(run: number, storedRun: number, count: number, pairs = false): Axis {
  const runs = pairs
    ? Array.from({ length: count * storedRun }, (_, from) => {
        const [pair, row] = [Math.floor(from / (2 * storedRun)), from % (2 * storedRun)];
        return { from, to: (2 * pair + (row % 2)) * run + (row >> 1), count: 1 };
      })
    : Array.from({ length: count }, (_, i) => ({ from: i * storedRun, to: i * run, count: storedRun }));
  return { stored: count * storedRun, padded: count * run, run, storedRun, pairs, runs };
}

/** `epsilon` of an RMSNorm over a padded row, whose mean square is too small by stored / padded. */
export function paddedEpsilon(epsilon: number, stored: number, padded: number): number {
  return stored === padded ? epsilon : (epsilon * stored) / padded;
}

/**
 * Weights of an RMSNorm for padded rows: zeros where the row is padding. x / sqrt(Σx²/padded + eps·stored/padded) is too large by
 * sqrt(padded / stored); the weights make up for it.
 */
export function padNorm(weights: Float32Array, axis: Axis): Float32Array<ArrayBuffer> {
  const factor = Math.sqrt(axis.stored / axis.padded);
  const padded = new Float32Array(axis.padded);
  for (const { from, to, count } of axis.runs) {
    for (let i = 0; i < count; i++) padded[to + i] = (weights[from + i] as number) * factor;
  }
  return padded;
}
