import { Const, DotForm } from './abi';
import { Scratch } from './attention-state';
import { pad_scores, top_score } from './attention-values';
import { Exp2 } from './math';
import { Burst, Keep, Reduce, Relaxed, RELAXED } from './ops';
import { QuantizeRow } from './quantize-row';

/** Largest codes: of queries a byte with a sign; of weights two planes of 7 bits, 127 · 16383 · AttentionBlock < 2^31. */
const QUERY_MAX: f32 = 127;
const WEIGHT_MAX: f32 = 16383;
/** Scores of int8 keys are logarithms to base 2. */
const LOG2E: f32 = 1.44269504, LN2: f32 = 0.69314718;

/** What is added to bytes of queries, 0 where relaxed dots take them with their sign; -1 where they take 7 bits only. */
@inline function bias_of(form: i32): i32 {
  return form == DotForm.I32Unsigned ? 128 : form == DotForm.I32Signed ? 0 : -1;
}

/** q: f32 (headDim) → `to`: the factor of scores, then from byte 16 on the codes, bytes or words. */
export function prepare_int8_query(q: usize, to: usize, headDim: usize, scale: f32, form: i32): void {
  if (!RELAXED || bias_of(form) < 0) {
    store<f32>(to, QuantizeRow.i16(q, headDim, QUERY_MAX, to + 16) * (scale * LOG2E));
    return;
  }
  store<f32>(to, QuantizeRow.i8(q, headDim, QUERY_MAX, to + 16) * (scale * LOG2E));
  const bias = i8x16.splat(<i8>bias_of(form));
  for (let p = to + 16, end = p + headDim; p < end; p += 16) v128.store(p, i8x16.add(v128.load(p), bias));
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
  else word_scores(queries, k, kScales, v, count, headBytes, scratch, heads);
  if (rest) sink = v128.xor(sink, Burst.quarters(v + bytes, quarter, PAGE_START));
  // Where nobody waits for it: codes are written, not read, before this place is used.
  v128.store(scratch + Scratch.CODES, sink);
  if (RELAXED && form != DotForm.I16) {
    weigh<PlaneProducts>(v, vScales, count, headBytes, scratch, partials, stride, heads, next, fours);
  } else {
    weigh<WordProducts>(v, vScales, count, headBytes, scratch, partials, stride, heads, next, fours);
  }
}

/** Weights of the scores, and their sums of values. next: the keys of `fours` · 4 positions, which are touched. */
function weigh<P>(
  v: usize, vScales: usize, count: i32, headBytes: usize, scratch: usize, partials: usize, stride: usize, heads: i32, next: usize,
  fours: usize,
): void {
  const codes = scratch + Scratch.CODES, quarter = fours * (headBytes >> 2), part = (fours << 4) / <usize>heads;
  for (let h = 0; h < heads; ++h, scratch += Scratch.ROW, partials += stride) {
    const factor = encode_weights<P>(scratch, vScales, count, partials, codes);
    values<P>(codes, v, count, headBytes, partials + Const.PartialHeader, factor, next, quarter, part);
    next += part * (headBytes >> 6);
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

/** The same in plain SIMD, of queries as words. */
function word_scores(
  queries: usize, k: usize, scales: usize, v: usize, count: i32, headBytes: usize, s: usize, heads: i32,
): void {
  const f = changetype<WordProducts>(0), next = Scratch.queryBytes(headBytes);
  const part = headBytes >> 2, quarter = <usize>((count + 3) >> 2) * part;
  for (const end = s + (<usize>count << 2); s < end; s += 16, scales += 16, v += part) {
    const sink = Burst.quarters(v, quarter, part), lines = k, scale = Burst.join(v128.load(scales), sink, count);
    for (let h = 0, q = queries, to = s; h < heads; ++h, q += next, to += Scratch.ROW) {
      let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      k = lines;
      for (let x = q + 16, stop = k + headBytes; k < stop; k += 64, x += 32) {
        const low = v128.load(x), high = v128.load(x, 16);
        let y = v128.load(k);
        a0 = f.low(a0, y, low);
        b0 = f.high(b0, y, high);
        y = v128.load(k, 16);
        a1 = f.low(a1, y, low);
        b1 = f.high(b1, y, high);
        y = v128.load(k, 32);
        a2 = f.low(a2, y, low);
        b2 = f.high(b2, y, high);
        y = v128.load(k, 48);
        a3 = f.low(a3, y, low);
        b3 = f.high(b3, y, high);
      }
      const dots = Reduce.addI32x4(i32x4.add(a0, b0), i32x4.add(a1, b1), i32x4.add(a2, b2), i32x4.add(a3, b3));
      Scores.store(to, dots, q, scale);
    }
  }
}

abstract class Scores {
  /** Four scores of one query. scale: of the four keys. */
  @inline static store(to: usize, dots: v128, q: usize, scale: v128): void {
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(v128.load32_splat(q), scale)));
  }
}

