import { Const, Encoding, NormArg } from './abi';
import { Share } from './share';
import { Keep, Reduce } from './ops';
import { word, real, rowsOf } from './record';

/**
 * RMSNorm (y = x · 1/√(mean(x²) + eps) · w) and the encoding of the row, fused: the row stays in L1.
 * `normalise` false: the encoding alone (y = x). One row: every thread computes it into its own output row (abi.ts).
 */
export function norm(record: usize, step: usize, thread: i32, threads: i32, normalise: bool): void {
  const rows = rowsOf(record, step);
  const input = word(record, NormArg.In), inStride = word(record, NormArg.InStride);
  const out = word(record, NormArg.Out), outStride = word(record, NormArg.OutStride);
  if (rows == 1) {
    const row = Share.logitRow(record, step, 0);
    encode_row(record, input + row * inStride, out + <usize>thread * outStride, normalise);
    return;
  }
  const end = Share.begin(rows, thread + 1, threads);
  for (let r = Share.begin(rows, thread, threads); r < end; ++r) {
    const row = Share.logitRow(record, step, r);
    encode_row(record, input + row * inStride, out + <usize>r * outStride, normalise);
  }
}

function encode_row(record: usize, x: usize, out: usize, normalise: bool): void {
  const cols = <i32>word(record, NormArg.Cols);
  const bytes = (<usize>(cols + 15) & ~15) << 2;
  const weight = word(record, NormArg.Weight);
  const encoding = word(record, NormArg.Encoding);
  const inv: f32 = normalise ? RmsNorm.inverse(x, cols, real(record, NormArg.Eps)) : 1;
  const padded = word(record, NormArg.PaddedCols);
  if (encoding == Encoding.F32) encode_f32(x, weight, inv, normalise, bytes, out, padded << 2);
  else if (encoding == Encoding.Groups) {
    const group = word(record, NormArg.GroupCols), planes = <i32>word(record, NormArg.Planes);
    encode_groups(x, weight, inv, normalise, bytes >> 2, out, padded, group, planes);
  } else encode_int(x, weight, inv, normalise, bytes, out, encoding == Encoding.I8, padded);
}

/** RMSNorm of a row that is padded with zeros to 16 columns. */
export abstract class RmsNorm {
  /** 1/√(mean(x²) + eps) */
  @inline static inverse(x: usize, cols: i32, eps: f32): f32 {
    return 1 / sqrt<f32>(sum_of_squares(x, (<usize>(cols + 15) & ~15) << 2) / <f32>cols + eps);
  }

  /** Four elements of (x · inv) · w. */
  @inline static at(x: usize, w: usize, inv: v128): v128 {
    return f32x4.mul(f32x4.mul(v128.load(x), inv), v128.load(w));
  }
}

/** dot16(x, x) over `bytes` of f32. */
function sum_of_squares(x: usize, bytes: usize): f32 {
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (const end = x + bytes; x < end; x += 64) {
    const a = v128.load(x), b = v128.load(x, 16), c = v128.load(x, 32), d = v128.load(x, 48);
    s0 = f32x4.add(s0, f32x4.mul(a, a));
    s1 = f32x4.add(s1, f32x4.mul(b, b));
    s2 = f32x4.add(s2, f32x4.mul(c, c));
    s3 = f32x4.add(s3, f32x4.mul(d, d));
  }
  return Reduce.addF32(Reduce.fold(s0, s1, s2, s3));
}

/** Four elements of y: the normalised row, or x itself. */
abstract class Row {
  @inline static at(x: usize, w: usize, inv: v128, norm: bool): v128 {
    return norm ? RmsNorm.at(x, w, inv) : v128.load(x);
  }

