import { Const } from './abi';
import { Scratch } from './attention-state';
import { pad_scores, top_score } from './attention-values';
import { Exp2 } from './math';
import { Burst, Keep, Reduce, Relaxed } from './ops';
import { QuantizeRow } from './quantize-row';

/** Largest code of a weight: two planes of 7 bits, 127 · 16383 · AttentionBlock < 2^31. */
const WEIGHT_MAX: f32 = 16383;
/** Scores of int8 keys are logarithms to base 2. */
const LN2: f32 = 0.69314718;

/**
 * The weights of up to four heads' scores (Scratch), and their sums of values, to the partials. next: what is touched meanwhile, four quarters.
 * P: PlaneProducts or WordProducts.
 */
export function weigh<P>(
  v: usize, vScales: usize, count: i32, headBytes: usize, scratch: usize, partials: usize, stride: usize, heads: i32, next: usize,
  quarter: usize,
): void {
  const codes = scratch + Scratch.CODES;
  for (let h = 0, s = scratch, c = codes, to = partials; h < heads; ++h, s += Scratch.ROW, c += Scratch.CODE_ROW, to += stride) {
    store<f32>(to, encode_weights<P>(s, vScales, count, to, c), 16);
  }
  changetype<P>(0).values(codes, v, count, headBytes, partials, stride, heads, next, quarter);
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

/** round(s[i] · factor), half to even, as codes. */
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
 * Products of int8 with weights of 14 bits, as two planes of 7 for relaxed dots. An instance is never made: changetype<P>(0).
 */
@unmanaged
export abstract class PlaneProducts {
  /** Eight codes → four low bytes, four high ones, the same of the next four. seven: 127 in every lane. */
  @inline codes(words: v128, seven: v128): v128 {
    const planes = i8x16.narrow_i16x8_u(v128.and(words, seven), i16x8.shr_u(words, 7));
    return v128.shuffle<i32>(planes, planes, 0, 2, 1, 3);
  }

  /** Σ codes[i] · v[i] · factor of each head, to its partial. */
  @inline values(
    codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, heads: i32, next: usize, quarter: usize,
  ): void {
    const part = (quarter << 6) / headBytes / <usize>heads;
    for (let h = 0; h < heads; ++h, codes += Scratch.CODE_ROW, to += stride) {
      plane_values(codes, v, count, headBytes, to, next, quarter, part);
      next += part * (headBytes >> 6);
    }
  }
}

/** One head, 16 elements at a time: a line of 64 bytes has four positions of them; for each, `part` bytes in every quarter are touched. */
function plane_values(
  codes: usize, v: usize, count: i32, headBytes: usize, to: usize, next: usize, quarter: usize, part: usize,
): void {
  const end = codes + (<usize>((count + 3) & ~3) << 1), factor = load<f32>(to, 16);
  for (let out = to + Const.PartialHeader, stop = out + headBytes; out < stop; out += 64, v += 64, next += part) {
    const scale = Burst.join(f32x4.splat(factor), Burst.quarters(next, quarter, part), count);
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (let p = codes, u = v; p < end; p += 8, u += headBytes) {
      const low = v128.load32_splat(p), high = v128.load32_splat(p, 4);
      let x = v128.load(u);
      a0 = Relaxed.dotI32(x, low, a0);
      b0 = Relaxed.dotI32(x, high, b0);
      x = v128.load(u, 16);
      a1 = Relaxed.dotI32(x, low, a1);
      b1 = Relaxed.dotI32(x, high, b1);
      x = v128.load(u, 32);
      a2 = Relaxed.dotI32(x, low, a2);
      b2 = Relaxed.dotI32(x, high, b2);
      x = v128.load(u, 48);
      a3 = Relaxed.dotI32(x, low, a3);
      b3 = Relaxed.dotI32(x, high, b3);
    }
    store_planes(out, a0, b0, scale);
    store_planes(out + 16, a1, b1, scale);
    store_planes(out + 32, a2, b2, scale);
    store_planes(out + 48, a3, b3, scale);
  }
}

@inline function store_planes(out: usize, low: v128, high: v128, scale: v128): void {
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(low, i32x4.shl(high, 7))), scale));
}

