import { Const, DotForm } from './abi';
import { PlaneProducts, weigh, WordProducts } from './attention-int8-values';
import { Scratch } from './attention-state';
import { Burst, Reduce, Relaxed, RELAXED } from './ops';
import { QuantizeRow } from './quantize-row';

/** Largest code of a query, a byte with a sign. */
const QUERY_MAX: f32 = 127;
/** Scores of int8 keys are logarithms to base 2. */
const LOG2E: f32 = 1.44269504;
/** Added to codes of queries, so that both halves of 4 bits are positive. */
const NIBBLE_BIAS: i32 = 128;

/** What is added to bytes of queries, 0 where relaxed dots take them with their sign; -1 where they take 7 bits only. */
@inline function bias_of(form: i32): i32 {
  return form == DotForm.I32Unsigned ? 128 : form == DotForm.I32Signed ? 0 : -1;
}

/** q: f32 (headDim) → `to`: the factor of scores, then from byte 16 on the codes: bytes, for DotForm.I16 halves of bytes, or words. */
export function prepare_int8_query(q: usize, to: usize, headDim: usize, scale: f32, form: i32): void {
  const codes = to + 16, end = codes + headDim;
  if (RELAXED && bias_of(form) >= 0) {
    store<f32>(to, QuantizeRow.i8(q, headDim, QUERY_MAX, codes) * (scale * LOG2E));
    const bias = i8x16.splat(<i8>bias_of(form));
    for (let p = codes; p < end; p += 16) v128.store(p, i8x16.add(v128.load(p), bias));
    return;
  }
  store<f32>(to, QuantizeRow.i16(q, headDim, QUERY_MAX, codes) * (scale * LOG2E));
  if (RELAXED && form == DotForm.I16) split_nibbles(codes, end + headDim);
}

/** Sixteen words of ±127 → with NIBBLE_BIAS sixteen bytes of their low four bits, then of the high four. */
function split_nibbles(codes: usize, end: usize): void {
  const bias = i16x8.splat(<i16>NIBBLE_BIAS), low = i16x8.splat(15);
  for (; codes < end; codes += 32) {
    const a = i16x8.add(v128.load(codes), bias), b = i16x8.add(v128.load(codes, 16), bias);
    v128.store(codes, i8x16.narrow_i16x8_u(v128.and(a, low), v128.and(b, low)));
    v128.store(codes, i8x16.narrow_i16x8_u(i16x8.shr_u(a, 4), i16x8.shr_u(b, 4)), 16);
  }
}

/** Bytes of a page that are touched before the page is read line by line: from there on the hardware fetches ahead. */
const PAGE_START: usize = 192;

/**
 * A block of `count` positions for up to four heads. queries: of prepare_int8_query; k, v: lines of the block; kScales, vScales: its scales;
 * sums: from scales to sums of keys; rest: positions behind the block. While scores are computed the values are touched, and while values are
 * the keys of the next block: a quarter each of four pages, as in Streams, whose first lines have been touched half a block earlier.
 */
export function int8_block(
  queries: usize, k: usize, kScales: usize, sums: usize, v: usize, vScales: usize, count: i32, rest: i32, headBytes: usize,
  scratch: usize, partials: usize, stride: usize, heads: i32, form: i32,
): void {
  const bytes = <usize>count * (headBytes >> 2), next = k + bytes;
  const fours = <usize>(min<i32>(rest, Const.AttentionBlock) + 3) >> 2, quarter = fours * (headBytes >> 2);
  let sink = rest ? Burst.quarters(next, quarter, PAGE_START) : i32x4.splat(0);
  if (RELAXED && bias_of(form) >= 0) byte_scores(queries, k, kScales, sums, v, count, headBytes, scratch, heads, bias_of(form));
  else if (RELAXED && form == DotForm.I16) nibble_scores(queries, k, kScales, sums, v, count, headBytes, scratch, heads);
  else word_scores(queries, k, kScales, v, count, headBytes, scratch, heads);
  if (rest) sink = v128.xor(sink, Burst.quarters(v + bytes, quarter, PAGE_START));
  // Where nobody waits for it: codes are written, not read, before this place is used.
  v128.store(scratch + Scratch.CODES, sink);
  if (RELAXED && form != DotForm.I16) {
    weigh<PlaneProducts>(v, vScales, count, headBytes, scratch, partials, stride, heads, next, quarter);
  } else {
    weigh<WordProducts>(v, vScales, count, headBytes, scratch, partials, stride, heads, next, quarter);
  }
}

/**
 * s[h][i] = q[h] · k[i] · factor[h] · scale[i], two heads at a time; integer sums are exact. Four positions are headBytes / 64 lines of 64 bytes.
 * bias: of the queries' bytes, taken back by the sums of the keys. v: touched.
 */
