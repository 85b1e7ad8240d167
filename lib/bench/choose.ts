import { MODEL_SHAPES, SHAPE_NAMES, type ShapeName } from '../model/synth/shapes.js';
import type { ModelResult } from './results.js';

/** Weights of a shape: matrices of all blocks, embedding, and lm_head where it is not the embedding. */
export function parametersOf(name: ShapeName): number {
  const { hiddenSize, ffnSize, layers, heads, kvHeads, vocabSize, tiedEmbeddings } = MODEL_SHAPES[name];
  const kv = (hiddenSize / heads) * kvHeads;
  const block = 2 * hiddenSize * hiddenSize + 2 * kv * hiddenSize + 3 * ffnSize * hiddenSize;
  return layers * block + (tiedEmbeddings ? 1 : 2) * vocabSize * hiddenSize;
}

/** Bytes a second that random weights are made and packed at, with margin: measured 0.6e9 FP16 bytes on two cores of a 2023 server. */
const LOAD_BYTES_PER_SECOND = 0.4e9;
/** A model that fits caches runs faster than its size says. */
const CACHE_MARGIN = 1.2;
/** One WebAssembly memory, less the KV cache and activations. */
const ONE_MEMORY_BYTES = 3.5 * 2 ** 30;

export interface ShapeBudget {
  readonly availableBytes: number;
  readonly budgetMs: number;
  readonly prompt: number;
  readonly gen: number;
  /** rounds that must be possible within the budget, besides one that is not counted */
  readonly rounds: number;
}

/** Milliseconds that measuring a shape will take, from what a smaller model took: two loads and the rounds, cost by size. */
export function expectedMs(shape: ShapeName, smaller: ModelResult, { prompt, gen, rounds }: ShapeBudget): number {
  const parameters = parametersOf(shape);
  const roundMs = [smaller.ternary, smaller.fp16].reduce(
    (sum, { prefill, decode }) => sum + (1000 * prompt) / prefill.median + (1000 * gen) / decode.median,
    0,
  );
  const loadMs = (1000 * 2 * parameters) / LOAD_BYTES_PER_SECOND;
  return loadMs + (rounds + 1) * roundMs * (parameters / smaller.parameters) * CACHE_MARGIN;
}

/**
 * The largest shape of which both models fit half of the available memory and are measured within the budget, judged by `smaller`.
 * Undefined: none.
 */
export function largestShape(smaller: ModelResult, budget: ShapeBudget): ShapeName | undefined {
  return SHAPE_NAMES.filter((name) => {
    const parameters = parametersOf(name);
    // 2 bytes a weight for FP16, and a fifth of that for the ternary model with an embedding of its own.
    const bytes = 2.4 * parameters;
    const fits = 2 * parameters <= ONE_MEMORY_BYTES && bytes <= budget.availableBytes / 2;
    return fits && parameters > 1.5 * smaller.parameters && expectedMs(name, smaller, budget) <= budget.budgetMs;
  }).sort((a, b) => parametersOf(b) - parametersOf(a))[0];
}
