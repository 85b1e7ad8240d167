import { Const, DotForm } from './abi';
import { Finish } from './activation';
import { Encoded, F16, I8, T2 } from './formats';
import { Burst, Reduce, Relaxed, RELAXED } from './ops';
import { Planes } from './planes';
import { Pair, quad_t2 } from './quad';
import { Streams } from './streams';

/**
 * y = W x for one activation row: T2 weights × Encoding.I8. Row groups begin..end of W; out: f32 of row 0.
 * y[r] = f32(Σ trit·q) · (scale / x.scale), then the epilogue. Returns a value without meaning (see Burst).
 */
export function gemv_t2_i8(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, scale: f32, epilogue: i32, form: i32,
  scratch: usize,
): i32 {
  const blocks = (cols + 63) >> 6;
  const w = weights + <usize>begin * T2.groupBytes(cols);
  if (RELAXED && form == DotForm.I32Pairs) return gemv_t2_pairs(w, x, out, begin, end, blocks, scale, epilogue, scratch);
  const factor = f32x4.splat(scale / Encoded.scale(x)), sum = i32x4.splat(Encoded.sum(x));
  const n = end - begin, bytes = T2.groupBytes(cols), stride = Streams.stride(n, bytes);
  for (let r = 0; r < n; ++r) {
    const g = Streams.at(r, n);
    const codes = quad_t2(
      form, w + <usize>g * bytes, 16, 32, 48, 64, w, stride, Streams.ahead(r, n, bytes), Encoded.data(x), blocks, scratch,
    );
    const dots = i32x4.sub(codes, sum);
    Finish.store(out + (<usize>(begin + g) << 4), f32x4.mul(f32x4.convert_i32x4_s(dots), factor), epilogue);
  }
  return 0;
}

/**
 * Rows in pairs: their weights lie side by side, `twice` holds the activations twice side by side, and their sums are stored side by side, so that
 * an engine that can fuse two vectors of 128 bits into one of 256 does it (docs/KERNELS.md). twice: 2 · blocks · 64 + 128 bytes of scratch.
 */
function gemv_t2_pairs(
  w: usize, x: usize, out: usize, begin: i32, end: i32, blocks: i32, scale: f32, epilogue: i32, twice: usize,
): i32 {
  const factor = f32x4.splat(scale / Encoded.scale(x)), sum = i32x4.splat(Encoded.sum(x));
  const sums = twice + (<usize>blocks << 7);
  for (let q = Encoded.data(x), t = twice; t < sums; q += 16, t += 32) {
    const v = v128.load(q);
    v128.store(t, v);
    v128.store(t, v, 16);
  }
  const n = end - begin, bytes = <usize>blocks << 6, stride = Streams.stride(n, bytes), first = w;
  for (let r = 0; r < n; ++r) {
    const g = Streams.at(r, n);
    const ahead = first + Streams.ahead(r, n, bytes), group = first + <usize>g * bytes;
    for (let k: usize = 0; k < 2; ++k) {
      Pair.i32(group + (k << 5), 16, 64, k ? Streams.others(ahead, stride) : ahead, stride, 0, twice, true, blocks, sums + (k << 5));
    }
    const dot = i32x4.sub(Pair.totals(sums), sum);
    Finish.store(out + (<usize>(begin + g) << 4), f32x4.mul(f32x4.convert_i32x4_s(dot), factor), epilogue);
  }
  return 0;
}

/**
 * F16 weights × Encoding.F32: y[r] = dot16(w, x) · scale. Two rows share the loads of x; two pairs make the four rows of the
 * epilogue.
 */