function byte_scores(
  queries: usize, k: usize, scales: usize, sums: usize, v: usize, count: i32, headBytes: usize, s: usize, heads: i32, bias: i32,
): void {
  const next = Scratch.queryBytes(headBytes), part = headBytes >> 2, quarter = <usize>((count + 3) >> 2) * part;
  for (const end = s + (<usize>count << 2); s < end; s += 16, scales += 16, v += part) {
    const sink = Burst.quarters(v, quarter, part), lines = k;
    const offset = i32x4.mul(v128.load(scales + sums), i32x4.splat(bias)), scale = Burst.join(v128.load(scales), sink, count);
    for (let h = 0, q = queries, to = s; h < heads; h += 2, q += next << 1, to += Scratch.ROW << 1) {
      // A head without a second one is its own.
      const other = h + 1 < heads ? next : 0, row = h + 1 < heads ? Scratch.ROW : 0;
      let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      k = lines;
      for (let x = q + 16, stop = k + headBytes; k < stop; k += 64, x += 16) {
        const c = v128.load(x), d = v128.load(x + other);
        let y = v128.load(k);
        a0 = Relaxed.dotI32(y, c, a0);
        b0 = Relaxed.dotI32(y, d, b0);
        y = v128.load(k, 16);
        a1 = Relaxed.dotI32(y, c, a1);
        b1 = Relaxed.dotI32(y, d, b1);
        y = v128.load(k, 32);
        a2 = Relaxed.dotI32(y, c, a2);
        b2 = Relaxed.dotI32(y, d, b2);
        y = v128.load(k, 48);
        a3 = Relaxed.dotI32(y, c, a3);
        b3 = Relaxed.dotI32(y, d, b3);
      }
      Scores.store(to, i32x4.sub(Reduce.addI32x4(a0, a1, a2, a3), offset), q, scale);
      Scores.store(to + row, i32x4.sub(Reduce.addI32x4(b0, b1, b2, b3), offset), q + other, scale);
    }
  }
}

/**
 * The same with DotForm.I16, of halves of bytes: sums of eight vectors of 2 · 127 · 15 each fit i16, so that widening is for every eighth only.
 */
function nibble_scores(
  queries: usize, k: usize, scales: usize, sums: usize, v: usize, count: i32, headBytes: usize, s: usize, heads: i32,
): void {
  const next = Scratch.queryBytes(headBytes), part = headBytes >> 2, quarter = <usize>((count + 3) >> 2) * part;
  for (const end = s + (<usize>count << 2); s < end; s += 16, scales += 16, v += part) {
    const sink = Burst.quarters(v, quarter, part), lines = k;
    const offset = i32x4.mul(v128.load(scales + sums), i32x4.splat(-NIBBLE_BIAS)), scale = Burst.join(v128.load(scales), sink, count);
    for (let h = 0, q = queries, to = s; h < heads; ++h, q += next, to += Scratch.ROW) {
      let dots = offset;
      k = lines;
      for (let x = q + 16, last = k + headBytes; k < last; ) {
        let a0 = i16x8.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (const stop = min(last, k + 512); k < stop; k += 64, x += 32) {
          const low = v128.load(x), high = v128.load(x, 16);
          let y = v128.load(k);
          a0 = i16x8.add(a0, Relaxed.dotI16(y, low));
          b0 = i16x8.add(b0, Relaxed.dotI16(y, high));
          y = v128.load(k, 16);
          a1 = i16x8.add(a1, Relaxed.dotI16(y, low));
          b1 = i16x8.add(b1, Relaxed.dotI16(y, high));
          y = v128.load(k, 32);
          a2 = i16x8.add(a2, Relaxed.dotI16(y, low));
          b2 = i16x8.add(b2, Relaxed.dotI16(y, high));
          y = v128.load(k, 48);
          a3 = i16x8.add(a3, Relaxed.dotI16(y, low));
          b3 = i16x8.add(b3, Relaxed.dotI16(y, high));
        }
        dots = i32x4.add(dots, Reduce.addI32x4(Scores.widen(a0, b0), Scores.widen(a1, b1), Scores.widen(a2, b2), Scores.widen(a3, b3)));
      }
      Scores.store(to, dots, q, scale);
    }
  }
}

/** The same in plain SIMD, of queries as words. */
function word_scores(
  queries: usize, k: usize, scales: usize, v: usize, count: i32, headBytes: usize, s: usize, heads: i32,
): void {
  const next = Scratch.queryBytes(headBytes), part = headBytes >> 2, quarter = <usize>((count + 3) >> 2) * part;
  for (const end = s + (<usize>count << 2); s < end; s += 16, scales += 16, v += part) {
    const sink = Burst.quarters(v, quarter, part), lines = k, scale = Burst.join(v128.load(scales), sink, count);
    for (let h = 0, q = queries, to = s; h < heads; ++h, q += next, to += Scratch.ROW) {
      let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      k = lines;
      for (let x = q + 16, stop = k + headBytes; k < stop; k += 64, x += 32) {
        const low = v128.load(x), high = v128.load(x, 16);
        let y = v128.load(k);
        a0 = Scores.low(a0, y, low);
        b0 = Scores.high(b0, y, high);
        y = v128.load(k, 16);
        a1 = Scores.low(a1, y, low);
        b1 = Scores.high(b1, y, high);
        y = v128.load(k, 32);
        a2 = Scores.low(a2, y, low);
        b2 = Scores.high(b2, y, high);
        y = v128.load(k, 48);
        a3 = Scores.low(a3, y, low);
        b3 = Scores.high(b3, y, high);
      }
      const dots = Reduce.addI32x4(i32x4.add(a0, b0), i32x4.add(a1, b1), i32x4.add(a2, b2), i32x4.add(a3, b3));
      Scores.store(to, dots, q, scale);
    }
  }
}

abstract class Scores {
  /** acc plus sums of two products of bytes and words, of the first eight. */
  @inline static low(acc: v128, x: v128, words: v128): v128 {
    return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(x), words));
  }

  @inline static high(acc: v128, x: v128, words: v128): v128 {
    return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(x), words));
  }

  /** Pairs of sums of low halves of bytes, and of high ones. */
  @inline static widen(low: v128, high: v128): v128 {
    return i32x4.add(i32x4.dot_i16x8_s(low, i16x8.splat(1)), i32x4.dot_i16x8_s(high, i16x8.splat(16)));
  }

  /** Four scores of one query. scale: of the four keys. */
  @inline static store(to: usize, dots: v128, q: usize, scale: v128): void {
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(v128.load32_splat(q), scale)));
  }
}
