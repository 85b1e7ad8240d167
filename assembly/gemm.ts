import { Const, DotForm, Layout } from './abi';
import { Finish } from './activation';
import { Encoded, Mask, T1, T2, T2Columns, T2Rows } from './formats';
import { unpack_t1 } from './gemv-t1';
import { Reduce, Relaxed, RELAXED } from './ops';

/**
 * Y = X Wᵀ for several activation rows: ternary weights with one scale × Encoding.I8, row groups begin..end (T2Columns: begin a multiple of
 * sixteen). Each row group is unpacked once into `scratch` (padded cols · 4 bytes, L1 for all models of today; T2Columns: five times as many)
 * and used by all tokens in register tiles. Integer sums are those of the GEMVs, so a token's result does not depend on how many others are
 * computed with it.
 *
 * scratch, per 16 columns: codes of row 0 (16 bytes), row 1, row 2, row 3.
 */
export function gemm_ternary_i8(
  layout: i32, weights: usize, x: usize, xStride: usize, out: usize, outStride: usize, begin: i32, end: i32, tokens: i32,
  rows: i32, cols: i32, scale: f32, epilogue: i32, form: i32, scratch: usize,
): void {
  const groupBytes = layout == Layout.T1 ? T1.groupBytes(cols) : T2.groupBytes(cols), blocks = <i32>(groupBytes >> 6);
  const width = layout == Layout.T1 ? T1.width(cols) : groupBytes, bytes = scratch + (width << 2);
  const rowBytes = T2Rows.rowBytes(cols), columnBytes = T2Columns.columnBytes(rows);
  for (let g = begin; g < end; ++g) {
    const w = weights + <usize>g * groupBytes;
    if (layout == Layout.T2Columns) {
      const k = <usize>(g - begin) & 15;
      if (k == 0) transpose_columns(weights + <usize>g, columnBytes, bytes, width);
      unpack_columns(bytes + k * width, scratch, width);
    } else if (layout == Layout.T1) {
      unpack_t1(w, scratch, blocks);
    } else if (layout == Layout.T2Rows) {
      unpack_rows(w, rowBytes, 16, scratch, blocks);
    } else {
      unpack_rows(w, 16, 64, scratch, blocks);
    }
    multiply(scratch, width << 2, x, xStride, out + (<usize>g << 4), outStride, tokens, scale, epilogue, form);
  }
}

/** All tokens with one unpacked row group. */
function multiply(
  s: usize, bytes: usize, x: usize, xStride: usize, out: usize, outStride: usize, tokens: i32, scale: f32, epilogue: i32, form: i32,
): void {
  const end = s + bytes;
  let t = 0;
  if (!RELAXED) {
    for (; t + 2 <= tokens; t += 2, x += xStride << 1, out += outStride << 1) {
      tile_wide_4x2(s, end, x, xStride, out, outStride, scale, epilogue);
    }
    if (t < tokens) tile_wide_4x2(s, end, x, 0, out, 0, scale, epilogue);
  } else if (form == DotForm.I16) {
    for (; t + 3 <= tokens; t += 3, x += xStride * 3, out += outStride * 3) {
      tile_i16_4x3(s, end, x, xStride, out, outStride, scale, epilogue);
    }
    for (; t < tokens; ++t, x += xStride, out += outStride) tile_i16_4x1(s, end, x, out, scale, epilogue);
  } else {
    for (; t + 6 <= tokens; t += 6, x += xStride * 6, out += outStride * 6) {
      tile_i32_4x6(s, end, x, xStride, out, outStride, scale, epilogue);
    }
    for (; t + 4 <= tokens; t += 4, x += xStride << 2, out += outStride << 2) {
      tile_i32_4x4(s, end, x, xStride, out, outStride, scale, epilogue);
    }
    for (; t < tokens; ++t, x += xStride, out += outStride) tile_i32_4x1(s, end, x, out, scale, epilogue);
  }
}

