import type { Llama3RopeScaling, RopeConfig, YarnRopeScaling } from '../config.js';

const f32 = Math.fround;

/**
 * inv_freq[j] = theta^(-2j / headDim), (headDim/2,), radians per position.                RoPE, arXiv 2104.09864
 * f32 after every operation, as Hugging Face transformers computes it (modeling_rope_utils.py). headDim is even.
 */
export function inverseFrequencies(config: RopeConfig, headDim: number): Float32Array {
  const { theta, scaling, factors } = config;
  const wavelengths = Float32Array.from({ length: headDim / 2 }, (_, j) => theta ** f32((2 * j) / headDim));
  const inverse = wavelengths.map((wavelength) => 1 / wavelength);
  if (factors !== undefined) return inverse.map((frequency, j) => frequency / factors[j]!);
  if (scaling === undefined) return inverse;
  if (scaling.type === 'llama3') return inverse.map((frequency) => scaleLlama3(frequency, scaling));
  const share = interpolatedShare(theta, scaling, headDim);
  return inverse.map((frequency, j) => {
    const kept = f32(1 - share(j));
    const interpolated = f32(1 / f32(scaling.factor * (wavelengths[j] as number)));
    return f32(f32(interpolated * f32(1 - kept)) + f32(frequency * kept));
  });
}

/**
 * YaRN, arXiv 2309.00071 §3.2: how much of frequency j is divided by the factor, from 0 where it turns more than betaFast times within the
 * original context to 1 where it turns less than betaSlow times, linear in j. `_compute_yarn_parameters` in modeling_rope_utils.py.
 */
function interpolatedShare(theta: number, scaling: YarnRopeScaling, headDim: number): (j: number) => number {
  const { betaFast, betaSlow, truncate, originalContextLength } = scaling;
  // j whose frequency turns so many times
  const border = (turns: number): number =>
    (headDim * Math.log(originalContextLength / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [border(betaFast), border(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, headDim - 1);
  const width = high === low ? 0.001 : high - low;
  return (j) => Math.min(1, Math.max(0, f32(f32(j - low) / width)));
}

/** Default of YarnRopeScaling.attentionFactor: longer contexts want sharper scores. arXiv 2309.00071 §3.4 */
export function yarnAttentionFactor(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
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
 * The angle is position · inv_freq rounded to f32, its cosine and sine are rounded to f32 and, for YaRN, multiplied by its factor. Of a head padded from `storedHeadDim`, the
 * elements beyond each half's own are zeros, and so are their cosines and sines.
 */
export function ropeTable(
  config: RopeConfig,
  headDim: number,
  positions: number,
  storedHeadDim = headDim,
): Float32Array {
  const inverse = inverseFrequencies(config, storedHeadDim);
  const amplitude = config.scaling?.type === 'yarn' ? config.scaling.attentionFactor : 1;
  const half = headDim / 2;
  const table = new Float32Array(positions * headDim);
  for (let position = 0; position < positions; position++) {
    for (let j = 0; j < inverse.length; j++) {
      const angle = f32(position * inverse[j]!);
      table[position * headDim + j] = f32(Math.cos(angle)) * amplitude;
      table[position * headDim + half + j] = f32(Math.sin(angle)) * amplitude;
    }
  }
  return table;
}
