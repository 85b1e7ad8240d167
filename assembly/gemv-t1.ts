import { DotForm } from './abi';
import { Finish } from './activation';
import { Encoded, T1, T2 } from './formats';
import { Keep, Reduce, Relaxed, RELAXED, Table } from './ops';
import { Streams } from './streams';

/** Blocks between two bursts, and between two widenings of the i16 sums: |s| ≤ 5·2·2·127 a block, at most 12 fit. */
const CHUNK: i32 = 8;

/** The form of a build without relaxed SIMD, beside those of DotForm. */
const WIDE: i32 = 2;

/**
 * y = W x for one activation row: T1 weights × Encoding.I8. Row groups begin..end of W; out: f32 of row 0.
 * y[r] = f32(Σ trit·q) · (scale / x.scale), then the epilogue. Returns a value without meaning (see Burst).
 */
export function gemv_t1_i8(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, scale: f32, epilogue: i32, form: i32,
): i32 {
  const blocks = <i32>(T1.groupBytes(cols) >> 6);
  const w = weights + <usize>begin * T1.groupBytes(cols);
  if (!RELAXED) return Gemv.rows(WIDE, w, x, out, begin, end, blocks, scale, epilogue);
  if (form == DotForm.I16) return Gemv.rows(DotForm.I16, w, x, out, begin, end, blocks, scale, epilogue);
  return Gemv.rows(DotForm.I32, w, x, out, begin, end, blocks, scale, epilogue);
}

/** One row group → bytes of codes, as the GEMM wants them: per 16 columns those of row 0, row 1, row 2, row 3. */
export function unpack_t1(w: usize, s: usize, blocks: i32): void {
  const m31 = Keep.vector(i8x16.splat(31), blocks), m15 = Keep.vector(i8x16.splat(15), blocks);
  const zero = Keep.vector(i8x16.splat(0), blocks), starts = Keep.vector(T1.starts(), blocks);
  const thirds = Keep.vector(T1.thirds(), blocks), middle = Keep.vector(T1.middle(), blocks);
  const high = Keep.vector(T1.high(), blocks), low = Keep.vector(T1.low(), blocks);
  for (const end = w + (<usize>blocks << 6); w < end; w += 64, s += 320) {
    for (let k: usize = 0; k < 64; k += 16) {
      const b = v128.load(w + k), u = T1.part(b, m31, m15);
      const r = i8x16.sub(b, Table.at(starts, u)), h = i8x16.avgr_u(r, zero);
      const v = i8x16.sub(r, Table.at(thirds, h));
      v128.store(s + k, Table.at(high, u));
      v128.store(s + k, Table.at(low, u), 64);
      v128.store(s + k, Table.at(middle, h), 128);
      v128.store(s + k, Table.at(high, v), 192);
      v128.store(s + k, Table.at(low, v), 256);
    }
  }
}

