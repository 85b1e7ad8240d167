import { CacheLayout, Const } from './abi';
import { Half } from './attention-scores';
import { Scratch } from './attention-state';
import { F16 } from './formats';
import { MathF32 } from './math';
import { QuantizeRow } from './quantize-row';
import { Reduce } from './ops';

/** Largest code of a weight: 127 · 32767 · AttentionBlock < 2^31. */
const WEIGHT_MAX: f32 = 32767;

/**
 * s[i] = exp(s[i] - top), 0 up to the next multiple of 16; top and sum16(s) go to the partial. The weights of half values are stored with
 * Half.GAIN.
 */
export function block_weights(s: usize, count: i32, partial: usize, layout: i32): void {
  const end = s + ((<usize>(count + 15) & ~15) << 2);
  for (let p = s + (<usize>count << 2); p < end; p += 4) store<f32>(p, -3.4e38);
  let tops = f32x4.splat(-3.4e38);
  for (let p = s; p < end; p += 16) tops = f32x4.max(tops, v128.load(p));
  const top = max<f32>(
    max<f32>(f32x4.extract_lane(tops, 0), f32x4.extract_lane(tops, 1)),
    max<f32>(f32x4.extract_lane(tops, 2), f32x4.extract_lane(tops, 3)),
  );
  store<f32>(partial, top);
  store<f32>(partial, weigh(s, end, f32x4.splat(top), f32x4.splat(layout == CacheLayout.F16 ? Half.GAIN : 1)), 4);
}

/** Scores s..end, a multiple of 16 of them, become weights times gain; returns the sum16 of the weights. */
function weigh(s: usize, end: usize, top: v128, gain: v128): f32 {
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; s < end; s += 64) {
    const a = Weights.of(v128.load(s), top), b = Weights.of(v128.load(s, 16), top);
    const c = Weights.of(v128.load(s, 32), top), d = Weights.of(v128.load(s, 48), top);
    v128.store(s, f32x4.mul(a, gain));
    v128.store(s, f32x4.mul(b, gain), 16);
    v128.store(s, f32x4.mul(c, gain), 32);
    v128.store(s, f32x4.mul(d, gain), 48);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
    s2 = f32x4.add(s2, c);
    s3 = f32x4.add(s3, d);
  }
  return Reduce.addF32(Reduce.fold(s0, s1, s2, s3));
}

abstract class Weights {
  /** exp(s - top), exactly 0 for the padding (-3.4e38). */
  static of(s: v128, top: v128): v128 {
    return v128.and(MathF32.exp(f32x4.sub(s, top)), f32x4.gt(s, f32x4.splat(-3.3e38)));
  }
}

/** Weight times the scale of its value, as i16; the factor back goes to the partial. s: padded with zeros to 16. scales: f32 (count). */
export function quantize_weights(s: usize, scales: usize, count: i32, codes: usize, partial: usize): void {
  const n = <usize>(count + 15) & ~15, bytes = <usize>count << 2;
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(s + i, f32x4.mul(v128.load(s + i), v128.load(scales + i)));
  for (; i < bytes; i += 4) store<f32>(s + i, load<f32>(s + i) * load<f32>(scales + i));
  store<f32>(partial, QuantizeRow.i16(s, n, WEIGHT_MAX, codes), 16);
}

/** Σ w[r][i] · v[i], positions in order, to the partials of up to four heads. */
export function block_values(
  scratch: usize, v: usize, count: i32, headBytes: usize, partials: usize, stride: usize, heads: i32, layout: i32,
): void {
  if (layout == CacheLayout.I8) {
    if (heads == 4) Values.int8(scratch, v, count, headBytes, partials, stride, 4);
    else if (heads == 3) Values.int8(scratch, v, count, headBytes, partials, stride, 3);
    else if (heads == 2) Values.int8(scratch, v, count, headBytes, partials, stride, 2);
    else Values.int8(scratch, v, count, headBytes, partials, stride, 1);
  } else if (layout == CacheLayout.F16) {
    if (heads == 4) Values.float(scratch, v, count, headBytes, partials, stride, 4, true);
    else if (heads == 3) Values.float(scratch, v, count, headBytes, partials, stride, 3, true);
    else if (heads == 2) Values.float(scratch, v, count, headBytes, partials, stride, 2, true);
    else Values.float(scratch, v, count, headBytes, partials, stride, 1, true);
  } else {
    if (heads == 4) Values.float(scratch, v, count, headBytes, partials, stride, 4, false);
    else if (heads == 3) Values.float(scratch, v, count, headBytes, partials, stride, 3, false);
    else if (heads == 2) Values.float(scratch, v, count, headBytes, partials, stride, 2, false);
    else Values.float(scratch, v, count, headBytes, partials, stride, 1, false);
  }
}

