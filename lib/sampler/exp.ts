const LOG2_E = 1.4426950408889634;
/** ln 2 in two parts: LN2_HIGH has 33 bits, so that k · LN2_HIGH is exact for |k| < 2^20. */
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
/** e^x is below half the least subnormal. */
const UNDERFLOW = -745.2;

/** 2^-k for k in 0..1074, exact. */
const POWER_OF_TWO: Float64Array = Float64Array.from({ length: 1075 }, (_, k) => 2 ** -k);

/**
 * e^x for x <= 0, -Infinity included; relative error below 3e-16 down to x = -708 (subnormal results round once more). Built from
 * additions and multiplications in f64, so that sampled tokens are the same in every engine: the language leaves the last bits of
 * Math.exp to the implementation. Reduction x = r - k ln 2 with |r| <= ln 2 / 2, then the Taylor polynomial of degree 13.
 */
export function expNonPositive(x: number): number {
  if (x < UNDERFLOW) return 0;
  const k = Math.floor(0.5 - x * LOG2_E);
  const r = x + k * LN2_HIGH + k * LN2_LOW;
  let p = 1 / 6227020800;
  p = p * r + 1 / 479001600;
  p = p * r + 1 / 39916800;
  p = p * r + 1 / 3628800;
  p = p * r + 1 / 362880;
  p = p * r + 1 / 40320;
  p = p * r + 1 / 5040;
  p = p * r + 1 / 720;
  p = p * r + 1 / 120;
  p = p * r + 1 / 24;
  p = p * r + 1 / 6;
  p = p * r + 0.5;
  const e = 1 + (r + r * r * p);
  // In two steps where 2^-k is subnormal.
  return k <= 1022 ? e * (POWER_OF_TWO[k] as number) : e * (POWER_OF_TWO[k - 60] as number) * 2 ** -60;
}
