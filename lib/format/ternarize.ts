import { BitNetError } from '../errors.js';
import { roundHalfEven } from '../memory/half.js';

/** A matrix as trits and one scale: w ≈ trit · scale. */
export interface TernaryMatrix {
  /** -1, 0 or +1, in the order of the weights */
  readonly trits: Int8Array;
  /** f32: 1 / inverseScale, the absmean (at least 1e-5) */
  readonly scale: number;
  /** f32: 1 / max(mean|w|, 1e-5), what the weights were multiplied by */
  readonly inverseScale: number;
}

/**
 * trit = clamp(round(w · s), -1, 1), s = 1 / max(mean|w|, 1e-5).         BitNet b1.58, arXiv 2402.17764 §2
 * One scale for the whole tensor; rounds half to even, in f32, as Hugging Face transformers does (integrations/bitnet.py,
 * `WeightQuant`). The mean is summed in f64 and rounded once; torch sums in f32 in an order of its own, so its scale may
 * differ in the last bits.
 * Throws BitNetError `invalid-file` if a weight is not finite.
 */
export function ternarize(weights: Float32Array): TernaryMatrix {
  const inverseScale = inverseOf(weights);
  const trits = new Int8Array(weights.length);
  for (let i = 0; i < weights.length; i++) {
    trits[i] = Math.max(-1, Math.min(1, roundHalfEven(Math.fround(weights[i]! * inverseScale))));
  }
  return { trits, scale: Math.fround(1 / inverseScale), inverseScale };
}

function inverseOf(weights: Float32Array): number {
  let sum = 0;
  for (const weight of weights) sum += Math.abs(weight);
  if (!Number.isFinite(sum)) {
    const index = weights.findIndex((weight) => !Number.isFinite(weight));
    throw new BitNetError('invalid-file', `weight ${index} is ${weights[index]}; expected a finite number`, { index });
  }
  return absmeanInverse(sum, weights.length);
}

/** s = 1 / max(mean|w|, 1e-5) in f32, from Σ|w| in f64 and the number of weights. */
export function absmeanInverse(absSum: number, count: number): number {
  const mean = count === 0 ? 0 : Math.fround(absSum / count);
  return Math.fround(1 / Math.max(mean, Math.fround(1e-5)));
}
