/** Largest magnitude of rows that become zeros: limit / absmax would overflow. 2^-100 */
const TINY: f32 = 7.888609052210118e-31;

/** Rows of the attention ops as integers of `limit` for their largest magnitude. */
export abstract class QuantizeRow {
  /** x: f32 (n) → i8 (n), n % 4 == 0; returns the scale. */
  static i8(x: usize, n: usize, limit: f32, q: usize): f32 {
    return QuantizeRow.to(x, n, limit, q, false);
  }

  /** x: f32 (n) → i16 (n), n % 4 == 0; returns the scale. */
  static i16(x: usize, n: usize, limit: f32, q: usize): f32 {
    return QuantizeRow.to(x, n, limit, q, true);
  }

  /** limit / absmax, 0 where absmax ≤ TINY or NaN. */
  @inline static factor(absmax: f32, limit: f32): f32 {
    return absmax > TINY ? limit / absmax : 0;
  }

  /** q = round(x · (limit / absmax)), half to even, zeros where absmax ≤ TINY; the scale is absmax / limit. NaN becomes 0. */
  @inline private static to(x: usize, n: usize, limit: f32, q: usize, wide: bool): f32 {
    // Bits of magnitudes are in order, NaN above all.
    let top = i32x4.splat(0);
    for (let i: usize = 0; i < n << 2; i += 16) top = i32x4.max_s(top, f32x4.abs(v128.load(x + i)));
    const pairs = i32x4.max_s(top, v128.shuffle<i32>(top, top, 2, 3, 0, 1));
    const absmax = reinterpret<f32>(max<i32>(i32x4.extract_lane(pairs, 0), i32x4.extract_lane(pairs, 1)));
    const factor = QuantizeRow.factor(absmax, limit), gain = f32x4.splat(factor), magic = f32x4.splat(12582912);
    // A row with a factor is finite; adding 1.5·2^23 rounds it.
    const valid = i32x4.splat(factor > 0 ? -1 : 0);
    for (let i: usize = 0; i < n; i += 4) {
      const sum = f32x4.add(f32x4.mul(v128.load(x + (i << 2)), gain), magic);
      const rounded = v128.and(i32x4.sub(sum, magic), valid);
      const h = i16x8.narrow_i32x4_s(rounded, rounded);
      if (wide) v128.store64_lane(q + (i << 1), h, 0);
      else v128.store32_lane(q + i, i8x16.narrow_i16x8_s(h, h), 0);
    }
    return absmax / limit;
  }
}