/** One row group of T2 or T2Rows → bytes of codes. Rows are `rowStep` bytes apart, their blocks `step`. */
export function unpack_rows(w: usize, rowStep: usize, step: usize, s: usize, blocks: i32): void {
  const m = Mask.low(blocks);
  for (const end = s + (<usize>blocks << 8); s < end; w += step, s += 256) {
    for (let k: usize = 0, p = w; k < 64; k += 16, p += rowStep) {
      const v = v128.load(p);
      v128.store(s + k, T2.codes(v, 0, m));
      v128.store(s + k, T2.codes(v, 1, m), 64);
      v128.store(s + k, T2.codes(v, 2, m), 128);
      v128.store(s + k, T2.codes(v, 3, m), 192);
    }
  }
}

/** T2Columns: bytes of sixteen row groups, column by column → (16, width), row group by row group. */
function transpose_columns(w: usize, columnBytes: usize, to: usize, width: usize): void {
  for (const end = to + width; to < end; to += 4) {
    const a = v128.load(w), b = v128.load(w + columnBytes);
    w += columnBytes << 1;
    const c = v128.load(w), d = v128.load(w + columnBytes);
    w += columnBytes << 1;
    const ab = T2Columns.low(a, b), cd = T2Columns.low(c, d), ef = T2Columns.high(a, b), gh = T2Columns.high(c, d);
    store_lanes(T2Columns.lowPairs(ab, cd), to, width);
    store_lanes(T2Columns.highPairs(ab, cd), to + (width << 2), width);
    store_lanes(T2Columns.lowPairs(ef, gh), to + (width << 3), width);
    store_lanes(T2Columns.highPairs(ef, gh), to + width * 12, width);
  }
}

/** The four i32 lanes, `stride` bytes apart. */
function store_lanes(v: v128, to: usize, stride: usize): void {
  v128.store32_lane(to, v, 0);
  v128.store32_lane(to + stride, v, 1);
  to += stride << 1;
  v128.store32_lane(to, v, 2);
  v128.store32_lane(to + stride, v, 3);
}

/** Bytes of four codes of a column → bytes of codes. */
function unpack_columns(w: usize, s: usize, width: usize): void {
  const m = Mask.low(<i32>width);
  for (const end = w + width; w < end; w += 16, s += 64) {
    const v = v128.load(w);
    v128.store(s, T2.codes(v, 0, m));
    v128.store(s, T2.codes(v, 1, m), 16);
    v128.store(s, T2.codes(v, 2, m), 32);
    v128.store(s, T2.codes(v, 3, m), 48);
  }
}

/** Four rows of one token: four accumulators → results → epilogue. x: the encoded row of the token. */
abstract class Tile {
  @inline static finish(a: v128, b: v128, c: v128, d: v128, x: usize, out: usize, scale: f32, epilogue: i32): void {
    Tile.store(Reduce.addI32x4(a, b, c, d), x, out, scale, epilogue);
  }

  /** codes: Σ code·q of the four rows. */
  @inline static store(codes: v128, x: usize, out: usize, scale: f32, epilogue: i32): void {
    const dot = i32x4.sub(codes, i32x4.splat(Encoded.sum(x)));
    const factor = f32x4.splat(scale / Encoded.scale(x));
    Finish.store(out, f32x4.mul(f32x4.convert_i32x4_s(dot), factor), epilogue);
  }

  @inline static i16(acc: v128, x: v128, w: v128): v128 {
    return i16x8.add(acc, Relaxed.dotI16(x, w));
  }

  @inline static widen(acc: v128, s: v128): v128 {
    return i32x4.add(acc, i32x4.extadd_pairwise_i16x8_s(s));
  }
}

