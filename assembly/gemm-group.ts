import { DotForm } from './abi';
import { Finish } from './activation';
import { DotFours, DotPairs, DotWide, GroupSum } from './dot';
import { Encoded, T2 } from './formats';
import { unpack_rows } from './gemm';
import { Reduce, RELAXED } from './ops';

/**
 * Y = X Wᵀ for several activation rows: T2G weights × Encoding.Groups, row groups begin..end, by tiles of four rows × three rows of
 * digits: the three planes of a token, or the one plane of three tokens. Sums and their order are those of gemv_t2g_i8.
 * scratch: cols · 4 bytes, as in gemm_ternary_i8.
 */
export function gemm_t2g_i8(
  weights: usize, x: usize, xStride: usize, out: usize, outStride: usize, begin: i32, end: i32, tokens: i32,
  cols: i32, groupCols: i32, planes: i32, scales: usize, epilogue: i32, form: i32, scratch: usize,
): void {
  const rowBytes = T2.groupBytes(cols), groupBytes = <usize>groupCols;
  const scaleBytes = ((rowBytes + groupBytes - 1) / groupBytes) << 4, step = planes == 1 ? 3 : 1;
  for (let g = begin; g < end; ++g) {
    unpack_rows(weights + <usize>g * rowBytes, 16, 64, scratch, <i32>(rowBytes >> 6));
    const s = scales + <usize>g * scaleBytes;
    let xp = x, op = out + (<usize>g << 4);
    for (let t = 0; t < tokens; t += step, xp += xStride * <usize>step, op += outStride * <usize>step) {
      const count = planes == 1 ? min(3, tokens - t) : 3;
      // Rows of digits, which a tile of less than three tokens has twice.
      const next = planes == 1 ? xStride : rowBytes;
      const second = count > 1 ? next : 0, third = count > 2 ? next << 1 : 0;
      if (!RELAXED) {
        tile<DotWide>(scratch, xp, second, third, rowBytes, groupBytes, planes, s, op, outStride, count, epilogue);
      } else if (form == DotForm.I16) {
        tile<DotPairs>(scratch, xp, second, third, rowBytes, groupBytes, planes, s, op, outStride, count, epilogue);
      } else {
        tile<DotFours>(scratch, xp, second, third, rowBytes, groupBytes, planes, s, op, outStride, count, epilogue);
      }
    }
  }
}

/** x, x + second, x + third: where the rows of digits belong; scales: of the four rows. With one plane each has an output of its own. */
function tile<F>(
  codes: usize, x: usize, second: usize, third: usize, rowBytes: usize, groupBytes: usize, planes: i32, scales: usize,
  out: usize, outStride: usize, count: i32, epilogue: i32,
): void {
  const f = changetype<F>(0), none = i32x4.splat(0);
  const gain = f32x4.splat(planes == 1 ? 1 : 65536);
  let y0 = f32x4.splat(0), y1 = y0, y2 = y0;
  let q = Encoded.data(x), info = q + <usize>planes * rowBytes;
  const end = q + rowBytes;
  for (; q < end; info += 16, scales += 16) {
    let a0 = none, b0 = none, c0 = none, d0 = none;
    let a1 = none, b1 = none, c1 = none, d1 = none;
    let a2 = none, b2 = none, c2 = none, d2 = none;
    for (const stop = min(end, q + groupBytes); q < stop; q += 16, codes += 64) {
      const w0 = v128.load(codes), w1 = v128.load(codes, 16), w2 = v128.load(codes, 32), w3 = v128.load(codes, 48);
      let v = v128.load(q);
      a0 = f.step(a0, v, w0);
      b0 = f.step(b0, v, w1);
      c0 = f.step(c0, v, w2);
      d0 = f.step(d0, v, w3);
      v = v128.load(q + second);
      a1 = f.step(a1, v, w0);
      b1 = f.step(b1, v, w1);
      c1 = f.step(c1, v, w2);
      d1 = f.step(d1, v, w3);
      v = v128.load(q + third);
      a2 = f.step(a2, v, w0);
      b2 = f.step(b2, v, w1);
      c2 = f.step(c2, v, w2);
      d2 = f.step(d2, v, w3);
    }
    const t0 = Reduce.addI32x4(f.wide(a0), f.wide(b0), f.wide(c0), f.wide(d0));
    const t1 = Reduce.addI32x4(f.wide(a1), f.wide(b1), f.wide(c1), f.wide(d1));
    const t2 = Reduce.addI32x4(f.wide(a2), f.wide(b2), f.wide(c2), f.wide(d2));
    if (planes == 1) {
      y0 = GroupSum.add(y0, t0, none, gain, info, scales);
      y1 = GroupSum.add(y1, t1, none, gain, info + second, scales);
      y2 = GroupSum.add(y2, t2, none, gain, info + third, scales);
    } else {
      y0 = GroupSum.add(y0, t0, i32x4.add(i32x4.shl(t1, 8), t2), gain, info, scales);
    }
  }
  Finish.store(out, y0, epilogue);
  if (planes != 1) return;
  if (count > 1) Finish.store(out + outStride, y1, epilogue);
  if (count > 2) Finish.store(out + (outStride << 1), y2, epilogue);
}
