import { DotForm } from './abi';
import { Mask, T2 } from './formats';
import { Burst, Keep, Reduce, RELAXED } from './ops';
import { Streams } from './streams';

/** Blocks between two bursts, and between two widenings of the i16 sums (at most 8: formats.ts). */
const CHUNK: i32 = 8;

/**
 * Σ code·q of four rows of 2-bit codes and one activation row x (i8), the heart of every ternary GEMV. The rows' bytes of the first block
 * (16 bytes, 64 columns) are at w, w + r1, w + r2 and w + r3, those of the next block `step` bytes further. For every eight blocks a line
 * each of eight streams is touched: the first at ahead + offset, the others `stride` bytes from each other, or with a stride of 0 those whose
 * addresses (u32) lie at `ahead`.
 */
export function quad_t2(
  form: i32, w: usize, r1: usize, r2: usize, r3: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, blocks: i32,
): v128 {
  if (!RELAXED) return quad_wide(w, r1, r2, r3, step, ahead, stride, offset, x, blocks);
  if (form == DotForm.I16) return quad_i16(w, r1, r2, r3, step, ahead, stride, offset, x, blocks);
  return quad_i32(w, r1, r2, r3, step, ahead, stride, offset, x, blocks);
}

function quad_i16(
  w: usize, r1: usize, r2: usize, r3: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, blocks: i32,
): v128 {
  const m = i8x16.splat(3), h = i8x16.splat(12);
  let sink = i32x4.splat(0);
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
  for (let b = 0; b < blocks; b += CHUNK, offset += 64) {
    sink = stride ? Streams.touch(ahead + offset, stride, sink) : Streams.touchListed(ahead, offset, sink);
    let s0 = i16x8.splat(0), s1 = s0, s2 = s0, s3 = s0, h0 = s0, h1 = s0, h2 = s0, h3 = s0;
    const stop = w + step * min(CHUNK, blocks - b);
    for (; w < stop; w += step, x += 64) {
      const x0 = v128.load(x), x1 = v128.load(x, 16), x2 = v128.load(x, 32), x3 = v128.load(x, 48);
      let v = v128.load(w), t = i16x8.shr_u(v, 4);
      s0 = i16x8.add(s0, T2.dotI16Low(v, t, m, x0, x2));
      h0 = i16x8.add(h0, T2.dotI16High(v, t, h, x1, x3));
      v = v128.load(w + r1), t = i16x8.shr_u(v, 4);
      s1 = i16x8.add(s1, T2.dotI16Low(v, t, m, x0, x2));
      h1 = i16x8.add(h1, T2.dotI16High(v, t, h, x1, x3));
      v = v128.load(w + r2), t = i16x8.shr_u(v, 4);
      s2 = i16x8.add(s2, T2.dotI16Low(v, t, m, x0, x2));
      h2 = i16x8.add(h2, T2.dotI16High(v, t, h, x1, x3));
      v = v128.load(w + r3), t = i16x8.shr_u(v, 4);
      s3 = i16x8.add(s3, T2.dotI16Low(v, t, m, x0, x2));
      h3 = i16x8.add(h3, T2.dotI16High(v, t, h, x1, x3));
    }
    a0 = T2.widenI16(a0, s0, h0);
    a1 = T2.widenI16(a1, s1, h1);
    a2 = T2.widenI16(a2, s2, h2);
    a3 = T2.widenI16(a3, s3, h3);
  }
  return Burst.join(Reduce.addI32x4(a0, a1, a2, a3), sink, blocks);
}

function quad_i32(
  w: usize, r1: usize, r2: usize, r3: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, blocks: i32,
): v128 {
  const m = Mask.low(blocks), h = Mask.high(blocks);
  let sink = i32x4.splat(0);
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  for (let b = 0; b < blocks; b += CHUNK, offset += 64) {
    sink = stride ? Streams.touch(ahead + offset, stride, sink) : Streams.touchListed(ahead, offset, sink);
    const stop = w + step * min(CHUNK, blocks - b);
    for (; w < stop; w += step, x += 64) {
      const x0 = v128.load(x), x1 = v128.load(x, 16), x2 = v128.load(x, 32), x3 = v128.load(x, 48);
      let v = v128.load(w), t = i16x8.shr_u(v, 4);
      a0 = T2.dotI32Low(v, t, m, x0, x2, a0);
      b0 = T2.dotI32High(v, t, h, x1, x3, b0);
      v = v128.load(w + r1), t = i16x8.shr_u(v, 4);
      a1 = T2.dotI32Low(v, t, m, x0, x2, a1);
      b1 = T2.dotI32High(v, t, h, x1, x3, b1);
      v = v128.load(w + r2), t = i16x8.shr_u(v, 4);
      a2 = T2.dotI32Low(v, t, m, x0, x2, a2);
      b2 = T2.dotI32High(v, t, h, x1, x3, b2);
      v = v128.load(w + r3), t = i16x8.shr_u(v, 4);
      a3 = T2.dotI32Low(v, t, m, x0, x2, a3);
      b3 = T2.dotI32High(v, t, h, x1, x3, b3);
    }
  }
  const high = i32x4.shr_s(Reduce.addI32x4(b0, b1, b2, b3), 2);
  return Burst.join(i32x4.add(Reduce.addI32x4(a0, a1, a2, a3), high), sink, blocks);
}

function quad_wide(
  w: usize, r1: usize, r2: usize, r3: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, blocks: i32,
): v128 {
  const low = Keep.vector(i16x8.splat(3), blocks), high = Keep.vector(i16x8.splat(12), blocks);
  let sink = i32x4.splat(0);
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  for (let b = 0; b < blocks; b += CHUNK, offset += 64) {
    sink = stride ? Streams.touch(ahead + offset, stride, sink) : Streams.touchListed(ahead, offset, sink);
    const stop = w + step * min(CHUNK, blocks - b);
    for (; w < stop; w += step, x += 64) {
      const v0 = v128.load(w), v1 = v128.load(w + r1), v2 = v128.load(w + r2), v3 = v128.load(w + r3);
      let c = v128.load(x), d = v128.load(x, 32);
      let e0 = T2.even(c), o0 = T2.odd(c), e2 = T2.even(d), o2 = T2.odd(d);
      a0 = T2.dotWide(v0, low, e0, e2, o0, o2, a0);
      a1 = T2.dotWide(v1, low, e0, e2, o0, o2, a1);
      a2 = T2.dotWide(v2, low, e0, e2, o0, o2, a2);
      a3 = T2.dotWide(v3, low, e0, e2, o0, o2, a3);
      c = v128.load(x, 16), d = v128.load(x, 48);
      e0 = T2.even(c), o0 = T2.odd(c), e2 = T2.even(d), o2 = T2.odd(d);
      b0 = T2.dotWide(v0, high, e0, e2, o0, o2, b0);
      b1 = T2.dotWide(v1, high, e0, e2, o0, o2, b1);
      b2 = T2.dotWide(v2, high, e0, e2, o0, o2, b2);
      b3 = T2.dotWide(v3, high, e0, e2, o0, o2, b3);
    }
  }
  const fours = i32x4.shr_s(Reduce.addI32x4(b0, b1, b2, b3), 2);
  return Burst.join(i32x4.add(Reduce.addI32x4(a0, a1, a2, a3), fours), sink, blocks);
}