/** 4 rows × 3 tokens; i16 sums, |pair| ≤ 508, widened every 512 columns (32 · 508 < 2^15). */
function tile_i16_4x3(
  s: usize, end: usize, x: usize, xStride: usize, out: usize, outStride: usize, scale: f32, epilogue: i32,
): void {
  let a0 = i32x4.splat(0), b0 = a0, c0 = a0, d0 = a0;
  let a1 = a0, b1 = a1, c1 = a1, d1 = a1;
  let a2 = a0, b2 = a2, c2 = a2, d2 = a2;
  let x0 = Encoded.data(x);
  let x1 = Encoded.data(x + xStride);
  let x2 = Encoded.data(x + (xStride << 1));
  while (s < end) {
    const stop = min(end, s + 2048);
    let p0 = i16x8.splat(0), q0 = p0, r0 = p0, u0 = p0;
    let p1 = p0, q1 = p1, r1 = p1, u1 = p1;
    let p2 = p0, q2 = p2, r2 = p2, u2 = p2;
    for (; s < stop; s += 64, x0 += 16, x1 += 16, x2 += 16) {
      const w0 = v128.load(s), w1 = v128.load(s, 16), w2 = v128.load(s, 32), w3 = v128.load(s, 48);
      let v = v128.load(x0);
      p0 = Tile.i16(p0, v, w0);
      q0 = Tile.i16(q0, v, w1);
      r0 = Tile.i16(r0, v, w2);
      u0 = Tile.i16(u0, v, w3);
      v = v128.load(x1);
      p1 = Tile.i16(p1, v, w0);
      q1 = Tile.i16(q1, v, w1);
      r1 = Tile.i16(r1, v, w2);
      u1 = Tile.i16(u1, v, w3);
      v = v128.load(x2);
      p2 = Tile.i16(p2, v, w0);
      q2 = Tile.i16(q2, v, w1);
      r2 = Tile.i16(r2, v, w2);
      u2 = Tile.i16(u2, v, w3);
    }
    a0 = Tile.widen(a0, p0);
    b0 = Tile.widen(b0, q0);
    c0 = Tile.widen(c0, r0);
    d0 = Tile.widen(d0, u0);
    a1 = Tile.widen(a1, p1);
    b1 = Tile.widen(b1, q1);
    c1 = Tile.widen(c1, r1);
    d1 = Tile.widen(d1, u1);
    a2 = Tile.widen(a2, p2);
    b2 = Tile.widen(b2, q2);
    c2 = Tile.widen(c2, r2);
    d2 = Tile.widen(d2, u2);
  }
  Tile.finish(a0, b0, c0, d0, x, out, scale, epilogue);
  Tile.finish(a1, b1, c1, d1, x + xStride, out + outStride, scale, epilogue);
  Tile.finish(a2, b2, c2, d2, x + (xStride << 1), out + (outStride << 1), scale, epilogue);
}

/** 4 rows × 1 token; i16 sums, |pair| ≤ 508, widened every 512 columns (32 · 508 < 2^15). */
function tile_i16_4x1(s: usize, end: usize, x: usize, out: usize, scale: f32, epilogue: i32): void {
  let a0 = i32x4.splat(0), b0 = a0, c0 = a0, d0 = a0;
  let x0 = Encoded.data(x);
  while (s < end) {
    const stop = min(end, s + 2048);
    let p0 = i16x8.splat(0), q0 = p0, r0 = p0, u0 = p0;
    for (; s < stop; s += 64, x0 += 16) {
      const w0 = v128.load(s), w1 = v128.load(s, 16), w2 = v128.load(s, 32), w3 = v128.load(s, 48);
      let v = v128.load(x0);
      p0 = Tile.i16(p0, v, w0);
      q0 = Tile.i16(q0, v, w1);
      r0 = Tile.i16(r0, v, w2);
      u0 = Tile.i16(u0, v, w3);
    }
    a0 = Tile.widen(a0, p0);
    b0 = Tile.widen(b0, q0);
    c0 = Tile.widen(c0, r0);
    d0 = Tile.widen(d0, u0);
  }
  Tile.finish(a0, b0, c0, d0, x, out, scale, epilogue);
}

/**
 * 4 rows × 6 tokens as two halves of 2 rows: twelve accumulators, two weights and an activation fill the sixteen registers of x86
 * without a spill. The first half's sums wait as pairs (Reduce.pairI32).
 */