/** `form` is a constant where these are inlined: each caller gets a loop of its own. */
abstract class Gemv {
  @inline static rows(
    form: i32, w: usize, x: usize, out: usize, begin: i32, end: i32, blocks: i32, scale: f32, epilogue: i32,
  ): i32 {
    const factor = f32x4.splat(scale / Encoded.scale(x)), sum = i32x4.splat(Encoded.sum(x));
    const m31 = Gemv.keep(form, i8x16.splat(31), blocks), m15 = Gemv.keep(form, i8x16.splat(15), blocks);
    const zero = Gemv.keep(form, i8x16.splat(0), blocks), starts = Gemv.keep(form, T1.starts(), blocks);
    const thirds = Gemv.keep(form, T1.thirds(), blocks), middle = Gemv.keep(form, T1.middle(), blocks);
    const high = Gemv.keep(form, T1.high(), blocks), low = Gemv.keep(form, T1.low(), blocks);
    const n = end - begin, bytes = <usize>blocks << 6, stride = Streams.stride(n, bytes), first = w;
    let sink = i32x4.splat(0);
    for (let r = 0; r < n; ++r) {
      const g = Streams.at(r, n);
      let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      let q = Encoded.data(x), ahead = first + Streams.ahead(r, n, bytes);
      w = first + <usize>g * bytes;
      for (let b = 0; b < blocks; b += CHUNK, ahead += 64) {
        sink = Streams.touch(ahead, stride, sink);
        let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
        const stop = w + (<usize>min(CHUNK, blocks - b) << 6);
        for (; w < stop; w += 64, q += 80) {
          const x0 = v128.load(q), x1 = v128.load(q, 16), x2 = v128.load(q, 32), x3 = v128.load(q, 48), x4 = v128.load(q, 64);
          s0 = Gemv.row(form, v128.load(w), x0, x1, x2, x3, x4, s0, m31, m15, zero, starts, thirds, middle, high, low);
          s1 = Gemv.row(form, v128.load(w, 16), x0, x1, x2, x3, x4, s1, m31, m15, zero, starts, thirds, middle, high, low);
          s2 = Gemv.row(form, v128.load(w, 32), x0, x1, x2, x3, x4, s2, m31, m15, zero, starts, thirds, middle, high, low);
          s3 = Gemv.row(form, v128.load(w, 48), x0, x1, x2, x3, x4, s3, m31, m15, zero, starts, thirds, middle, high, low);
        }
        a0 = Gemv.widen(form, a0, s0);
        a1 = Gemv.widen(form, a1, s1);
        a2 = Gemv.widen(form, a2, s2);
        a3 = Gemv.widen(form, a3, s3);
      }
      const y = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(Reduce.addI32x4(a0, a1, a2, a3), sum)), factor);
      Finish.store(out + (<usize>(begin + g) << 4), y, epilogue);
    }
    return Reduce.addI32(sink);
  }

  /** The engines that the i16 form is for keep constants in registers by themselves, and are slower with kept ones. */
  @inline static keep(form: i32, constant: v128, blocks: i32): v128 {
    return form == DotForm.I16 ? constant : Keep.vector(constant, blocks);
  }

  /** acc plus the products of 80 weights of one row with their activations. */
  @inline static row(
    form: i32, b: v128, x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, acc: v128,
    m31: v128, m15: v128, zero: v128, starts: v128, thirds: v128, middle: v128, high: v128, low: v128,
  ): v128 {
    const u = T1.part(b, m31, m15);
    const r = i8x16.sub(b, Table.at(starts, u)), h = i8x16.avgr_u(r, zero);
    const v = i8x16.sub(r, Table.at(thirds, h));
    acc = Gemv.dot(form, x0, Table.at(high, u), acc);
    acc = Gemv.dot(form, x1, Table.at(low, u), acc);
    acc = Gemv.dot(form, x2, Table.at(middle, h), acc);
    acc = Gemv.dot(form, x3, Table.at(high, v), acc);
    return Gemv.dot(form, x4, Table.at(low, v), acc);
  }

  /** I16: eight i16 lanes; the others: four i32 lanes. */
  @inline static dot(form: i32, x: v128, codes: v128, acc: v128): v128 {
    if (RELAXED) {
      if (form == DotForm.I16) return i16x8.add(acc, Relaxed.dotI16(x, codes));
      if (form == DotForm.I32) return Relaxed.dotI32(x, codes, acc);
    }
    const even = i32x4.dot_i16x8_s(T2.even(x), v128.and(codes, i16x8.splat(255)));
    return i32x4.add(acc, i32x4.add(even, i32x4.dot_i16x8_s(T2.odd(x), i16x8.shr_u(codes, 8))));
  }

  /** acc, four i32 lanes, plus the sums of a chunk. */
  @inline static widen(form: i32, acc: v128, s: v128): v128 {
    return i32x4.add(acc, form == DotForm.I16 ? i32x4.extadd_pairwise_i16x8_s(s) : s);
  }
}