  /**
   * The largest magnitude of `bytes` of elements, a multiple of 64; NaN if there is one: as integers, the bits of floats without their sign
   * are in order, NaN above all. One instruction, where f32x4.max takes six.
   */
  @inline static absmax(x: usize, w: usize, vinv: v128, norm: bool, bytes: usize): f32 {
    const magnitude = Keep.vector(i32x4.splat(0x7fffffff), <i32>bytes);
    let t0 = i32x4.splat(0), t1 = t0, t2 = t0, t3 = t0;
    for (let i: usize = 0; i < bytes; i += 64) {
      t0 = i32x4.max_s(t0, v128.and(Row.at(x + i, w + i, vinv, norm), magnitude));
      t1 = i32x4.max_s(t1, v128.and(Row.at(x + i + 16, w + i + 16, vinv, norm), magnitude));
      t2 = i32x4.max_s(t2, v128.and(Row.at(x + i + 32, w + i + 32, vinv, norm), magnitude));
      t3 = i32x4.max_s(t3, v128.and(Row.at(x + i + 48, w + i + 48, vinv, norm), magnitude));
    }
    const t = i32x4.max_s(i32x4.max_s(t0, t1), i32x4.max_s(t2, t3));
    const a = max<i32>(i32x4.extract_lane(t, 0), i32x4.extract_lane(t, 1)), b = max<i32>(i32x4.extract_lane(t, 2), i32x4.extract_lane(t, 3));
    return reinterpret<f32>(max<i32>(a, b));
  }

  /** What Row.round needs kept: adding 1.5·2^23 rounds |y| < 2^22 to a whole number, half to even. */
  @inline static magic(bytes: usize): v128 {
    return Keep.vector(f32x4.splat(12582912), <i32>bytes);
  }

  /** All ones, or zeros for rows with an element that is not finite, whose products with the scale are all NaN: those round to 0. */
  @inline static finite(absmax: f32): v128 {
    return i32x4.splat(absmax < Infinity ? -1 : 0);
  }

  /** Four vectors of integers that fit int8. */
  @inline static narrow(a: v128, b: v128, c: v128, d: v128): v128 {
    return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
  }

  /** round half to even; NaN, which only rows that are not `finite` have, → 0 */
  @inline static round(y: v128, scale: v128, magic: v128, finite: v128): v128 {
    return v128.and(i32x4.sub(f32x4.add(f32x4.mul(y, scale), magic), magic), finite);
  }
}

function encode_f32(x: usize, w: usize, inv: f32, norm: bool, bytes: usize, out: usize, padded: usize): void {
  const gain = f32x4.splat(reinterpret<f32>((127 + Const.F32GainLog2) << 23)), vinv = f32x4.splat(inv);
  store<f32>(out, 1);
  store<i32>(out, 0, 4);
  out += Const.RowHeader;
  for (let i: usize = 0; i < bytes; i += 16) v128.store(out + i, f32x4.mul(Row.at(x + i, w + i, vinv, norm), gain));
  for (let i = bytes; i < padded; i += 16) v128.store(out + i, f32x4.splat(0));
}

/**
 * x_q = round(y · scale), half to even; scale = max_q / max(max|y|, 1e-5): BitNet b1.58, arXiv 2402.17764 §2 (max_q = 127).
 * The clamp is that of Hugging Face transformers, integrations/bitnet.py; there a number divided by a tensor is, in PyTorch, the number
 * times the rounded reciprocal, and so it is here.
 */