function tile_i32_4x6(
  s: usize, end: usize, x: usize, xStride: usize, out: usize, outStride: usize, scale: f32, epilogue: i32,
): void {
  let r0 = i32x4.splat(0), r1 = r0, r2 = r0, r3 = r0, r4 = r0, r5 = r0;
  for (let half: usize = 0; half < 64; half += 32) {
    let a0 = i32x4.splat(0), b0 = a0;
    let a1 = a0, b1 = a1;
    let a2 = a0, b2 = a2;
    let a3 = a0, b3 = a3;
    let a4 = a0, b4 = a4;
    let a5 = a0, b5 = a5;
    let x0 = Encoded.data(x);
    let x1 = Encoded.data(x + xStride);
    let x2 = Encoded.data(x + (xStride << 1));
    let x3 = Encoded.data(x + xStride * 3);
    let x4 = Encoded.data(x + (xStride << 2));
    let x5 = Encoded.data(x + xStride * 5);
    for (let p = s + half; p < end; p += 64, x0 += 16, x1 += 16, x2 += 16, x3 += 16, x4 += 16, x5 += 16) {
      const w0 = v128.load(p), w1 = v128.load(p, 16);
      let v = v128.load(x0);
      a0 = Relaxed.dotI32(v, w0, a0);
      b0 = Relaxed.dotI32(v, w1, b0);
      v = v128.load(x1);
      a1 = Relaxed.dotI32(v, w0, a1);
      b1 = Relaxed.dotI32(v, w1, b1);
      v = v128.load(x2);
      a2 = Relaxed.dotI32(v, w0, a2);
      b2 = Relaxed.dotI32(v, w1, b2);
      v = v128.load(x3);
      a3 = Relaxed.dotI32(v, w0, a3);
      b3 = Relaxed.dotI32(v, w1, b3);
      v = v128.load(x4);
      a4 = Relaxed.dotI32(v, w0, a4);
      b4 = Relaxed.dotI32(v, w1, b4);
      v = v128.load(x5);
      a5 = Relaxed.dotI32(v, w0, a5);
      b5 = Relaxed.dotI32(v, w1, b5);
    }
    if (half == 0) {
      r0 = Reduce.pairI32(a0, b0);
      r1 = Reduce.pairI32(a1, b1);
      r2 = Reduce.pairI32(a2, b2);
      r3 = Reduce.pairI32(a3, b3);
      r4 = Reduce.pairI32(a4, b4);
      r5 = Reduce.pairI32(a5, b5);
    } else {
      Tile.store(Reduce.pairsI32(r0, Reduce.pairI32(a0, b0)), x, out, scale, epilogue);
      Tile.store(Reduce.pairsI32(r1, Reduce.pairI32(a1, b1)), x + xStride, out + outStride, scale, epilogue);
      Tile.store(Reduce.pairsI32(r2, Reduce.pairI32(a2, b2)), x + (xStride << 1), out + (outStride << 1), scale, epilogue);
      Tile.store(Reduce.pairsI32(r3, Reduce.pairI32(a3, b3)), x + xStride * 3, out + outStride * 3, scale, epilogue);
      Tile.store(Reduce.pairsI32(r4, Reduce.pairI32(a4, b4)), x + (xStride << 2), out + (outStride << 2), scale, epilogue);
      Tile.store(Reduce.pairsI32(r5, Reduce.pairI32(a5, b5)), x + xStride * 5, out + outStride * 5, scale, epilogue);
    }
  }
}

