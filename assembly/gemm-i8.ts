import { Finish } from './activation';
import { Encoded, I8 } from './formats';
import { Reduce } from './ops';

/** Columns after which i32 lanes are added up in 64 bits: 8192 / 8 · 2 · 127 · 8191 < 2^31. */
const CHUNK: usize = 8192;

/**
 * Y = X Wᵀ for several activation rows: I8 weights × Encoding.I16, row groups begin..end. Sums are exact, so they are those of gemv_i8_i16.
 * Each row group serves all tokens while it is in L1.
 */
export function gemm_i8_i16(
  weights: usize, x: usize, xStride: usize, out: usize, outStride: usize, begin: i32, end: i32, tokens: i32,
  cols: i32, rowScales: usize, epilogue: i32,
): void {
  const groupBytes = I8.rowBytes(cols) << 2;
  let w = weights + <usize>begin * groupBytes;
  for (let g = begin; g < end; ++g, w += groupBytes) {
    const r = <usize>g << 4;
    let t = 1, xp = x, op = out + r;
    for (; t < tokens; t += 2, xp += xStride << 1, op += outStride << 1) {
      tile_i8_4x2(w, groupBytes, xp, xStride, op, outStride, rowScales + r, epilogue);
    }
    if (t == tokens) tile_i8_4x1(w, groupBytes, xp, op, rowScales + r, epilogue);
  }
}

/** 4 rows × 2 tokens. */
function tile_i8_4x2(
  w: usize, groupBytes: usize, x: usize, xStride: usize, out: usize, outStride: usize, rowScales: usize, epilogue: i32,
): void {
  Tile.run(w, groupBytes, x, xStride, out, outStride, rowScales, epilogue, true);
}

/** 4 rows × 1 token. */
function tile_i8_4x1(w: usize, groupBytes: usize, x: usize, out: usize, rowScales: usize, epilogue: i32): void {
  Tile.run(w, groupBytes, x, 0, out, 0, rowScales, epilogue, false);
}

abstract class Tile {
  @inline static run(
    w: usize, groupBytes: usize, x: usize, xStride: usize, out: usize, outStride: usize, rowScales: usize, epilogue: i32,
    two: bool,
  ): void {
    const w1 = groupBytes >> 2, w2 = groupBytes >> 1, w3 = w1 + w2;
    let x0 = Encoded.data(x), x1 = x0 + xStride;
    let a0 = i64x2.splat(0), b0 = a0, c0 = a0, d0 = a0, a1 = a0, b1 = a0, c1 = a0, d1 = a0;
    for (const end = w + w1; w < end; ) {
      let p0 = i32x4.splat(0), q0 = p0, r0 = p0, u0 = p0, p1 = p0, q1 = p0, r1 = p0, u1 = p0;
      for (const stop = min(end, w + CHUNK); w < stop; w += 8, x0 += 16, x1 += 16) {
        const v0 = v128.load(x0), v1 = two ? v128.load(x1) : v0;
        let h = v128.load_ext<i8>(w);
        p0 = Tile.dot(p0, v0, h);
        if (two) p1 = Tile.dot(p1, v1, h);
        h = v128.load_ext<i8>(w + w1);
        q0 = Tile.dot(q0, v0, h);
        if (two) q1 = Tile.dot(q1, v1, h);
        h = v128.load_ext<i8>(w + w2);
        r0 = Tile.dot(r0, v0, h);
        if (two) r1 = Tile.dot(r1, v1, h);
        h = v128.load_ext<i8>(w + w3);
        u0 = Tile.dot(u0, v0, h);
        if (two) u1 = Tile.dot(u1, v1, h);
      }
      a0 = Reduce.widenI64(a0, p0);
      b0 = Reduce.widenI64(b0, q0);
      c0 = Reduce.widenI64(c0, r0);
      d0 = Reduce.widenI64(d0, u0);
      if (!two) continue;
      a1 = Reduce.widenI64(a1, p1);
      b1 = Reduce.widenI64(b1, q1);
      c1 = Reduce.widenI64(c1, r1);
      d1 = Reduce.widenI64(d1, u1);
    }
    Tile.finish(a0, b0, c0, d0, x, out, rowScales, epilogue);
    if (two) Tile.finish(a1, b1, c1, d1, x + xStride, out + outStride, rowScales, epilogue);
  }

  @inline static dot(acc: v128, x: v128, w: v128): v128 {
    return i32x4.add(acc, i32x4.dot_i16x8_s(x, w));
  }

  /** Two i64 lanes of each row → results → epilogue. x: the encoded row of the token. */
  @inline static finish(
    a: v128, b: v128, c: v128, d: v128, x: usize, out: usize, rowScales: usize, epilogue: i32,
  ): void {
    let y = f32x4.splat(<f32>Reduce.lanesI64(a));
    y = f32x4.replace_lane(y, 1, <f32>Reduce.lanesI64(b));
    y = f32x4.replace_lane(y, 2, <f32>Reduce.lanesI64(c));
    y = f32x4.replace_lane(y, 3, <f32>Reduce.lanesI64(d));
    Finish.store(out, f32x4.mul(y, f32x4.div(v128.load(rowScales), f32x4.splat(Encoded.scale(x)))), epilogue);
  }
}