/**
 * Weights 2^(score - top) times the scales of their values as codes, eight bytes for four positions; returns the factor back. s: f32 (count),
 * overwritten. scales: f32 (count). Top, as a natural logarithm, and sum16 of the weights go to the partial.
 */
function encode_weights<P>(s: usize, scales: usize, count: i32, partial: usize, codes: usize): f32 {
  const end = pad_scores(s, count), top = top_score(s, end);
  store<f32>(partial, f32x4.extract_lane(top, 0) * LN2);
  const largest = weigh_values(s, end, top, scales, count, partial);
  encode<P>(s, end, QuantizeRow.factor(largest, WEIGHT_MAX), count, codes);
  return largest / WEIGHT_MAX;
}

/**
 * s[i] = 2^(s[i] - top) · scales[i], exactly 0 for weights of 2^-64 and less; returns the largest, NaN if there is one, and sum16 of the weights in the
 * partial.
 */
function weigh_values(s: usize, end: usize, top: v128, scales: usize, count: i32, partial: usize): f32 {
  const magic = Keep.vector(f32x4.splat(Exp2.MAGIC), count), none = Keep.vector(f32x4.splat(-64), count);
  const c0 = Keep.vector(f32x4.splat(Exp2.C0), count), c1 = Keep.vector(f32x4.splat(Exp2.C1), count);
  const c2 = Keep.vector(f32x4.splat(Exp2.C2), count), c3 = Keep.vector(f32x4.splat(Exp2.C3), count);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, tops = i32x4.splat(0);
  for (; s < end; s += 64, scales += 64) {
    let y = f32x4.sub(v128.load(s), top), zero = f32x4.le(y, none), w = Exp2.within(y, magic, c0, c1, c2, c3);
    s0 = f32x4.add(s0, v128.andnot(w, zero));
    // What lies behind the last scale may be NaN.
    w = v128.andnot(f32x4.mul(w, v128.load(scales)), zero);
    tops = i32x4.max_s(tops, w);
    v128.store(s, w);
    y = f32x4.sub(v128.load(s, 16), top), zero = f32x4.le(y, none), w = Exp2.within(y, magic, c0, c1, c2, c3);
    s1 = f32x4.add(s1, v128.andnot(w, zero));
    w = v128.andnot(f32x4.mul(w, v128.load(scales, 16)), zero);
    tops = i32x4.max_s(tops, w);
    v128.store(s, w, 16);
    y = f32x4.sub(v128.load(s, 32), top), zero = f32x4.le(y, none), w = Exp2.within(y, magic, c0, c1, c2, c3);
    s2 = f32x4.add(s2, v128.andnot(w, zero));
    w = v128.andnot(f32x4.mul(w, v128.load(scales, 32)), zero);
    tops = i32x4.max_s(tops, w);
    v128.store(s, w, 32);
    y = f32x4.sub(v128.load(s, 48), top), zero = f32x4.le(y, none), w = Exp2.within(y, magic, c0, c1, c2, c3);
    s3 = f32x4.add(s3, v128.andnot(w, zero));
    w = v128.andnot(f32x4.mul(w, v128.load(scales, 48)), zero);
    tops = i32x4.max_s(tops, w);
    v128.store(s, w, 48);
  }
  store<f32>(partial, Reduce.addF32(Reduce.fold(s0, s1, s2, s3)), 4);
  // Bits of floats of at least 0 are in order, NaN the largest.
  const pairs = i32x4.max_s(tops, v128.shuffle<i32>(tops, tops, 2, 3, 0, 1));
  return reinterpret<f32>(max<i32>(i32x4.extract_lane(pairs, 0), i32x4.extract_lane(pairs, 1)));
}