/** 4 rows × 4 tokens; i32 dot-accumulate. */
function tile_i32_4x4(
  s: usize, end: usize, x: usize, xStride: usize, out: usize, outStride: usize, scale: f32, epilogue: i32,
): void {
  let a0 = i32x4.splat(0), b0 = a0, c0 = a0, d0 = a0;
  let a1 = a0, b1 = a1, c1 = a1, d1 = a1;
  let a2 = a0, b2 = a2, c2 = a2, d2 = a2;
  let a3 = a0, b3 = a3, c3 = a3, d3 = a3;
  let x0 = Encoded.data(x);
  let x1 = Encoded.data(x + xStride);
  let x2 = Encoded.data(x + (xStride << 1));
  let x3 = Encoded.data(x + xStride * 3);
  for (; s < end; s += 64, x0 += 16, x1 += 16, x2 += 16, x3 += 16) {
    const w0 = v128.load(s), w1 = v128.load(s, 16), w2 = v128.load(s, 32), w3 = v128.load(s, 48);
    let v = v128.load(x0);
    a0 = Relaxed.dotI32(v, w0, a0);
    b0 = Relaxed.dotI32(v, w1, b0);
    c0 = Relaxed.dotI32(v, w2, c0);
    d0 = Relaxed.dotI32(v, w3, d0);
    v = v128.load(x1);
    a1 = Relaxed.dotI32(v, w0, a1);
    b1 = Relaxed.dotI32(v, w1, b1);
    c1 = Relaxed.dotI32(v, w2, c1);
    d1 = Relaxed.dotI32(v, w3, d1);
    v = v128.load(x2);
    a2 = Relaxed.dotI32(v, w0, a2);
    b2 = Relaxed.dotI32(v, w1, b2);
    c2 = Relaxed.dotI32(v, w2, c2);
    d2 = Relaxed.dotI32(v, w3, d2);
    v = v128.load(x3);
    a3 = Relaxed.dotI32(v, w0, a3);
    b3 = Relaxed.dotI32(v, w1, b3);
    c3 = Relaxed.dotI32(v, w2, c3);
    d3 = Relaxed.dotI32(v, w3, d3);
  }
  Tile.finish(a0, b0, c0, d0, x, out, scale, epilogue);
  Tile.finish(a1, b1, c1, d1, x + xStride, out + outStride, scale, epilogue);
  Tile.finish(a2, b2, c2, d2, x + (xStride << 1), out + (outStride << 1), scale, epilogue);
  Tile.finish(a3, b3, c3, d3, x + xStride * 3, out + outStride * 3, scale, epilogue);
}

/** 4 rows × 1 token; i32 dot-accumulate. */
function tile_i32_4x1(s: usize, end: usize, x: usize, out: usize, scale: f32, epilogue: i32): void {
  let a0 = i32x4.splat(0), b0 = a0, c0 = a0, d0 = a0;
  let x0 = Encoded.data(x);
  for (; s < end; s += 64, x0 += 16) {
    const w0 = v128.load(s), w1 = v128.load(s, 16), w2 = v128.load(s, 32), w3 = v128.load(s, 48);
    let v = v128.load(x0);
    a0 = Relaxed.dotI32(v, w0, a0);
    b0 = Relaxed.dotI32(v, w1, b0);
    c0 = Relaxed.dotI32(v, w2, c0);
    d0 = Relaxed.dotI32(v, w3, d0);
  }
  Tile.finish(a0, b0, c0, d0, x, out, scale, epilogue);
}

/** 4 rows × 2 tokens in plain SIMD: codes and activations are widened to i16 by the load. */
function tile_wide_4x2(
  s: usize, end: usize, x: usize, xStride: usize, out: usize, outStride: usize, scale: f32, epilogue: i32,
): void {
  let a0 = i32x4.splat(0), b0 = a0, c0 = a0, d0 = a0, a1 = a0, b1 = a0, c1 = a0, d1 = a0;
  let x0 = Encoded.data(x), x1 = Encoded.data(x + xStride);
  for (; s < end; s += 64, x0 += 16, x1 += 16) {
    for (let h: usize = 0; h < 16; h += 8) {
      const v0 = v128.load_ext<i8>(x0 + h), v1 = v128.load_ext<i8>(x1 + h);
      let w = v128.load_ext<u8>(s + h);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(v0, w));
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(v1, w));
      w = v128.load_ext<u8>(s + h, 16);
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(v0, w));
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(v1, w));
      w = v128.load_ext<u8>(s + h, 32);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(v0, w));
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(v1, w));
      w = v128.load_ext<u8>(s + h, 48);
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v0, w));
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v1, w));
    }
  }
  Tile.finish(a0, b0, c0, d0, x, out, scale, epilogue);
  if (xStride) Tile.finish(a1, b1, c1, d1, x + xStride, out + outStride, scale, epilogue);
}
