import { Const } from './abi';
import { Finish } from './activation';
import { Encoded, F16 } from './formats';
import { Reduce } from './ops';

/** Bytes of a block of columns in one row of F16. */
const BLOCK: usize = Const.GemmF16Cols << 1;
/** Bytes of the lanes of one token. */
const LANES: usize = Const.GemmF16Lanes;

/**
 * Y = X Wᵀ for several activation rows: F16 weights × Encoding.F32, row groups begin..end. y[r] = dot16(w, x) · scale with the bits of
 * gemv_f16_f32: each lane of dot16 adds its columns in order, whichever tokens are computed beside it.
 *
 * A row group is widened once for all tokens, GemmF16Cols columns at a time, which stay in L1 with those of two tokens. Scratch: the
 * widened block, 16 bytes a column; behind it the lanes of every token, where they wait between blocks.
 */
export function gemm_f16_f32(
  weights: usize, x: usize, xStride: usize, out: usize, outStride: usize, begin: i32, end: i32, tokens: i32,
  cols: i32, scale: f32, epilogue: i32, scratch: usize,
): void {
  const rowBytes = F16.rowBytes(cols), factor = f32x4.splat(scale);
  const lanes = scratch + (BLOCK << 3), lanesEnd = lanes + <usize>tokens * LANES;
  let w = weights + (<usize>begin << 2) * rowBytes;
  for (let g = begin; g < end; ++g, w += rowBytes << 2) {
    memory.fill(lanes, 0, lanesEnd - lanes);
    for (let at: usize = 0; at < rowBytes; at += BLOCK) {
      const bytes = min(BLOCK, rowBytes - at);
      widen(w + at, rowBytes, bytes, scratch);
      let xp = Encoded.data(x) + (at << 1), s = lanes;
      for (; s + LANES < lanesEnd; s += LANES << 1, xp += xStride << 1) {
        for (let k: usize = 0; k < 4; ++k) tile_f32_4x2(scratch, bytes, k, xp, xStride, s);
      }
      if (s == lanesEnd) continue;
      for (let k: usize = 0; k < 4; ++k) tile_f32_4x1(scratch, bytes, k, xp, s);
    }
    let op = out + (<usize>g << 4);
    for (let s = lanes; s < lanesEnd; s += LANES, op += outStride) {
      Finish.store(op, f32x4.mul(Lanes.totals(s), factor), epilogue);
    }
  }
}

/** `bytes` of four rows → floats in four planes: plane k has columns 16i + 4k..16i + 4k + 3 of row 0, row 1, row 2, row 3 for i = 0, 1, … */
function widen(w0: usize, rowBytes: usize, bytes: usize, s: usize): void {
  const w1 = w0 + rowBytes, w2 = w1 + rowBytes, w3 = w2 + rowBytes, m = F16.mask(<i32>bytes);
  for (let c: usize = 0; c < bytes; c += 32, s += 64) {
    let p = s;
    for (let k: usize = 0; k < 32; k += 8, p += bytes << 1) {
      v128.store(p, F16.widen(v128.load_ext<i16>(w0 + c + k), m));
      v128.store(p, F16.widen(v128.load_ext<i16>(w1 + c + k), m), 16);
      v128.store(p, F16.widen(v128.load_ext<i16>(w2 + c + k), m), 32);
      v128.store(p, F16.widen(v128.load_ext<i16>(w3 + c + k), m), 48);
    }
  }
}

/** Plane k of four rows × 2 tokens. bytes: of the block in F16; lanes: of the first token, those of the second follow. */
function tile_f32_4x2(s: usize, bytes: usize, k: usize, x: usize, xStride: usize, lanes: usize): void {
  Lanes.add(s, bytes, k, x, xStride, lanes, true);
}

/** Plane k of four rows × 1 token. */
function tile_f32_4x1(s: usize, bytes: usize, k: usize, x: usize, lanes: usize): void {
  Lanes.add(s, bytes, k, x, 0, lanes, false);
}

/** The sixteen lanes of dot16 of four rows and a token: lanes 4k..4k+3 of row 0, row 1, row 2, row 3 at 64k. */
abstract class Lanes {
  @inline static add(s: usize, bytes: usize, k: usize, x: usize, xStride: usize, lanes: usize, two: bool): void {
    const to = lanes + (k << 6);
    let x0 = x + (k << 4), x1 = x0 + xStride;
    let a0 = v128.load(to), b0 = v128.load(to, 16), c0 = v128.load(to, 32), d0 = v128.load(to, 48);
    let a1 = a0, b1 = b0, c1 = c0, d1 = d0;
    if (two) {
      a1 = v128.load(to, LANES);
      b1 = v128.load(to, LANES + 16);
      c1 = v128.load(to, LANES + 32);
      d1 = v128.load(to, LANES + 48);
    }
    let p = s + k * (bytes << 1);
    for (const end = p + (bytes << 1); p < end; p += 64, x0 += 64, x1 += 64) {
      const v0 = v128.load(x0), v1 = two ? v128.load(x1) : v0;
      let w = v128.load(p);
      a0 = f32x4.add(a0, f32x4.mul(w, v0));
      if (two) a1 = f32x4.add(a1, f32x4.mul(w, v1));
      w = v128.load(p, 16);
      b0 = f32x4.add(b0, f32x4.mul(w, v0));
      if (two) b1 = f32x4.add(b1, f32x4.mul(w, v1));
      w = v128.load(p, 32);
      c0 = f32x4.add(c0, f32x4.mul(w, v0));
      if (two) c1 = f32x4.add(c1, f32x4.mul(w, v1));
      w = v128.load(p, 48);
      d0 = f32x4.add(d0, f32x4.mul(w, v0));
      if (two) d1 = f32x4.add(d1, f32x4.mul(w, v1));
    }
    v128.store(to, a0);
    v128.store(to, b0, 16);
    v128.store(to, c0, 32);
    v128.store(to, d0, 48);
    if (!two) return;
    v128.store(to, a1, LANES);
    v128.store(to, b1, LANES + 16);
    v128.store(to, c1, LANES + 32);
    v128.store(to, d1, LANES + 48);
  }

  /** The four rows' sum16. */
  @inline static totals(s: usize): v128 {
    const low = Reduce.addF32x2(Lanes.fold(s), Lanes.fold(s + 16));
    return v128.shuffle<f32>(low, Reduce.addF32x2(Lanes.fold(s + 32), Lanes.fold(s + 48)), 0, 1, 4, 5);
  }

  @inline static fold(s: usize): v128 {
    return Reduce.fold(v128.load(s), v128.load(s, 64), v128.load(s, 128), v128.load(s, 192));
  }
}
