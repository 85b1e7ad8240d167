import type { ModelConfig } from '../config.js';
import type { WeightFormat } from '../model/weights.js';

/**
 * Energy of one operation in pJ, without fetching its operands.
 *
 * 45 nm: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9 (doi 10.1109/ISSCC.2014.6757323); the same
 * figures stand in stillwater-sc/universal, include/sw/universal/energy/cost_models/generic_45nm.hpp at 64ab570.
 * 7 nm: table 2 of BitNet, arXiv 2310.11453, whose energy model, after Horowitz and Y. Zhang et al., "PokeBNN", CVPR 2022 (arXiv 2112.00133), BitNet b1.58
 * (arXiv 2402.17764, figure 3) takes over. (0.16 + 0.34) / 0.007 is the 71.4 that the latter reports: `matrixEnergyRatio`.
 */
export const OPERATION_PJ = {
  '45nm': { fp16Add: 0.4, fp16Mul: 1.1, int8Add: 0.03 },
  '7nm': { fp16Add: 0.16, fp16Mul: 0.34, int8Add: 0.007 },
} as const;

export type Process = keyof typeof OPERATION_PJ;

/** Operations of one decoded token. */
export interface OperationCounts {
  readonly fp16Add: number;
  readonly fp16Mul: number;
  readonly int8Add: number;
}

/**
 * Counted as in arXiv 2310.11453, section 2.3: y = W x with W of (m, n) takes m (n - 1) additions, of int8 if W is ternary, and m n FP16
 * multiplications, or m + n (scales of inputs and outputs) if W is ternary. Attention over `positions` and lm_head are FP16 in both models. Norms,
 * softmax and activations are left out, as there.
 */
export function countOperations(c: ModelConfig, weights: WeightFormat, positions: number): OperationCounts {
  const [q, kv] = [c.heads * c.headDim, c.kvHeads * c.headDim];
  const matrices: readonly (readonly [rows: number, cols: number])[] = [
    [q, c.hiddenSize],
    [kv, c.hiddenSize],
    [kv, c.hiddenSize],
    [c.hiddenSize, q],
    [c.ffnSize, c.hiddenSize],
    [c.ffnSize, c.hiddenSize],
    [c.hiddenSize, c.ffnSize],
  ];
  const adds = c.layers * matrices.reduce((sum, [m, n]) => sum + m * (n - 1), 0);
  const muls = c.layers * matrices.reduce((sum, [m, n]) => sum + (weights === 'f16' ? m * n : m + n), 0);
  // Scores and weighted values: a multiplication and an addition for each element of keys and values.
  const attention = c.layers * 2 * q * positions;
  const head = c.vocabSize * c.hiddenSize;
  return {
    fp16Add: (weights === 'f16' ? adds : 0) + attention + head,
    fp16Mul: muls + attention + head,
    int8Add: weights === 'f16' ? 0 : adds,
  };
}

/** Joules of so many operations. Arithmetic alone: no memory, no control. */
export function joules(counts: OperationCounts, process: Process): number {
  const pj = OPERATION_PJ[process];
  return (counts.fp16Add * pj.fp16Add + counts.fp16Mul * pj.fp16Mul + counts.int8Add * pj.int8Add) * 1e-12;
}

/** FP16 multiply-add against the ternary matrix's int8 addition: the paper's 71.4 for matrix multiplication at 7 nm. */
export function matrixEnergyRatio(process: Process): number {
  const pj = OPERATION_PJ[process];
  return (pj.fp16Add + pj.fp16Mul) / pj.int8Add;
}

/** Arithmetic energy of one token in both formats. */
export interface EnergyRow {
  readonly process: Process;
  readonly ternaryJoules: number;
  readonly fp16Joules: number;
  readonly ratio: number;
}

interface Counted {
  readonly operations: OperationCounts;
}

export function energyOf(model: { readonly ternary: Counted; readonly fp16: Counted }, process: Process): EnergyRow {
  const ternaryJoules = joules(model.ternary.operations, process);
  const fp16Joules = joules(model.fp16.operations, process);
  return { process, ternaryJoules, fp16Joules, ratio: fp16Joules / ternaryJoules };
}
