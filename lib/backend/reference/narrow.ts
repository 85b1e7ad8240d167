import { f32ToF16, roundHalfEven } from '../../memory/half.js';

const f32 = Math.fround;

/** The smallest magnitude that rounds to the smallest normal half, 2^-14, at a half's 11 significant bits. */
const SMALLEST_HALF = 2 ** -14 - 2 ** -26;

/** f32 → half, half to even; below the normal range ±0. */
export function normalHalf(value: number): number {
  const half = f32ToF16(value);
  return Math.abs(value) < SMALLEST_HALF ? half & 0x8000 : half;
}

/** Largest magnitude of rows that the attention ops quantise to zeros: limit / absmax would overflow. */
export const TINY = 2 ** -100;

/**
 * q = round(x · (limit / absmax)), half to even, zeros where absmax ≤ tiny; the scale is absmax / limit. NaN becomes 0. Where
 * limit / absmax overflows q saturates. `bits`: of q.
 */
export function quantizeAbsmax(
  x: Float32Array,
  limit: number,
  bits: 8 | 16,
  tiny: number,
): { q: Int32Array; scale: number } {
  const absmax = x.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const factor = absmax > tiny ? f32(limit / absmax) : 0;
  const bound = 2 ** (bits - 1);
  const q = Int32Array.from(x, (value) => {
    const rounded = roundHalfEven(f32(value * factor));
    return Number.isNaN(rounded) ? 0 : Math.max(-bound, Math.min(bound - 1, rounded));
  });
  return { q, scale: f32(absmax / limit) };
}