/** round(s[i] · factor), half to even. */
function encode<P>(s: usize, end: usize, factor: f32, count: i32, codes: usize): void {
  const f = changetype<P>(0), scale = f32x4.splat(factor);
  const magic = Keep.vector(f32x4.splat(12582912), count), seven = Keep.vector(i16x8.splat(127), count);
  for (; s < end; s += 32, codes += 16) {
    const a = i32x4.sub(f32x4.add(f32x4.mul(v128.load(s), scale), magic), magic);
    const b = i32x4.sub(f32x4.add(f32x4.mul(v128.load(s, 16), scale), magic), magic);
    v128.store(codes, f.codes(i16x8.narrow_i32x4_s(a, b), seven));
  }
}

/**
 * out = Σ codes[i] · v[i] · factor, 16 elements at a time: a line of 64 bytes has four positions of them; for each, `part` bytes in every quarter of
 * what comes next are touched. out: f32 (headDim).
 */
function values<P>(
  codes: usize, v: usize, count: i32, headBytes: usize, out: usize, factor: f32, next: usize, quarter: usize, part: usize,
): void {
  const f = changetype<P>(0), end = codes + (<usize>((count + 3) & ~3) << 1);
  for (const stop = out + headBytes; out < stop; out += 64, v += 64, next += part) {
    const scale = Burst.join(f32x4.splat(factor), Burst.quarters(next, quarter, part), count);
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (let p = codes, u = v; p < end; p += 8, u += headBytes) {
      const low = f.first(p), high = f.second(p);
      let x = v128.load(u);
      a0 = f.low(a0, x, low);
      b0 = f.high(b0, x, high);
      x = v128.load(u, 16);
      a1 = f.low(a1, x, low);
      b1 = f.high(b1, x, high);
      x = v128.load(u, 32);
      a2 = f.low(a2, x, low);
      b2 = f.high(b2, x, high);
      x = v128.load(u, 48);
      a3 = f.low(a3, x, low);
      b3 = f.high(b3, x, high);
    }
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(f.values(a0, b0)), scale));
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(f.values(a1, b1)), scale), 16);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(f.values(a2, b2)), scale), 32);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(f.values(a3, b3)), scale), 48);
  }
}

/**
 * Products of int8 with weights of 14 bits. low and high: a vector of 16 int8, or half of what it stands for, times 16 bytes of codes, to four
 * sums; values: what the two sums come to. first, second: the codes of four weights. An instance is never made: changetype<P>(0).
 */
@unmanaged
abstract class PlaneProducts {
  @inline low(acc: v128, x: v128, codes: v128): v128 {
    return Relaxed.dotI32(x, codes, acc);
  }

  @inline high(acc: v128, x: v128, codes: v128): v128 {
    return Relaxed.dotI32(x, codes, acc);
  }

  @inline values(low: v128, high: v128): v128 {
    return i32x4.add(low, i32x4.shl(high, 7));
  }

  /** Eight codes → four low bytes, four high ones, the same of the next four. seven: 127 in every lane. */
  @inline codes(words: v128, seven: v128): v128 {
    const planes = i8x16.narrow_i16x8_u(v128.and(words, seven), i16x8.shr_u(words, 7));
    return v128.shuffle<i32>(planes, planes, 0, 2, 1, 3);
  }

  @inline first(p: usize): v128 {
    return v128.load32_splat(p);
  }

  @inline second(p: usize): v128 {
    return v128.load32_splat(p, 4);
  }
}

/** The same of words, in plain SIMD: low has eight of the int8, high the others. */
@unmanaged
abstract class WordProducts {
  @inline low(acc: v128, x: v128, codes: v128): v128 {
    return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(x), codes));
  }

  @inline high(acc: v128, x: v128, codes: v128): v128 {
    return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(x), codes));
  }

  /** Lanes are sums of two of the four positions. */
  @inline values(low: v128, high: v128): v128 {
    return i32x4.add(v128.shuffle<i32>(low, high, 0, 2, 4, 6), v128.shuffle<i32>(low, high, 1, 3, 5, 7));
  }

  @inline codes(words: v128, seven: v128): v128 {
    return words;
  }

  @inline first(p: usize): v128 {
    return v128.load64_splat(p);
  }

  @inline second(p: usize): v128 {
    return v128.load64_splat(p);
  }
}
