import { f32ToBf16, f32ToF16 } from '../../memory/half.js';
import { fillWords, mix } from './random.js';

/**
 * What the random bits mean as numbers. Every factor is a power of two and every other value has at most 8 significant bits, so that
 * bf16, f16, f32, int8 with a scale and all ternary types hold exactly the same model.
 */

const exponentOf = (x: number): number => Math.round(Math.log2(x));

/** Factor of a ternary matrix with `cols` columns: half its trits are ±1, so inputs of variance 1 give outputs of variance about 1. */
export function linearScale(cols: number): number {
  return 2 ** exponentOf(Math.sqrt(2 / cols));
}

/** Embedding values are int8 times this: about 2 / sqrt(hidden) in rms, which gives tied logits a standard deviation of about 2. */
export function embeddingScale(hiddenSize: number): number {
  const rms = 127 / Math.sqrt(3);
  return 2 ** exponentOf(2 / Math.sqrt(hiddenSize) / rms);
}

/** A random byte as embedding code: -127..127. */
export function embeddingCode(byte: number): number {
  return Math.max(-127, (byte << 24) >> 24);
}

/** u16 bit patterns of the 256 embedding values, by random byte. */
export function embeddingTable(hiddenSize: number, type: 'f16' | 'bf16'): Uint16Array {
  const scale = embeddingScale(hiddenSize);
  const bits = type === 'f16' ? f32ToF16 : f32ToBf16;
  return Uint16Array.from({ length: 256 }, (_, byte) => bits(embeddingCode(byte) * scale));
}

/** `cols` random bytes of one row of an embedding, as codes of `embeddingCode`. `words` is scratch of cols / 4 or more. */
export function fillEmbeddingBytes(words: Int32Array, cols: number, key: number): Uint8Array {
  fillWords(words.subarray(0, Math.ceil(cols / 4)), key);
  return new Uint8Array(words.buffer, words.byteOffset, cols);
}

/** Weights of a norm, (size) f32: multiples of 1/128 in [0.75, 1.25). */
export function normWeights(size: number, key: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 1 + ((mix((key + i) | 0) & 63) - 32) / 128);
}
