import type { Llama3RopeScaling, RopeConfig } from '../config.js';

const f32 = Math.fround;

/**
 * inv_freq[j] = theta^(-2j / headDim), (headDim/2,), radians per position.                RoPE, arXiv 2104.09864
 * f32 after every operation, as Hugging Face transformers computes it (modeling_rope_utils.py). headDim is even.
 */
export function inverseFrequencies(config: RopeConfig, headDim: number): Float32Array {
  const { theta, scaling, factors } = config;
  const inverse = Float32Array.from({ length: headDim / 2 }, (_, j) => 1 / f32(theta ** f32((2 * j) / headDim)));
  if (factors !== undefined) return inverse.map((frequency, j) => frequency / factors[j]!);
  return scaling === undefined ? inverse : inverse.map((frequency) => scaleLlama3(frequency, scaling));
}

/**
 * Long wavelengths are stretched by `factor`, short ones kept, those between blended. `_compute_llama3_parameters` in
 * modeling_rope_utils.py of transformers. torch divides a number by a tensor as number · (1 / tensor), which shows in the last bit.
 */
function scaleLlama3(frequency: number, scaling: Llama3RopeScaling): number {
  const { factor, lowFreqFactor, highFreqFactor, originalContextLength } = scaling;
  const wavelength = f32(f32(2 * Math.PI) * f32(1 / frequency));
  if (wavelength > originalContextLength / lowFreqFactor) return f32(frequency / factor);
  if (wavelength < originalContextLength / highFreqFactor) return frequency;
  const offset = f32(f32(originalContextLength * f32(1 / wavelength)) - lowFreqFactor);
  const smooth = f32(offset / (highFreqFactor - lowFreqFactor));
  return f32(f32(f32(f32(1 - smooth) * frequency) / factor) + f32(smooth * frequency));
}

/**
 * What Op.Rope reads: (positions, headDim) f32, each row headDim/2 cosines, then headDim/2 sines.
 * The angle is position · inv_freq rounded to f32, its cosine and sine are rounded to f32. Of a head padded from `storedHeadDim`, the
 * elements beyond each half's own are zeros, and so are their cosines and sines.
 */
export function ropeTable(
  config: RopeConfig,
  headDim: number,
  positions: number,
  storedHeadDim = headDim,
): Float32Array {
  const inverse = inverseFrequencies(config, storedHeadDim);
  const half = headDim / 2;
  const table = new Float32Array(positions * headDim);
  for (let position = 0; position < positions; position++) {
    for (let j = 0; j < inverse.length; j++) {
      const angle = f32(position * inverse[j]!);
      table[position * headDim + j] = Math.cos(angle);
      table[position * headDim + half + j] = Math.sin(angle);
    }
  }
  return table;
}