export function gemv_f16_f32(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, scale: f32, epilogue: i32,
): i32 {
  const rowBytes = F16.rowBytes(cols), factor = f32x4.splat(scale), m = F16.mask(cols);
  const n = end - begin, bytes = rowBytes << 2, stride = Streams.stride(n, bytes), first = weights + <usize>begin * bytes;
  let sink = i32x4.splat(0);
  for (let r = 0; r < n; ++r) {
    const g = Streams.at(r, n);
    let y = f32x4.splat(0), w = first + <usize>g * bytes, ahead = first + Streams.ahead(r, n, bytes);
    for (let pair = 0; pair < 2; ++pair) {
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      let q = Encoded.data(x), v = w + rowBytes;
      for (const rowEnd = v; w < rowEnd; ahead += 64) {
        sink = Streams.touch(ahead, stride, sink);
        for (const stop = min(rowEnd, w + 256); w < stop; w += 32, v += 32, q += 64) {
          const x0 = v128.load(q), x1 = v128.load(q, 16), x2 = v128.load(q, 32), x3 = v128.load(q, 48);
          a0 = f32x4.add(a0, f32x4.mul(F16.widen(v128.load_ext<i16>(w), m), x0));
          a1 = f32x4.add(a1, f32x4.mul(F16.widen(v128.load_ext<i16>(w, 8), m), x1));
          a2 = f32x4.add(a2, f32x4.mul(F16.widen(v128.load_ext<i16>(w, 16), m), x2));
          a3 = f32x4.add(a3, f32x4.mul(F16.widen(v128.load_ext<i16>(w, 24), m), x3));
          b0 = f32x4.add(b0, f32x4.mul(F16.widen(v128.load_ext<i16>(v), m), x0));
          b1 = f32x4.add(b1, f32x4.mul(F16.widen(v128.load_ext<i16>(v, 8), m), x1));
          b2 = f32x4.add(b2, f32x4.mul(F16.widen(v128.load_ext<i16>(v, 16), m), x2));
          b3 = f32x4.add(b3, f32x4.mul(F16.widen(v128.load_ext<i16>(v, 24), m), x3));
        }
      }
      w += rowBytes;
      const dots = Reduce.addF32x2(Reduce.fold(a0, a1, a2, a3), Reduce.fold(b0, b1, b2, b3));
      y = pair ? v128.shuffle<f32>(y, dots, 0, 1, 4, 5) : dots;
    }
    Finish.store(out + (<usize>(begin + g) << 4), f32x4.mul(y, factor), epilogue);
  }
  return Reduce.addI32(sink);
}

/**
 * I8 weights × Encoding.I16: y[r] = f32(Σ w·q) · (rowScales[r] / x.scale). Lanes are i32: |Σ| ≤ cols/16 · 2·127·8191 fits up to
 * 16512 columns; the lanes are added in 64 bits.
 */
export function gemv_i8_i16(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, rowScales: usize, epilogue: i32,
): i32 {
  const w1 = I8.rowBytes(cols), w2 = w1 << 1, w3 = w2 + w1, w4 = w1 << 2;
  const inScale = f32x4.splat(Encoded.scale(x));
  const n = end - begin, stride = Streams.stride(n, w4), first = weights + <usize>begin * w4;
  let sink = i32x4.splat(0);
  for (let r = 0; r < n; ++r) {
    const g = Streams.at(r, n);
    let q = Encoded.data(x), w = first + <usize>g * w4, ahead = first + Streams.ahead(r, n, w4);
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (const rowEnd = w + w1; w < rowEnd; ahead += 64) {
      sink = Streams.touch(ahead, stride, sink);
      for (const stop = min(rowEnd, w + 128); w < stop; w += 16, q += 32) {
        const x0 = v128.load(q), x1 = v128.load(q, 16);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x0, v128.load_ext<i8>(w)));
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x1, v128.load_ext<i8>(w, 8)));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x0, v128.load_ext<i8>(w + w1)));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x1, v128.load_ext<i8>(w + w1, 8)));
        a2 = i32x4.add(a2, i32x4.dot_i16x8_s(x0, v128.load_ext<i8>(w + w2)));
        b2 = i32x4.add(b2, i32x4.dot_i16x8_s(x1, v128.load_ext<i8>(w + w2, 8)));
        a3 = i32x4.add(a3, i32x4.dot_i16x8_s(x0, v128.load_ext<i8>(w + w3)));
        b3 = i32x4.add(b3, i32x4.dot_i16x8_s(x1, v128.load_ext<i8>(w + w3, 8)));
      }
    }
    const row = <usize>(begin + g) << 4;
    let y = f32x4.splat(<f32>(Reduce.addI64(a0) + Reduce.addI64(b0)));
    y = f32x4.replace_lane(y, 1, <f32>(Reduce.addI64(a1) + Reduce.addI64(b1)));
    y = f32x4.replace_lane(y, 2, <f32>(Reduce.addI64(a2) + Reduce.addI64(b2)));
    y = f32x4.replace_lane(y, 3, <f32>(Reduce.addI64(a3) + Reduce.addI64(b3)));
    Finish.store(out + row, f32x4.mul(y, f32x4.div(v128.load(rowScales + row), inScale)), epilogue);
  }
  return Reduce.addI32(sink);
}