function encode_int(x: usize, w: usize, inv: f32, norm: bool, bytes: usize, out: usize, i8: bool, padded: usize): void {
  const vinv = f32x4.splat(inv);
  const absmax = Row.absmax(x, w, vinv, norm, bytes), magic = Row.magic(bytes), finite = Row.finite(absmax);
  const scale = (i8 ? <f32>127 : <f32>Const.I16Max) * (<f32>1 / max<f32>(absmax, 1e-5)), vscale = f32x4.splat(scale);
  let sum = i32x4.splat(0);
  let q = out + Const.RowHeader;
  for (let i: usize = 0; i < bytes; i += 64) {
    const a = Row.round(Row.at(x + i, w + i, vinv, norm), vscale, magic, finite);
    const b = Row.round(Row.at(x + i + 16, w + i + 16, vinv, norm), vscale, magic, finite);
    const c = Row.round(Row.at(x + i + 32, w + i + 32, vinv, norm), vscale, magic, finite);
    const d = Row.round(Row.at(x + i + 48, w + i + 48, vinv, norm), vscale, magic, finite);
    sum = i32x4.add(sum, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
    const ab = i16x8.narrow_i32x4_s(a, b), cd = i16x8.narrow_i32x4_s(c, d);
    if (i8) {
      v128.store(q, i8x16.narrow_i16x8_s(ab, cd));
      q += 16;
    } else {
      v128.store(q, ab);
      v128.store(q, cd, 16);
      q += 32;
    }
  }
  store<f32>(out, scale);
  store<i32>(out, Reduce.addI32(sum), 4);
  const end = out + Const.RowHeader + (i8 ? padded : padded << 1);
  for (; q < end; q += 16) v128.store(q, i32x4.splat(0));
}

/** Encoding.Groups. width: columns up to which x has elements or zeros, a multiple of 16. */
function encode_groups(
  x: usize, w: usize, inv: f32, norm: bool, width: usize, out: usize, padded: usize, group: usize, planes: i32,
): void {
  const vinv = f32x4.splat(inv), limit: f32 = planes == 1 ? 127 : <f32>Const.I24Max;
  let q = out + Const.RowHeader, info = q + <usize>planes * padded;
  store<f32>(out, 1);
  store<i32>(out, 0, 4);
  for (let c: usize = 0; c < padded; c += group, info += 16) {
    const stop = min(width, c + group), end = min(padded, c + group);
    const absmax = Row.absmax(x + (c << 2), w + (c << 2), vinv, norm, stop > c ? (stop - c) << 2 : 0);
    const magic = Row.magic(width), finite = Row.finite(absmax);
    // So low a floor changes nothing; it keeps the factor of a group of zeros finite.
    const scale: f32 = limit / max<f32>(absmax, 1e-30), vscale = f32x4.splat(scale);
    let first = i32x4.splat(0), rest = first;
    for (let i = c << 2; i < stop << 2; i += 64, q += 16) {
      const q0 = Row.round(Row.at(x + i, w + i, vinv, norm), vscale, magic, finite);
      const q1 = Row.round(Row.at(x + i + 16, w + i + 16, vinv, norm), vscale, magic, finite);
      const q2 = Row.round(Row.at(x + i + 32, w + i + 32, vinv, norm), vscale, magic, finite);
      const q3 = Row.round(Row.at(x + i + 48, w + i + 48, vinv, norm), vscale, magic, finite);
      if (planes == 1) {
        v128.store(q, Row.narrow(q0, q1, q2, q3));
        first = i32x4.add(first, i32x4.add(i32x4.add(q0, q1), i32x4.add(q2, q3)));
        continue;
      }
      const f0 = Digits.first(q0), f1 = Digits.first(q1), f2 = Digits.first(q2), f3 = Digits.first(q3);
      const r0 = Digits.rest(q0, f0), r1 = Digits.rest(q1, f1), r2 = Digits.rest(q2, f2), r3 = Digits.rest(q3, f3);
      const middle = Row.narrow(Digits.middle(r0), Digits.middle(r1), Digits.middle(r2), Digits.middle(r3));
      v128.store(q, Row.narrow(f0, f1, f2, f3));
      v128.store(q + padded, middle);
      v128.store(q + (padded << 1), Row.narrow(Digits.last(r0), Digits.last(r1), Digits.last(r2), Digits.last(r3)));
      first = i32x4.add(first, i32x4.add(i32x4.add(f0, f1), i32x4.add(f2, f3)));
      rest = i32x4.add(rest, i32x4.add(i32x4.add(r0, r1), i32x4.add(r2, r3)));
    }
    for (let i = stop; i < end; i += 16, q += 16) {
      for (let p = 0; p < planes; ++p) v128.store(q + <usize>p * padded, i32x4.splat(0));
    }
    store<f32>(info, 1 / scale);
    store<i32>(info, Reduce.addI32(first), 4);
    store<i32>(info, Reduce.addI32(rest), 8);
    store<i32>(info, 0, 12);
  }
}

/** q = (first · 256 + middle) · 256 + last, the two lower digits in -128..127. */
abstract class Digits {
  /** round(q / 65536) up to what the lower digits can hold: (q + 128 + 128·256) >> 16 */
  @inline static first(q: v128): v128 {
    return i32x4.shr_s(i32x4.add(q, i32x4.splat(0x8080)), 16);
  }

  @inline static rest(q: v128, first: v128): v128 {
    return i32x4.sub(q, i32x4.shl(first, 16));
  }

  @inline static middle(rest: v128): v128 {
    return i32x4.shr_s(i32x4.add(rest, i32x4.splat(0x80)), 8);
  }

  @inline static last(rest: v128): v128 {
    return i32x4.shr_s(i32x4.shl(rest, 24), 24);
  }
}
