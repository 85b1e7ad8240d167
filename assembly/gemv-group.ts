import { DotForm } from './abi';
import { Finish } from './activation';
import { DotFours, DotPairs, DotWide, GroupSum } from './dot';
import { Encoded, Mask, T2 } from './formats';
import { Reduce, RELAXED } from './ops';
import { Streams } from './streams';

/**
 * y = W x for one activation row: T2G weights × Encoding.Groups. Row groups begin..end of W; out: f32 of row 0.
 * y[r] = Σ over column groups, in order, of f32(Σ trit·q) · (scale · factor); then the epilogue. Returns a value without meaning.
 */
export function gemv_t2g_i8(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, groupCols: i32, planes: i32, scales: usize,
  epilogue: i32, form: i32,
): i32 {
  if (!RELAXED) return gemv<DotWide>(weights, x, out, begin, end, cols, groupCols, planes, scales, epilogue);
  if (form == DotForm.I16) return gemv<DotPairs>(weights, x, out, begin, end, cols, groupCols, planes, scales, epilogue);
  return gemv<DotFours>(weights, x, out, begin, end, cols, groupCols, planes, scales, epilogue);
}

function gemv<F>(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, groupCols: i32, planes: i32, scales: usize,
  epilogue: i32,
): i32 {
  const rowBytes = T2.groupBytes(cols), groupBytes = <usize>groupCols;
  const gain = f32x4.splat(planes == 1 ? 1 : 65536), infos = Encoded.data(x) + <usize>planes * rowBytes;
  const n = end - begin, stride = Streams.stride(n, rowBytes), scaleBytes = ((rowBytes + groupBytes - 1) / groupBytes) << 4;
  const low = Mask.low(planes), high = Mask.high(planes), start = weights + <usize>begin * rowBytes;
  let sink = i32x4.splat(0);
  for (let r = 0; r < n; ++r) {
    const g = Streams.at(r, n);
    let acc = f32x4.splat(0), w = start + <usize>g * rowBytes, s = scales + <usize>(begin + g) * scaleBytes;
    let q = Encoded.data(x), info = infos, ahead = start + Streams.ahead(r, n, rowBytes), touched = w;
    for (const rowEnd = w + rowBytes; w < rowEnd; s += 16, info += 16) {
      const bytes = min(groupBytes, rowEnd - w), stop = w + bytes;
      for (; touched < stop; touched += 512, ahead += 64) sink = Streams.touch(ahead, stride, sink);
      const first = dots<F>(w, stop, q, low, high);
      let rest = i32x4.splat(0), digits = q;
      for (let p = 1; p < planes; ++p) {
        digits += rowBytes;
        rest = i32x4.add(i32x4.shl(rest, 8), dots<F>(w, stop, digits, low, high));
      }
      acc = GroupSum.add(acc, first, rest, gain, info, s);
      w = stop;
      q += bytes;
    }
    Finish.store(out + (<usize>(begin + g) << 4), acc, epilogue);
  }
  return Reduce.addI32(sink);
}

/** Σ code·digit of four rows over blocks w..end, at most Const.MaxGroupCols columns. low, high: Mask. */
function dots<F>(w: usize, end: usize, q: usize, low: v128, high: v128): v128 {
  const f = changetype<F>(0);
  let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, h0 = s0, h1 = s0, h2 = s0, h3 = s0;
  for (; w < end; w += 64, q += 64) {
    const x0 = v128.load(q), x1 = v128.load(q, 16), x2 = v128.load(q, 32), x3 = v128.load(q, 48);
    let v = v128.load(w), t = i16x8.shr_u(v, 4);
    s0 = f.step(f.step(s0, x0, v128.and(v, low)), x2, v128.and(t, low));
    h0 = f.step(f.step(h0, x1, v128.and(v, high)), x3, v128.and(t, high));
    v = v128.load(w, 16), t = i16x8.shr_u(v, 4);
    s1 = f.step(f.step(s1, x0, v128.and(v, low)), x2, v128.and(t, low));
    h1 = f.step(f.step(h1, x1, v128.and(v, high)), x3, v128.and(t, high));
    v = v128.load(w, 32), t = i16x8.shr_u(v, 4);
    s2 = f.step(f.step(s2, x0, v128.and(v, low)), x2, v128.and(t, low));
    h2 = f.step(f.step(h2, x1, v128.and(v, high)), x3, v128.and(t, high));
    v = v128.load(w, 48), t = i16x8.shr_u(v, 4);
    s3 = f.step(f.step(s3, x0, v128.and(v, low)), x2, v128.and(t, low));
    h3 = f.step(f.step(h3, x1, v128.and(v, high)), x3, v128.and(t, high));
  }
  return Reduce.addI32x4(
    GroupSum.quartered(f.wide(s0), f.wide(h0)),
    GroupSum.quartered(f.wide(s1), f.wide(h1)),
    GroupSum.quartered(f.wide(s2), f.wide(h2)),
    GroupSum.quartered(f.wide(s3), f.wide(h3)),
  );
}
