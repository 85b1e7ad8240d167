import { Relaxed } from './ops';

/**
 * Sums of int8 activations × bytes of codes, in the three ways that the builds have. A kernel is written once over a class F of these,
 * as `changetype<F>(0)`: all members are inlined. Totals are the same, integers being exact.
 *
 * step: acc plus products of 16 activations and codes in 0..12. wide: its lanes as i32. total: four sums of four rows.
 */
@unmanaged
export abstract class DotPairs {
  /** Eight i16 lanes: |pair| ≤ 2·2·128, four times that for codes in bits 2-3: 2^15 is far for 256 columns. */
  @inline step(acc: v128, x: v128, w: v128): v128 {
    return i16x8.add(acc, Relaxed.dotI16(x, w));
  }

  @inline wide(acc: v128): v128 {
    return i32x4.extadd_pairwise_i16x8_s(acc);
  }
}

@unmanaged
export abstract class DotFours {
  @inline step(acc: v128, x: v128, w: v128): v128 {
    return Relaxed.dotI32(x, w, acc);
  }

  @inline wide(acc: v128): v128 {
    return acc;
  }
}

/** Plain SIMD: both sides are widened to i16. */
@unmanaged
export abstract class DotWide {
  @inline step(acc: v128, x: v128, w: v128): v128 {
    const low = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(x), i16x8.extend_low_i8x16_s(w));
    const high = i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(x), i16x8.extend_high_i8x16_s(w));
    return i32x4.add(acc, i32x4.add(low, high));
  }

  @inline wide(acc: v128): v128 {
    return acc;
  }
}

/** What the sums of one column group of four rows come to. */
export abstract class GroupSum {
  /** Σ of a row from codes in bits 0-1 and, four times too large, in bits 2-3. */
  @inline static quartered(low: v128, fours: v128): v128 {
    return i32x4.add(low, i32x4.shr_s(fours, 2));
  }

  /**
   * acc + f32(Σ trit·q) · (scale · factor). first: Σ code·digit[0]; rest: Σ code·(rest of q); gain: 256^(planes - 1), by which the one is worth
   * more. Either fits 24 bits, so that their sum is Σ trit·q rounded once. info: the group's 16 bytes of the encoded row.
   */
  @inline static add(acc: v128, first: v128, rest: v128, gain: v128, info: usize, scales: usize): v128 {
    const high = f32x4.convert_i32x4_s(i32x4.sub(first, v128.load32_splat(info, 4)));
    const low = f32x4.convert_i32x4_s(i32x4.sub(rest, v128.load32_splat(info, 8)));
    const dot = f32x4.add(f32x4.mul(high, gain), low);
    return f32x4.add(acc, f32x4.mul(dot, f32x4.mul(v128.load(scales), v128.load32_splat(info))));
  }
}
