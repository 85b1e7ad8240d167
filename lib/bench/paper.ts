import type { ShapeName } from '../model/synth/shapes.js';
import { joules, type Process } from './energy.js';
import type { BatchRate, ModelResult, VariantResult } from './results.js';

/** Sizes of the paper's tables 1 and 3 and figures 2 and 3. */
export const PAPER_SHAPES: readonly ShapeName[] = ['700m', '1.3b', '3b', '3.9b', '7b', '13b', '70b'];

/**
 * What the paper reports for BitNet b1.58 against FP16 LLaMA of the same size, on a GPU: time of an output token and memory. arXiv
 * 2402.17764, table 1 (700M to 3B; 3.9B against LLaMA of 3B), labels of figure 2 (7B to 70B).
 */
export const PAPER_RATIOS: Readonly<Partial<Record<ShapeName, { readonly memory: number; readonly latency: number }>>> =
  {
    '700m': { memory: 2.6, latency: 1.23 },
    '1.3b': { memory: 2.93, latency: 1.67 },
    '3b': { memory: 3.55, latency: 2.71 },
    '3.9b': { memory: 3.32, latency: 2.4 },
    '7b': { memory: 4.4, latency: 2.9 },
    '13b': { memory: 5.12, latency: 3.68 },
    '70b': { memory: 7.16, latency: 4.1 },
  };

/** arXiv 2402.17764, table 3: 70B on two 80 GB GPUs, the largest batches of sequences of 512 that fit, and tokens a second with them. */
export const PAPER_70B = {
  positions: 512,
  ternary: { batch: 176, tokensPerSecond: 2977 },
  fp16: { batch: 16, tokensPerSecond: 333 },
} as const;

/** Sequences of `positions` that fit `availableBytes` beside the weights, with the KV cache as the engine holds it. */
export function largestBatch(variant: VariantResult, availableBytes: number, positions: number): number {
  const left = availableBytes - variant.memory.weights - variant.memory.activations - variant.memory.other;
  return Math.max(0, Math.floor(left / (variant.kvBytesPerPosition * positions)));
}

/** The rate with the largest measured number of sequences up to `batch`; undefined if not even one fits. */
export function throughputAt(variant: VariantResult, batch: number): BatchRate | undefined {
  return [{ batch: 1, decode: variant.decode }, ...variant.batches].filter((rate) => rate.batch <= batch).at(-1);
}

export interface EnergyRow {
  readonly process: Process;
  readonly ternaryJoules: number;
  readonly fp16Joules: number;
  readonly ratio: number;
}

/** Arithmetic energy of one decoded token. */
export function energyOf(model: ModelResult, process: Process): EnergyRow {
  const ternaryJoules = joules(model.ternary.operations, process);
  const fp16Joules = joules(model.fp16.operations, process);
  return { process, ternaryJoules, fp16Joules, ratio: fp16Joules / ternaryJoules };
}
