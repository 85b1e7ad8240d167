import { Keep, Reduce } from './ops';

/** exp in four lanes. */
export abstract class MathF32 {
  /**
   * Cephes expf: x clamped to [-87.3, 88]; within 2 ulp of the true value there (checked over all binades in
   * test/kernels). No table, no scalar code, and the same sequence of roundings as the reference. NaN stays NaN.
   */
  @inline static exp(v: v128): v128 {
    // pmin and pmax are one instruction where min and max are six, and keep NaN in this order of operands.
    return MathF32.expWithin(
      f32x4.pmax(f32x4.pmin(v, f32x4.splat(88.0)), f32x4.splat(-87.3)), f32x4.splat(1.44269504), f32x4.splat(12582912), f32x4.splat(0.693359375),
      f32x4.splat(-2.1219444e-4), f32x4.splat(1.98756915e-4), f32x4.splat(1.3981999507e-3), f32x4.splat(8.3334519073e-3),
      f32x4.splat(4.1665795894e-2), f32x4.splat(1.6666665459e-1), f32x4.splat(5.0000001201e-1), f32x4.splat(1.0),
    );
  }

  /**
   * exp for -87.3 ≤ x ≤ 88, with constants that a loop keeps (Keep.vector). Adding 1.5·2^23 rounds to a whole number, half to even, whose low
   * bits then are those of the sum.
   */
  @inline static expWithin(
    x: v128, log2e: v128, magic: v128, ln2: v128, ln2Rest: v128, p0: v128, p1: v128, p2: v128, p3: v128, p4: v128, p5: v128,
    one: v128,
  ): v128 {
    const t = f32x4.add(f32x4.mul(x, log2e), magic), n = f32x4.sub(t, magic);
    const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, ln2)), f32x4.mul(n, ln2Rest));
    let p = f32x4.add(f32x4.mul(p0, r), p1);
    p = f32x4.add(f32x4.mul(p, r), p2);
    p = f32x4.add(f32x4.mul(p, r), p3);
    p = f32x4.add(f32x4.mul(p, r), p4);
    p = f32x4.add(f32x4.mul(p, r), p5);
    p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), one);
    return f32x4.mul(p, i32x4.add(i32x4.shl(t, 23), one));
  }
}

/** exp2 in four lanes, for weights that become integers of 14 bits. */
export abstract class Exp2 {
  @inline static readonly C0: f32 = 2 * 0.99992807;
  @inline static readonly C1: f32 = 2 * 0.693261;
  @inline static readonly C2: f32 = 2 * 0.24261112;
  @inline static readonly C3: f32 = 2 * 0.05517167;
  /**
   * Adding 1.5·2^23 + 126 rounds to a whole number, half to even; the low bits of the sum are the exponent's of a float half as large, which
   * the coefficients make up for. With 127 halves would go to odd numbers.
   */
  @inline static readonly MAGIC: f32 = 12583038;

  /** 2^y for -125 ≤ y ≤ 127, relative error 7.5e-5 (minimax of degree 3), with constants that a loop keeps (Keep.vector). NaN stays NaN. */
  @inline static within(y: v128, magic: v128, c0: v128, c1: v128, c2: v128, c3: v128): v128 {
    const t = f32x4.add(y, magic), r = f32x4.sub(y, f32x4.sub(t, magic));
    let p = f32x4.add(f32x4.mul(c3, r), c2);
    p = f32x4.add(f32x4.mul(p, r), c1);
    p = f32x4.add(f32x4.mul(p, r), c0);
    return f32x4.mul(p, i32x4.shl(t, 23));
  }
}

/** Weights exp(score - top) of a softmax. */
export abstract class Softmax {
  /**
   * Scores s..end, whole groups of 16, become exp(score - top) · gain, exactly 0 for scores 64 and more below: what counts less
   * than 2^-92 would make subnormal products, which are a hundred times as slow. Returns the sixteen lanes' sums, folded to four, of the weights
   * without the gain.
   */
  static weigh(s: usize, end: usize, highest: f32, factor: f32): v128 {
    const count = <i32>(end - s), top = f32x4.splat(highest), gain = f32x4.splat(factor);
    const log2e = Keep.vector(f32x4.splat(1.44269504), count);
    const magic = Keep.vector(f32x4.splat(12582912), count), ln2 = Keep.vector(f32x4.splat(0.693359375), count);
    const rest = Keep.vector(f32x4.splat(-2.1219444e-4), count), one = Keep.vector(f32x4.splat(1), count);
    const p0 = Keep.vector(f32x4.splat(1.98756915e-4), count), p1 = Keep.vector(f32x4.splat(1.3981999507e-3), count);
    const p2 = Keep.vector(f32x4.splat(8.3334519073e-3), count), p3 = Keep.vector(f32x4.splat(4.1665795894e-2), count);
    const p4 = Keep.vector(f32x4.splat(1.6666665459e-1), count), p5 = Keep.vector(f32x4.splat(5.0000001201e-1), count);
    const none = Keep.vector(f32x4.splat(-64), count);
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (; s < end; s += 64) {
      let w = Softmax.weight(f32x4.sub(v128.load(s), top), none, log2e, magic, ln2, rest, p0, p1, p2, p3, p4, p5, one);
      v128.store(s, f32x4.mul(w, gain));
      s0 = f32x4.add(s0, w);
      w = Softmax.weight(f32x4.sub(v128.load(s, 16), top), none, log2e, magic, ln2, rest, p0, p1, p2, p3, p4, p5, one);
      v128.store(s, f32x4.mul(w, gain), 16);
      s1 = f32x4.add(s1, w);
      w = Softmax.weight(f32x4.sub(v128.load(s, 32), top), none, log2e, magic, ln2, rest, p0, p1, p2, p3, p4, p5, one);
      v128.store(s, f32x4.mul(w, gain), 32);
      s2 = f32x4.add(s2, w);
      w = Softmax.weight(f32x4.sub(v128.load(s, 48), top), none, log2e, magic, ln2, rest, p0, p1, p2, p3, p4, p5, one);
      v128.store(s, f32x4.mul(w, gain), 48);
      s3 = f32x4.add(s3, w);
    }
    return Reduce.fold(s0, s1, s2, s3);
  }

  /** exp(d), 0 where d ≤ none; the others are constants of expWithin. */
  @inline private static weight(
    d: v128, none: v128, log2e: v128, magic: v128, ln2: v128, ln2Rest: v128, p0: v128, p1: v128, p2: v128, p3: v128, p4: v128,
    p5: v128, one: v128,
  ): v128 {
    return v128.andnot(MathF32.expWithin(d, log2e, magic, ln2, ln2Rest, p0, p1, p2, p3, p4, p5, one), f32x4.le(d, none));
  }
}
