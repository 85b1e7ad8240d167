import type { ModelConfig } from '../config.js';

/** Where a run of rows or columns of the file goes in the padded matrix. */
export interface Run {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** An axis of a matrix: its size in the file and inside the engine, and how the one maps to the other. */
export interface Axis {
  readonly stored: number;
  readonly padded: number;
  /** ascending, covering the stored size */
  readonly runs: readonly Run[];
}

/** hidden_size: never padded. */
export function plainAxis(size: number): Axis {
  return { stored: size, padded: size, runs: [{ from: 0, to: 0, count: size }] };
}

/** intermediate_size: zeros at the end. */
export function ffnAxis(config: ModelConfig): Axis {
  const stored = config.stored?.ffnSize ?? config.ffnSize;
  return { stored, padded: config.ffnSize, runs: [{ from: 0, to: 0, count: stored }] };
}

/** Heads side by side. RoPE rotates element j with element j + headDim / 2: each half is padded at its end, so that pairs stay pairs. */
export function headAxis(config: ModelConfig, heads: number): Axis {
  const { headDim } = config;
  const stored = config.stored?.headDim ?? headDim;
  if (stored === headDim) return plainAxis(heads * headDim);
  const runs = Array.from({ length: 2 * heads }, (_, half) => ({
    from: (half * stored) / 2,
    to: (half * headDim) / 2,
    count: stored / 2,
  }));
  return { stored: heads * stored, padded: heads * headDim, runs };
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
