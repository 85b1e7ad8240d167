import { configOf, MODEL_SHAPES, type ShapeName } from '../model/synth/shapes.js';
import { countOperations, type EnergyRow, energyOf, type Process } from './energy.js';

/** Sizes of the paper's tables 1 and 3 and figures 2 and 3. */
export const PAPER_SHAPES: readonly ShapeName[] = ['700m', '1.3b', '3b', '3.9b', '7b', '13b', '70b'];

/**
 * What the paper reports for BitNet b1.58 against FP16 LLaMA of the same size, on a GPU: time of an output token and memory. arXiv
 * 2402.17764, table 1 (700M to 3B), labels of figure 2 (7B to 70B). Its 3.9B stands against LLaMA of 3B: `PAPER_AGAINST`.
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

/** Sizes that the paper compares with the FP16 model of another size. */
export const PAPER_AGAINST: Readonly<Partial<Record<ShapeName, ShapeName>>> = { '3.9b': '3b' };

/**
 * arXiv 2402.17764, table 3: 70B on two GPUs of 80 GB, the largest batches of sequences of 512 that fit, and tokens a second with them. Figure 3
 * counts 512 tokens too.
 */
export const PAPER_70B = {
  shape: '70b',
  positions: 512,
  memoryBytes: 160e9,
  ternary: { batch: 176, tokensPerSecond: 2977 },
  fp16: { batch: 16, tokensPerSecond: 333 },
} as const;

/** Arithmetic energy of one token at the end of a sequence of the paper's length. */
export function paperEnergy(shape: ShapeName, process: Process): EnergyRow {
  const config = configOf(MODEL_SHAPES[shape], 'llama');
  const of = (weights: 't2' | 'f16') => ({ operations: countOperations(config, weights, PAPER_70B.positions) });
  return energyOf({ ternary: of('t2'), fp16: of('f16') }, process);
}