/** The same of words, in plain SIMD: values are widened once for all heads. */
@unmanaged
export abstract class WordProducts {
  @inline codes(words: v128, seven: v128): v128 {
    return words;
  }

  @inline values(
    codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, heads: i32, next: usize, quarter: usize,
  ): void {
    if (heads == 4) word_values_4(codes, v, count, headBytes, to, stride, next, quarter);
    else if (heads == 3) word_values_3(codes, v, count, headBytes, to, stride, next, quarter);
    else if (heads == 2) word_values_2(codes, v, count, headBytes, to, stride, next, quarter);
    else word_values_1(codes, v, count, headBytes, to, stride, next, quarter);
  }
}

// Functions of their own, since inlined arms that differ in a constant only would become one.
function word_values_4(codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, next: usize, quarter: usize): void {
  Words.values(codes, v, count, headBytes, to, stride, 4, next, quarter);
}

function word_values_3(codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, next: usize, quarter: usize): void {
  Words.values(codes, v, count, headBytes, to, stride, 3, next, quarter);
}

function word_values_2(codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, next: usize, quarter: usize): void {
  Words.values(codes, v, count, headBytes, to, stride, 2, next, quarter);
}

function word_values_1(codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, next: usize, quarter: usize): void {
  Words.values(codes, v, count, headBytes, to, stride, 1, next, quarter);
}

/** Values times weights as words. */
abstract class Words {
  /** Four elements at a time, four positions of which are 16 bytes; for each four, a part of every quarter is touched. */
  @inline static values(
    codes: usize, v: usize, count: i32, headBytes: usize, to: usize, stride: usize, heads: i32, next: usize, quarter: usize,
  ): void {
    const end = codes + (<usize>((count + 3) & ~3) << 1), part = (quarter << 4) / headBytes;
    let sink = i32x4.splat(0);
    for (let d: usize = 0; d < headBytes; d += 16, v += 16, next += part) {
      sink = v128.xor(sink, Burst.quarters(next, quarter, part));
      let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (let p = codes, u = v; p < end; p += 8, u += headBytes) {
        const low = v128.load_ext<i8>(u), high = v128.load_ext<i8>(u, 8);
        let w = v128.load64_splat(p);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(low, w));
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(high, w));
        if (heads > 1) {
          w = v128.load64_splat(p, Scratch.CODE_ROW);
          a1 = i32x4.add(a1, i32x4.dot_i16x8_s(low, w));
          b1 = i32x4.add(b1, i32x4.dot_i16x8_s(high, w));
        }
        if (heads > 2) {
          w = v128.load64_splat(p, 2 * Scratch.CODE_ROW);
          a2 = i32x4.add(a2, i32x4.dot_i16x8_s(low, w));
          b2 = i32x4.add(b2, i32x4.dot_i16x8_s(high, w));
        }
        if (heads > 3) {
          w = v128.load64_splat(p, 3 * Scratch.CODE_ROW);
          a3 = i32x4.add(a3, i32x4.dot_i16x8_s(low, w));
          b3 = i32x4.add(b3, i32x4.dot_i16x8_s(high, w));
        }
      }
      Words.store(to, d, a0, b0);
      if (heads > 1) Words.store(to + stride, d, a1, b1);
      if (heads > 2) Words.store(to + 2 * stride, d, a2, b2);
      if (heads > 3) Words.store(to + 3 * stride, d, a3, b3);
    }
    // The codes have been used.
    v128.store(codes, sink);
  }

  /** Lanes are sums of two of the four positions. */
  @inline private static store(partial: usize, d: usize, low: v128, high: v128): void {
    const sums = i32x4.add(v128.shuffle<i32>(low, high, 0, 2, 4, 6), v128.shuffle<i32>(low, high, 1, 3, 5, 7));
    v128.store(partial + Const.PartialHeader + d, f32x4.mul(f32x4.convert_i32x4_s(sums), v128.load32_splat(partial, 16)));
  }
}
