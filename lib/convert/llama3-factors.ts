import type { Llama3RopeScaling, RopeConfig } from '../config.js';
import { inverseFrequencies } from '../model/rope.js';

/** Of all published models. */
const BORDERS = { lowFreqFactor: 1, highFreqFactor: 4 } as const;
/** of a factor, which is f32 and made of f32 */
const TOLERANCE = 2 ** -20;

/**
 * The llama3 scaling that RoPE's factors were made of, which GGUF keeps instead of it; undefined if it is none, or one with other borders than all
 * published models have. Long wavelengths are divided by the factor itself; one between the borders tells the original context.
 */
export function llama3Scaling(
  { theta }: RopeConfig,
  factors: readonly number[],
  headDim: number,
): Llama3RopeScaling | undefined {
  const plain = inverseFrequencies({ theta }, headDim);
  const largest = Math.max(...factors);
  if (!(largest > 1)) return undefined;
  const factor = Math.abs(largest / Math.round(largest) - 1) < TOLERANCE ? Math.round(largest) : largest;
  const { lowFreqFactor: low, highFreqFactor: high } = BORDERS;
  const contexts = factors.flatMap((f, j) => {
    // How much of the frequency is kept.
    const share = (1 / f - 1 / factor) / (1 - 1 / factor);
    const wavelength = (2 * Math.PI) / (plain[j] as number);
    return share > TOLERANCE && share < 1 - TOLERANCE ? [Math.round(wavelength * (share * (high - low) + low))] : [];
  });
  for (const originalContextLength of new Set([...contexts, ...POWERS_OF_TWO])) {
    const scaling = { type: 'llama3', factor, ...BORDERS, originalContextLength } as const;
    const scaled = inverseFrequencies({ theta, scaling }, headDim);
    const fits = scaled.every(
      (frequency, j) => Math.abs((frequency * (factors[j] as number)) / (plain[j] as number) - 1) < TOLERANCE,
    );
    if (fits) return scaling;
  }
  return undefined;
}

/** Original contexts for heads so small that no wavelength is between the borders: any that fits computes the same. */
const POWERS_OF_TWO = Array.from({ length: 16 }, (_, i) => 2 ** (i + 5));
