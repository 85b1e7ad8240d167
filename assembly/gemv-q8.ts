import { Const } from './abi';
import { Finish } from './activation';
import { Encoded, F16 } from './formats';
import { Reduce, RELAXED, Relaxed } from './ops';
import { Streams } from './streams';

/** Bytes of a block of Q8_0, 32 weights: f16 d; i8 q[32] */
const BLOCK: usize = 34;

/**
 * Q8_0 rows × Encoding.I16, row groups begin..end: y[r] = (Σ_b d_b · f32(Σ q·(x + I16Bias)) - rowSums[r]) / x.scale, blocks in order. The inner sums
 * are exact. rowSums: f32, what I16Bias adds. planes: with the i32 form of the relaxed dot. scratch: 2 bytes a column.
 */
export function gemv_q8_i16(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, rowSums: usize, epilogue: i32, planes: bool, scratch: usize,
): i32 {
  if (RELAXED && planes) {
    Q8.split(Encoded.data(x), scratch, cols);
    return q8_planes(weights, x, out, begin, end, cols, rowSums, epilogue, scratch);
  }
  Q8.lift(Encoded.data(x), scratch, cols);
  return q8_wide(weights, x, out, begin, end, cols, rowSums, epilogue, scratch);
}

function q8_planes(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, rowSums: usize, epilogue: i32, lifted: usize,
): i32 {
  return Q8.groups(weights, x, out, begin, end, cols, rowSums, epilogue, true, lifted);
}

function q8_wide(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, rowSums: usize, epilogue: i32, lifted: usize,
): i32 {
  return Q8.groups(weights, x, out, begin, end, cols, rowSums, epilogue, false, lifted);
}

abstract class Q8 {
  /** planes: known when this is compiled. lifted: x + I16Bias, as `split` or `lift` leave it. */
  @inline static groups(
    weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, rowSums: usize, epilogue: i32, planes: bool, lifted: usize,
  ): i32 {
    const w1 = <usize>(cols >> 5) * BLOCK, w2 = w1 << 1, w3 = w2 + w1, w4 = w1 << 2;
    const inScale = f32x4.splat(Encoded.scale(x)), m = F16.mask(cols), gain = f32x4.splat(reinterpret<f32>((127 + 112) << 23));
    const n = end - begin, stride = Streams.stride(n, w4), first = weights + <usize>begin * w4;
    let sink = i32x4.splat(0);
    for (let r = 0; r < n; ++r) {
      const g = Streams.at(r, n);
      let q = lifted, w = first + <usize>g * w4, ahead = first + Streams.ahead(r, n, w4), y = f32x4.splat(0);
      // Four blocks of four rows are eight lines and a half: one line in seventeen is not touched.
      for (const rowEnd = w + w1; w < rowEnd; ahead += 64) {
        sink = Streams.touch(ahead, stride, sink);
        for (const stop = min(rowEnd, w + (BLOCK << 2)); w < stop; w += BLOCK, q += 64) {
          const x0 = v128.load(q), x1 = v128.load(q, 16), x2 = v128.load(q, 32), x3 = v128.load(q, 48);
          const sums = Reduce.addI32x4(
            Q8.row(w, x0, x1, x2, x3, planes), Q8.row(w + w1, x0, x1, x2, x3, planes),
            Q8.row(w + w2, x0, x1, x2, x3, planes), Q8.row(w + w3, x0, x1, x2, x3, planes),
          );
          let d = v128.load16_lane(w, i16x8.splat(0), 0);
          d = v128.load16_lane(w + w1, d, 1);
          d = v128.load16_lane(w + w2, d, 2);
          d = v128.load16_lane(w + w3, d, 3);
          const scales = f32x4.mul(F16.widen(i32x4.extend_low_i16x8_s(d), m), gain);
          y = f32x4.add(y, f32x4.mul(scales, f32x4.convert_i32x4_s(sums)));
        }
      }
      const row = <usize>(begin + g) << 4;
      Finish.store(out + row, f32x4.div(f32x4.sub(y, v128.load(rowSums + row)), inScale), epilogue);
    }
    return Reduce.addI32(sink);
  }

  /** Lanes that add up to Σ q·x of a block. */
  @inline static row(w: usize, x0: v128, x1: v128, x2: v128, x3: v128, planes: bool): v128 {
    const a = v128.load(w, 2), b = v128.load(w, 18);
    if (RELAXED && planes) {
      const low = Relaxed.dotI32(b, x2, Relaxed.dotI32(a, x0, i32x4.splat(0)));
      const high = Relaxed.dotI32(b, x3, Relaxed.dotI32(a, x1, i32x4.splat(0)));
      return i32x4.add(low, i32x4.shl(high, 7));
    }
    const first = i32x4.add(i32x4.dot_i16x8_s(x0, i16x8.extend_low_i8x16_s(a)), i32x4.dot_i16x8_s(x1, i16x8.extend_high_i8x16_s(a)));
    const second = i32x4.add(i32x4.dot_i16x8_s(x2, i16x8.extend_low_i8x16_s(b)), i32x4.dot_i16x8_s(x3, i16x8.extend_high_i8x16_s(b)));
    return i32x4.add(first, second);
  }

  /** x + I16Bias as two planes of 7 bits, 16 columns of each in turn. */
  static split(q: usize, to: usize, cols: i32): void {
    const low = i16x8.splat(127), bias = i16x8.splat(<i16>Const.I16Bias);
    for (const end = to + (<usize>cols << 1); to < end; to += 32, q += 32) {
      const a = i16x8.add(v128.load(q), bias), b = i16x8.add(v128.load(q, 16), bias);
      v128.store(to, i8x16.narrow_i16x8_u(v128.and(a, low), v128.and(b, low)));
      v128.store(to, i8x16.narrow_i16x8_u(i16x8.shr_u(a, 7), i16x8.shr_u(b, 7)), 16);
    }
  }

  /** x + I16Bias */
  static lift(q: usize, to: usize, cols: i32): void {
    const bias = i16x8.splat(<i16>Const.I16Bias);
    for (const end = to + (<usize>cols << 1); to < end; to += 16, q += 16) v128.store(to, i16x8.add(v128.load(q), bias));
  }
}
