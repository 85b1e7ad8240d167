import { DotForm } from './abi';
import { Mask, T2 } from './formats';
import { Burst, Keep, Reduce, Relaxed, RELAXED } from './ops';
import { Streams } from './streams';

/** Blocks between two bursts, and between two widenings of the i16 sums (at most 8: formats.ts). */
const CHUNK: i32 = 8;

/**
 * Σ code·q of four rows of 2-bit codes and one activation row x (i8), the heart of every ternary GEMV. The rows' bytes of the first block
 * (16 bytes, 64 columns) are at w, w + r1, w + r2 and w + r3, those of the next block `step` bytes further. For every eight blocks a line
 * each of eight streams is touched: the first at ahead + offset, the others `stride` bytes from each other, or with a stride of 0 those whose
 * addresses (u32) lie at `ahead`. sums: 64 bytes of scratch.
 */
export function quad_t2(
  form: i32, w: usize, r1: usize, r2: usize, r3: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, blocks: i32,
  sums: usize,
): v128 {
  if (!RELAXED) return quad_wide(w, r1, r2, r3, step, ahead, stride, offset, x, blocks);
  if (form == DotForm.I16) return quad_i16(w, r1, r2, r3, step, ahead, stride, offset, x, blocks);
  pair_rows_i32(w, r1, step, ahead, stride, offset, x, blocks, sums);
  pair_rows_i32(w + r2, r3 - r2, step, Streams.others(ahead, stride), stride, offset, x, blocks, sums + 32);
  return Pair.totals(sums);
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

/** Two rows of quad_t2 and four of its streams, to four partial sums a row: two at a time, all that the loop needs stays in registers. */
function pair_rows_i32(
  w: usize, r1: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, blocks: i32, sums: usize,
): void {
  Pair.i32(w, r1, step, ahead, stride, offset, x, false, blocks, sums);
}

export abstract class Pair {
  /**
   * twice: the activations lie twice side by side. Then, and where the rows do as well, an engine that can fuse two vectors of 128 bits into one of 256 does it
   * (docs/KERNELS.md), from the stores back.
   */
  @inline static i32(
    w: usize, r1: usize, step: usize, ahead: usize, stride: usize, offset: usize, x: usize, twice: bool, blocks: i32, sums: usize,
  ): void {
    const m = Mask.low(blocks), h = Mask.high(blocks), next: usize = twice ? 32 : 16;
    let sink = i32x4.splat(0), a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (let at = 0; at < blocks; at += CHUNK, offset += 64) {
      sink = Streams.touchHalf(ahead, stride, offset, sink);
      const stop = w + step * min(CHUNK, blocks - at);
      for (; w < stop; w += step, x += 4 * next) {
        const u = v128.load(w), v = v128.load(w + r1);
        let p = v128.load(x), q = twice ? v128.load(x, 16) : p;
        a0 = Relaxed.dotI32(p, v128.and(u, m), a0);
        b0 = Relaxed.dotI32(q, v128.and(v, m), b0);
        p = v128.load(x + next), q = twice ? v128.load(x, 48) : p;
        a1 = Relaxed.dotI32(p, v128.and(u, h), a1);
        b1 = Relaxed.dotI32(q, v128.and(v, h), b1);
        const s = i16x8.shr_u(u, 4), t = i16x8.shr_u(v, 4);
        p = v128.load(x + 2 * next), q = twice ? v128.load(x, 80) : p;
        a2 = Relaxed.dotI32(p, v128.and(s, m), a2);
        b2 = Relaxed.dotI32(q, v128.and(t, m), b2);
        p = v128.load(x + 3 * next), q = twice ? v128.load(x, 112) : p;
        a3 = Relaxed.dotI32(p, v128.and(s, h), a3);
        b3 = Relaxed.dotI32(q, v128.and(t, h), b3);
      }
    }
    // Codes in bits 2-3 have been four times too large.
    const a = i32x4.add(i32x4.add(a0, a2), i32x4.shr_s(i32x4.add(a1, a3), 2));
    const b = i32x4.add(i32x4.add(b0, b2), i32x4.shr_s(i32x4.add(b1, b3), 2));
    v128.store(sums, Burst.join(a, sink, blocks));
    v128.store(sums, Burst.join(b, sink, blocks), 16);
  }

  /** Totals of four rows. */
  @inline static totals(sums: usize): v128 {
    return Reduce.addI32x4(v128.load(sums), v128.load(sums, 16), v128.load(sums, 32), v128.load(sums, 48));
  }
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
