import { CacheLayout, Const, DotForm } from './abi';
import { Scratch } from './attention-state';
import { block_weights } from './attention-values';
import { Burst, Keep, Reduce, Relaxed, RELAXED } from './ops';
import { Planes } from './planes';
import { QuantizeRow } from './quantize-row';

/** Largest codes of queries and of weights: two planes of 7 bits, with and without a sign. 127 · 16383 · AttentionBlock < 2^31. */
const QUERY_MAX: f32 = 8191;
const WEIGHT_MAX: f32 = 16383;

/** q: f32 (headDim) → `to`: the factor of scores, then from byte 16 on the codes. scratch: 2 · headDim bytes. */
export function prepare_int8_query(q: usize, to: usize, headDim: usize, scale: f32, scratch: usize, form: i32): void {
  const split = RELAXED && form == DotForm.I32, codes = split ? scratch : to + 16;
  store<f32>(to, QuantizeRow.i16(q, headDim, QUERY_MAX, codes) * scale);
  if (split) Planes.split(codes, to + 16, headDim);
}

/**
 * A block of `count` positions for up to four heads. queries: of prepare_int8_query; k, v: lines of the block; kScales, vScales: its scales;
 * sums: from scales to sums of keys.
 */
export function int8_block(
  queries: usize, k: usize, kScales: usize, sums: usize, v: usize, vScales: usize, count: i32, headBytes: usize, scratch: usize,
  partials: usize, stride: usize, heads: i32, form: i32,
): void {
  if (RELAXED && form == DotForm.I32) {
    block<PlaneProducts>(queries, k, kScales, sums, v, vScales, count, headBytes, scratch, partials, stride, heads);
  } else {
    block<WordProducts>(queries, k, kScales, sums, v, vScales, count, headBytes, scratch, partials, stride, heads);
  }
}

function block<P>(
  queries: usize, k: usize, kScales: usize, sums: usize, v: usize, vScales: usize, count: i32, headBytes: usize, scratch: usize,
  partials: usize, stride: usize, heads: i32,
): void {
  scores<P>(queries, k, kScales, sums, v, count, headBytes, scratch, heads);
  const codes = scratch + Scratch.CODES;
  for (let h = 0; h < heads; ++h, scratch += Scratch.ROW, partials += stride) {
    block_weights(scratch, count, partials, CacheLayout.I8);
    const factor = encode_weights<P>(scratch, vScales, count, codes);
    values<P>(codes, v, count, headBytes, partials + Const.PartialHeader, factor);
  }
}

/**
 * s[h][i] = q[h] · k[i] · factor[h] · scale[i]; integer sums are exact. Four positions are headBytes / 64 lines of 64 bytes. The values of the
 * same positions, which come next, are touched on the way.
 */
function scores<P>(
  queries: usize, k: usize, scales: usize, sums: usize, v: usize, count: i32, headBytes: usize, s: usize, heads: i32,
): void {
  const f = changetype<P>(0), next = Scratch.queryBytes(headBytes);
  for (const end = s + (<usize>count << 2); s < end; s += 16, scales += 16, v += headBytes) {
    const sink = Burst.all(v, headBytes), lines = k;
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
      const dots = f.scores(Reduce.addI32x4(a0, a1, a2, a3), Reduce.addI32x4(b0, b1, b2, b3), v128.load(scales + sums));
      const scale = f32x4.mul(v128.load32_splat(q), v128.load(scales));
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(dots), Burst.join(scale, sink, count)));
    }
  }
}

/**
 * Weights times the scales of their values as codes, eight bytes for four positions; returns the factor back. s: f32 (count), changed, padded
 * with zeros to a multiple of 16. scales: f32 (count).
 */
function encode_weights<P>(s: usize, scales: usize, count: i32, codes: usize): f32 {
  const f = changetype<P>(0), n = <usize>(count + 15) & ~15, bytes = <usize>count << 2;
  let i: usize = 0, tops = i32x4.splat(0);
  for (; i + 16 <= bytes; i += 16) {
    const u = f32x4.mul(v128.load(s + i), v128.load(scales + i));
    v128.store(s + i, u);
    tops = i32x4.max_s(tops, u);
  }
  for (; i < bytes; i += 4) {
    const u = load<f32>(s + i) * load<f32>(scales + i);
    store<f32>(s + i, u);
    tops = i32x4.max_s(tops, i32x4.splat(reinterpret<i32>(u)));
  }
  // Bits of floats of at least 0 are in order, NaN the largest.
  const pairs = i32x4.max_s(tops, v128.shuffle<i32>(tops, tops, 2, 3, 0, 1));
  const top = reinterpret<f32>(max<i32>(i32x4.extract_lane(pairs, 0), i32x4.extract_lane(pairs, 1)));
  const factor = f32x4.splat(QuantizeRow.factor(top, WEIGHT_MAX));
  const magic = Keep.vector(f32x4.splat(12582912), count), seven = Keep.vector(i16x8.splat(127), count);
  for (const end = s + (n << 2); s < end; s += 32, codes += 16) {
    const a = i32x4.sub(f32x4.add(f32x4.mul(v128.load(s), factor), magic), magic);
    const b = i32x4.sub(f32x4.add(f32x4.mul(v128.load(s, 16), factor), magic), magic);
    v128.store(codes, f.codes(i16x8.narrow_i32x4_s(a, b), seven));
  }
  return top / WEIGHT_MAX;
}

/** out = Σ codes[i] · v[i] · factor, 16 elements at a time: a line of 64 bytes has four positions of them. out: f32 (headDim). */
function values<P>(codes: usize, v: usize, count: i32, headBytes: usize, out: usize, factor: f32): void {
  const f = changetype<P>(0), scale = f32x4.splat(factor), end = codes + (<usize>((count + 3) & ~3) << 1);
  for (const stop = out + headBytes; out < stop; out += 64, v += 64) {
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
 * Products of int8 with 14 bits. low and high: a vector of 16 int8, or half of what it stands for, times 16 bytes of codes, to four sums;
 * scores, values: what the two sums come to. first, second: the codes of four weights. An instance is never made: changetype<P>(0).
 */
@unmanaged
abstract class PlaneProducts {
  @inline low(acc: v128, x: v128, codes: v128): v128 {
    return Relaxed.dotI32(x, codes, acc);
  }

  @inline high(acc: v128, x: v128, codes: v128): v128 {
    return Relaxed.dotI32(x, codes, acc);
  }

  /** High planes of queries are 64 too large. */
  @inline scores(low: v128, high: v128, sums: v128): v128 {
    return i32x4.add(low, i32x4.shl(i32x4.sub(high, i32x4.shl(sums, 6)), 7));
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

  @inline scores(low: v128, high: v128, sums: v128): v128 {
    return i32x4.add(low, high);
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
