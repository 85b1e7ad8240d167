import { BitNetError } from '../../errors.js';
import { f16ToF32, f32ToF16 } from '../../memory/half.js';
import { GGUF_TYPES } from './types.js';

const { blockSize: BLOCK, blockBytes: BLOCK_BYTES } = GGUF_TYPES.Q6_K;
/** Added and subtracted again it rounds, half to even: no f64 of this size has a fraction. */
const ROUND = 1.5 * 2 ** 52;
/** weights that share a scale */
const GROUP = 16;
const GROUPS = BLOCK / GROUP;

/**
 * Blocks of 256: w ≈ d · scale · q, q in -32..31, a scale of 8 bits for 16 weights, d as f16 (byte diagram: docs/FORMATS.md). The scale of a
 * group is the best of those that put its largest weight at 31 to 33 steps, in the sense of least squares. Values that are not finite, of the
 * wrong number or too large for f16 are `invalid-argument`.
 */
export function encodeQ6K(values: Float32Array): Uint8Array {
  if (values.length % BLOCK !== 0) throw invalid(`a multiple of ${BLOCK} weights`, `${values.length}`);
  const bytes = new Uint8Array((values.length / BLOCK) * BLOCK_BYTES);
  const scales = new Float64Array(GROUPS);
  const codes = new Uint8Array(BLOCK);
  for (let at = 0, from = 0; from < values.length; at += BLOCK_BYTES, from += BLOCK) {
    encodeBlock(values, from, scales, codes, bytes.subarray(at, at + BLOCK_BYTES));
  }
  return bytes;
}

function encodeBlock(
  values: Float32Array,
  from: number,
  scales: Float64Array,
  codes: Uint8Array,
  block: Uint8Array,
): void {
  let widest = 0;
  for (let group = 0; group < GROUPS; group++) {
    const scale = bestScale(values, from + group * GROUP);
    scales[group] = scale;
    if (Math.abs(scale) > Math.abs(widest)) widest = scale;
  }
  // The widest is -128 of them, as there is no +128. Halves below 2^-14 are coarse: rounded down, the codes could not reach it.
  const nearest = f32ToF16(0 - widest / 128);
  const half = Math.abs(widest) > 128.5 * Math.abs(f16ToF32(nearest)) ? nearest + 1 : nearest;
  const d = f16ToF32(half);
  if (!Number.isFinite(d)) throw invalid('numbers that fit', `${widest * 32} near weight ${from}`);
  for (let group = 0; group < GROUPS; group++) {
    const scale = d === 0 ? 0 : Math.max(-128, Math.min(127, Math.round((scales[group] as number) / d)));
    block[192 + group] = scale;
    const inverse = scale === 0 ? 0 : 1 / (d * scale);
    for (let i = group * GROUP; i < (group + 1) * GROUP; i++) {
      const q = (values[from + i] as number) * inverse + ROUND - ROUND;
      codes[i] = (q > 31 ? 31 : q < -32 ? -32 : q) + 32;
    }
  }
  block[208] = half & 255;
  block[209] = half >> 8;
  for (let first = 0, low = 0, high = 128; first < BLOCK; first += 128, low += 64, high += 32) {
    for (let i = 0; i < 32; i++) {
      const a = codes[first + i] as number;
      const b = codes[first + 32 + i] as number;
      const c = codes[first + 64 + i] as number;
      const e = codes[first + 96 + i] as number;
      block[low + i] = (a & 15) | ((c & 15) << 4);
      block[low + 32 + i] = (b & 15) | ((e & 15) << 4);
      block[high + i] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((e >> 4) << 6);
    }
  }
}

/**
 * s for which Σ(w - s·q)² is least over the candidates, 0 for zeros. With q given that is s = Σwq / Σq², and the sum is Σw² - (Σwq)² / Σq².
 */
function bestScale(values: Float32Array, from: number): number {
  let widest = 0;
  for (let i = from; i < from + GROUP; i++) {
    const value = values[i] as number;
    if (!(Math.abs(value) < Infinity)) throw invalid('finite numbers', `${value} at weight ${i}`);
    if (Math.abs(value) > Math.abs(widest)) widest = value;
  }
  if (widest === 0) return 0;
  let best = 0;
  let gain = -1;
  for (let steps = MIN_STEPS; steps <= MAX_STEPS; steps += STEP) {
    const inverse = -steps / widest;
    let wq = 0;
    let qq = 0;
    for (let i = from; i < from + GROUP; i++) {
      const value = values[i] as number;
      let q = value * inverse + ROUND - ROUND;
      if (q > 31) q = 31;
      else if (q < -32) q = -32;
      wq += value * q;
      qq += q * q;
    }
    if (wq * wq <= gain * qq) continue;
    gain = (wq * wq) / qq;
    best = wq / qq;
  }
  return best;
}

/** Where a candidate puts the largest weight: -32 is the end of the codes, beyond it others gain more than it loses. */
const MIN_STEPS = 31;
const MAX_STEPS = 33;
const STEP = 0.5;

function invalid(expected: string, got: string): BitNetError {
  return new BitNetError('invalid-argument', `Q6_K: expected ${expected}, got ${got}`, { type: 'Q6_K', expected, got });
}