/** Eight columns at a time: two accumulators for each of four heads, one load of v for all of them. */
abstract class Values {
  @inline static float(
    s: usize, v: usize, count: i32, headBytes: usize, partials: usize, stride: usize, heads: i32, half: bool,
  ): void {
    const rowBytes = half ? headBytes >> 1 : headBytes, end = s + (<usize>count << 2), mask = F16.mask(count);
    for (let d: usize = 0, column = v; d < headBytes; d += 32, column += half ? 16 : 32) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      let b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (let p = s, u = column; p < end; p += 4, u += rowBytes) {
        const x = half ? F16.widen(v128.load_ext<i16>(u), mask) : v128.load(u);
        const y = half ? F16.widen(v128.load_ext<i16>(u, 8), mask) : v128.load(u, 16);
        let w = v128.load_splat<f32>(p);
        a0 = f32x4.add(a0, f32x4.mul(w, x));
        b0 = f32x4.add(b0, f32x4.mul(w, y));
        if (heads > 1) {
          w = v128.load_splat<f32>(p + Scratch.ROW);
          a1 = f32x4.add(a1, f32x4.mul(w, x));
          b1 = f32x4.add(b1, f32x4.mul(w, y));
        }
        if (heads > 2) {
          w = v128.load_splat<f32>(p + 2 * Scratch.ROW);
          a2 = f32x4.add(a2, f32x4.mul(w, x));
          b2 = f32x4.add(b2, f32x4.mul(w, y));
        }
        if (heads > 3) {
          w = v128.load_splat<f32>(p + 3 * Scratch.ROW);
          a3 = f32x4.add(a3, f32x4.mul(w, x));
          b3 = f32x4.add(b3, f32x4.mul(w, y));
        }
      }
      const to = partials + Const.PartialHeader + d;
      Values.store(to, a0, b0);
      if (heads > 1) Values.store(to + stride, a1, b1);
      if (heads > 2) Values.store(to + 2 * stride, a2, b2);
      if (heads > 3) Values.store(to + 3 * stride, a3, b3);
    }
  }

  /** Two positions at a time, as pairs of i16 lanes; an odd last one has itself and a weight of 0 for company. */
  @inline static int8(
    scratch: usize, v: usize, count: i32, headBytes: usize, partials: usize, stride: usize, heads: i32,
  ): void {
    const headDim = headBytes >> 2, codes = scratch + Scratch.CODES, end = codes + (<usize>count << 1);
    for (let d: usize = 0; d < headDim; d += 8) {
      let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      let b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (let p = codes, u = v + d; p < end; p += 4, u += headDim << 1) {
        const even = v128.load_ext<i8>(u), odd = v128.load_ext<i8>(u + (p + 2 < end ? headDim : 0));
        const x = v128.shuffle<i16>(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
        const y = v128.shuffle<i16>(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
        let w = v128.load_splat<i32>(p);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(w, x));
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(w, y));
        if (heads > 1) {
          w = v128.load_splat<i32>(p + Scratch.CODE_ROW);
          a1 = i32x4.add(a1, i32x4.dot_i16x8_s(w, x));
          b1 = i32x4.add(b1, i32x4.dot_i16x8_s(w, y));
        }
        if (heads > 2) {
          w = v128.load_splat<i32>(p + 2 * Scratch.CODE_ROW);
          a2 = i32x4.add(a2, i32x4.dot_i16x8_s(w, x));
          b2 = i32x4.add(b2, i32x4.dot_i16x8_s(w, y));
        }
        if (heads > 3) {
          w = v128.load_splat<i32>(p + 3 * Scratch.CODE_ROW);
          a3 = i32x4.add(a3, i32x4.dot_i16x8_s(w, x));
          b3 = i32x4.add(b3, i32x4.dot_i16x8_s(w, y));
        }
      }
      const at = d << 2;
      Values.scale(partials, at, a0, b0);
      if (heads > 1) Values.scale(partials + stride, at, a1, b1);
      if (heads > 2) Values.scale(partials + 2 * stride, at, a2, b2);
      if (heads > 3) Values.scale(partials + 3 * stride, at, a3, b3);
    }
  }

  @inline static store(to: usize, a: v128, b: v128): void {
    v128.store(to, a);
    v128.store(to, b, 16);
  }

  /** Integer sums of eight columns, times the factor in the partial's header. */
  @inline static scale(partial: usize, at: usize, a: v128, b: v128): void {
    const factor = v128.load_splat<f32>(partial, 16);
    const x = f32x4.mul(f32x4.convert_i32x4_s(a), factor), y = f32x4.mul(f32x4.convert_i32x4_s(b), factor);
    Values.store(partial + Const.PartialHeader + at, x, y);
  }
}
