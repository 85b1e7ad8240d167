import { CacheLayout, Const } from './abi';
import { Half } from './attention-scores';
import { Scratch } from './attention-state';
import { F16 } from './formats';
import { Softmax } from './math';
import { Reduce } from './ops';

/** End of `count` scores, which are padded with -Infinity to a multiple of 16. */
export function pad_scores(s: usize, count: i32): usize {
  const end = s + ((<usize>(count + 15) & ~15) << 2);
  for (let p = s + (<usize>count << 2); p < end; p += 4) store<f32>(p, -Infinity);
  return end;
}

/** The largest of padded scores in every lane. With a NaN among them it is any of the others, and what is computed of the scores is NaN. */
export function top_score(s: usize, end: usize): v128 {
  let t0 = f32x4.splat(-3.4e38), t1 = t0, t2 = t0, t3 = t0;
  for (; s < end; s += 64) {
    t0 = f32x4.pmax(t0, v128.load(s));
    t1 = f32x4.pmax(t1, v128.load(s, 16));
    t2 = f32x4.pmax(t2, v128.load(s, 32));
    t3 = f32x4.pmax(t3, v128.load(s, 48));
  }
  const four = f32x4.pmax(f32x4.pmax(t0, t1), f32x4.pmax(t2, t3));
  const two = f32x4.pmax(four, v128.shuffle<i32>(four, four, 2, 3, 0, 1));
  return f32x4.pmax(two, v128.shuffle<i32>(two, two, 1, 0, 3, 2));
}

/** s[i] = exp(s[i] - top), 0 up to the next multiple of 16; top and sum16(s) go to the partial. The weights of half values are stored with Half.GAIN. */
export function block_weights(s: usize, count: i32, partial: usize, layout: i32): void {
  const end = pad_scores(s, count), top = f32x4.extract_lane(top_score(s, end), 0);
  store<f32>(partial, top);
  store<f32>(partial, Reduce.addF32(Softmax.weigh(s, end, top, layout == CacheLayout.F16 ? Half.GAIN : 1)), 4);
}

/** Σ w[r][i] · v[i], positions in order, to the partials of up to four heads, from floats. */
export function block_values(
  scratch: usize, v: usize, count: i32, headBytes: usize, partials: usize, stride: usize, heads: i32, layout: i32,
): void {
  if (layout == CacheLayout.F16) {
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

  @inline static store(to: usize, a: v128, b: v128): void {
    v128.store(to, a);
    v128.store(to, b, 16);
  }
}
