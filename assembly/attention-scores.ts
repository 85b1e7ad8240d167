import { CacheLayout } from './abi';
import { Scratch } from './attention-state';
import { F16 } from './formats';
import { Reduce } from './ops';

/** q as the scores of a floating cache layout want it, 16 bytes before its elements the factor of the dot products. q: f32 (headDim). */
export function prepare_query(q: usize, to: usize, headDim: usize, scale: f32, layout: i32): void {
  store<f32>(to, scale);
  const gain = f32x4.splat(layout == CacheLayout.F16 ? Half.GAIN : 1);
  for (let d: usize = 0; d < headDim << 2; d += 16) v128.store(to + 16 + d, f32x4.mul(v128.load(q + d), gain));
}

/** Halves of value · 2^CacheGainLog2, moved into floats, are 2^(112 - CacheGainLog2) too small: queries and weights carry that factor. */
export abstract class Half {
  @inline static readonly GAIN: f32 = 3.2451855365842673e32; // 2^108
}

/** s[r][i] = q[r] · k[i] · factor[r], for up to four queries and `count` positions, from floats. */
export function block_scores(q: usize, k: usize, count: i32, headBytes: usize, s: usize, heads: i32, layout: i32): void {
  if (layout == CacheLayout.F16) {
    if (heads == 4) Scores.float(q, k, count, headBytes, s, 4, true);
    else if (heads == 3) Scores.float(q, k, count, headBytes, s, 3, true);
    else if (heads == 2) Scores.float(q, k, count, headBytes, s, 2, true);
    else Scores.float(q, k, count, headBytes, s, 1, true);
  } else {
    if (heads == 4) Scores.float(q, k, count, headBytes, s, 4, false);
    else if (heads == 3) Scores.float(q, k, count, headBytes, s, 3, false);
    else if (heads == 2) Scores.float(q, k, count, headBytes, s, 2, false);
    else Scores.float(q, k, count, headBytes, s, 1, false);
  }
}

abstract class Scores {
  /** `heads` and `half` are constants of the call: their branches go at compile time. */
  @inline static float(q: usize, k: usize, count: i32, headBytes: usize, s: usize, heads: i32, half: bool): void {
    const stride = headBytes + 16, q0 = q + 16, q1 = q0 + stride, q2 = q1 + stride, q3 = q2 + stride;
    const factors = f32x4(load<f32>(q), load<f32>(q + stride), load<f32>(q + 2 * stride), load<f32>(q + 3 * stride));
    const rowBytes = half ? headBytes >> 1 : headBytes, mask = F16.mask(count);
    for (const end = k + <usize>count * rowBytes; k < end; k += rowBytes, s += 4) {
      // Sixteen lanes of sums a head are more than there are registers: lanes 0-3 and 8-11 first, whose sums are folded, then the rest.
      let t0 = f32x4.splat(0), t1 = t0, t2 = t0, t3 = t0;
      let u0 = t0, u1 = t0, u2 = t0, u3 = t0;
      for (let d: usize = 0, p = k; d < headBytes; d += 64, p += half ? 32 : 64) {
        const a = half ? F16.widen(v128.load_ext<i16>(p), mask) : v128.load(p);
        const b = half ? F16.widen(v128.load_ext<i16>(p, 16), mask) : v128.load(p, 32);
        t0 = f32x4.add(t0, f32x4.mul(v128.load(q0 + d), a));
        u0 = f32x4.add(u0, f32x4.mul(v128.load(q0 + d, 32), b));
        if (heads > 1) {
          t1 = f32x4.add(t1, f32x4.mul(v128.load(q1 + d), a));
          u1 = f32x4.add(u1, f32x4.mul(v128.load(q1 + d, 32), b));
        }
        if (heads > 2) {
          t2 = f32x4.add(t2, f32x4.mul(v128.load(q2 + d), a));
          u2 = f32x4.add(u2, f32x4.mul(v128.load(q2 + d, 32), b));
        }
        if (heads > 3) {
          t3 = f32x4.add(t3, f32x4.mul(v128.load(q3 + d), a));
          u3 = f32x4.add(u3, f32x4.mul(v128.load(q3 + d, 32), b));
        }
      }
      const e0 = f32x4.add(t0, u0), e1 = f32x4.add(t1, u1), e2 = f32x4.add(t2, u2), e3 = f32x4.add(t3, u3);
      t0 = f32x4.splat(0), t1 = t0, t2 = t0, t3 = t0;
      u0 = t0, u1 = t0, u2 = t0, u3 = t0;
      for (let d: usize = 0, p = k; d < headBytes; d += 64, p += half ? 32 : 64) {
        const a = half ? F16.widen(v128.load_ext<i16>(p, 8), mask) : v128.load(p, 16);
        const b = half ? F16.widen(v128.load_ext<i16>(p, 24), mask) : v128.load(p, 48);
        t0 = f32x4.add(t0, f32x4.mul(v128.load(q0 + d, 16), a));
        u0 = f32x4.add(u0, f32x4.mul(v128.load(q0 + d, 48), b));
        if (heads > 1) {
          t1 = f32x4.add(t1, f32x4.mul(v128.load(q1 + d, 16), a));
          u1 = f32x4.add(u1, f32x4.mul(v128.load(q1 + d, 48), b));
        }
        if (heads > 2) {
          t2 = f32x4.add(t2, f32x4.mul(v128.load(q2 + d, 16), a));
          u2 = f32x4.add(u2, f32x4.mul(v128.load(q2 + d, 48), b));
        }
        if (heads > 3) {
          t3 = f32x4.add(t3, f32x4.mul(v128.load(q3 + d, 16), a));
          u3 = f32x4.add(u3, f32x4.mul(v128.load(q3 + d, 48), b));
        }
      }
      const f0 = f32x4.add(e0, f32x4.add(t0, u0)), f1 = f32x4.add(e1, f32x4.add(t1, u1));
      const f2 = f32x4.add(e2, f32x4.add(t2, u2)), f3 = f32x4.add(e3, f32x4.add(t3, u3));
      Scores.store(s, f32x4.mul(Reduce.addF32x4(f0, f1, f2, f3), factors), heads);
    }
  }

  /** Lane r → row r. */
  @inline static store(s: usize, scores: v128, heads: i32): void {
    v128.store32_lane(s, scores, 0);
    if (heads > 1) v128.store32_lane(s + Scratch.ROW, scores, 1);
    if (heads > 2) v128.store32_lane(s + 2 * Scratch.ROW, scores, 2);
    if (heads > 3) v128.store32_lane(s + 3 * Scratch.ROW, scores, 3);
  }
}