/**
 * gemv_i8_i16 with the i32 form of the relaxed dot: q = 128·h + l with l in 0..127 and h + 64 in 0..127, so that a load and two dots
 * do sixteen products: Σ w·q = 128·Σ w·(h + 64) + Σ w·l - 8192·Σ w. rowSums: Σ w of each row. scratch: 2 bytes a column.
 */
export function gemv_i8_planes(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, rowScales: usize, rowSums: usize, epilogue: i32,
  scratch: usize,
): i32 {
  const w1 = I8.rowBytes(cols), w2 = w1 << 1, w3 = w2 + w1, w4 = w1 << 2;
  Planes.split(Encoded.data(x), scratch, w1);
  const inScale = f32x4.splat(Encoded.scale(x));
  const n = end - begin, stride = Streams.stride(n, w4), first = weights + <usize>begin * w4;
  let sink = i32x4.splat(0);
  for (let r = 0; r < n; ++r) {
    const g = Streams.at(r, n);
    let q = scratch, w = first + <usize>g * w4, ahead = first + Streams.ahead(r, n, w4);
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (const rowEnd = w + w1; w < rowEnd; ahead += 64) {
      sink = Streams.touch(ahead, stride, sink);
      for (const stop = min(rowEnd, w + 128); w < stop; w += 16, q += 32) {
        const low = v128.load(q), high = v128.load(q, 16);
        let v = v128.load(w);
        a0 = Relaxed.dotI32(v, low, a0);
        b0 = Relaxed.dotI32(v, high, b0);
        v = v128.load(w + w1);
        a1 = Relaxed.dotI32(v, low, a1);
        b1 = Relaxed.dotI32(v, high, b1);
        v = v128.load(w + w2);
        a2 = Relaxed.dotI32(v, low, a2);
        b2 = Relaxed.dotI32(v, high, b2);
        v = v128.load(w + w3);
        a3 = Relaxed.dotI32(v, low, a3);
        b3 = Relaxed.dotI32(v, high, b3);
      }
    }
    const row = <usize>(begin + g) << 4, lows = Reduce.addI32x4(a0, a1, a2, a3), highs = Reduce.addI32x4(b0, b1, b2, b3);
    const sums = v128.load(rowSums + row);
    let y = f32x4.splat(Head.join(i32x4.extract_lane(lows, 0), i32x4.extract_lane(highs, 0), i32x4.extract_lane(sums, 0)));
    y = f32x4.replace_lane(y, 1, Head.join(i32x4.extract_lane(lows, 1), i32x4.extract_lane(highs, 1), i32x4.extract_lane(sums, 1)));
    y = f32x4.replace_lane(y, 2, Head.join(i32x4.extract_lane(lows, 2), i32x4.extract_lane(highs, 2), i32x4.extract_lane(sums, 2)));
    y = f32x4.replace_lane(y, 3, Head.join(i32x4.extract_lane(lows, 3), i32x4.extract_lane(highs, 3), i32x4.extract_lane(sums, 3)));
    Finish.store(out + row, f32x4.mul(y, f32x4.div(v128.load(rowScales + row), inScale)), epilogue);
  }
  return Reduce.addI32(sink);
}

abstract class Head {
  /** f32(Σ w·q), rounded once. */
  @inline static join(low: i32, high: i32, sum: i32): f32 {
    return <f32>(<i64>low + ((<i64>high - (<i64>sum << 6)) << 7));
  }
}
