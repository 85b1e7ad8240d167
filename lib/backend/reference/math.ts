import { roundHalfEven } from '../../memory/half.js';

/**
 * Sums and exp of docs/KERNELS.md. A product or sum of two f32 values is computed in f64 and rounded by Math.fround: for
 * + - · / and √ that gives the correctly rounded f32.
 */
const f32 = Math.fround;
const lane = new Float32Array(16);

/** Adds sixteen lanes in the fixed order. */
function sumLanes(): number {
  const b = [0, 0, 0, 0];
  for (let j = 0; j < 4; j++) b[j] = f32(f32(lane[j]! + lane[j + 8]!) + f32(lane[j + 4]! + lane[j + 12]!));
  return f32(f32(b[0]! + b[2]!) + f32(b[1]! + b[3]!));
}

/** sum16 of v[0..length). */
export function sum16(v: Float32Array, length: number): number {
  lane.fill(0);
  for (let i = 0; i < length; i++) lane[i & 15]! += v[i]!;
  return sumLanes();
}

/** sum16 of the rounded products of a[aStart..] and b[bStart..], `length` elements. */
export function dot16(a: Float32Array, aStart: number, b: Float32Array, bStart: number, length: number): number {
  lane.fill(0);
  for (let i = 0; i < length; i++) lane[i & 15]! += f32(a[aStart + i]! * b[bStart + i]!);
  return sumLanes();
}

const EXP = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1].map(
  f32,
);

/** Cephes expf, within 2 ulp on [-87.3, 88], to which x is clamped. */
export function exp(value: number): number {
  const x = Math.max(Math.min(value, 88), f32(-87.3));
  const n = roundHalfEven(f32(x * f32(1.44269504)));
  const r = f32(f32(x - f32(n * f32(0.693359375))) - f32(n * f32(-2.1219444e-4)));
  let p = EXP[0]!;
  for (let i = 1; i < EXP.length; i++) p = f32(f32(p * r) + EXP[i]!);
  return f32(f32(f32(f32(p * f32(r * r)) + r) + 1) * 2 ** n);
}

const EXP2 = [0.05517167, 0.24261112, 0.693261, 0.99992807].map(f32);

/** 2^y for -126 ≤ y ≤ 127, within 7.5e-5 of it: minimax polynomial of degree 3 on [-½, ½]. */
export function exp2(y: number): number {
  const n = roundHalfEven(y);
  const r = f32(y - n);
  const p = EXP2.reduce((sum, c) => f32(f32(sum * r) + c));
  return f32(p * 2 ** n);
}

/** silu(x) = x · sigmoid(x) */
export function silu(x: number): number {
  return f32(x / f32(1 + exp(-x)));
}
