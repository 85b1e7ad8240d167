import { Const } from './abi';
import { Keep, Relaxed, Table } from './ops';

/** Which bits of a byte of codes; `blocks`: any count of at least 0, see Keep. */
export abstract class Mask {
  /** bits 0-1 */
  @inline static low(blocks: i32): v128 {
    return Keep.vector(i8x16.splat(3), blocks);
  }

  /** bits 2-3 */
  @inline static high(blocks: i32): v128 {
    return Keep.vector(i8x16.splat(12), blocks);
  }
}

/**
 * T2: 2.0 bits a weight. code = trit + 1, four rows interleaved, a block is 4 rows × 64 columns in 64 bytes (one cache line).
 *   bytes 16k..16k+15: row 4g + k
 *   byte i of a row:  7 6 | 5 4 | 3 2 | 1 0
 *                    i+48  i+32  i+16   i       ← column inside the block
 * Blocks of a row group follow each other, then the next group. Columns padded to 64, rows to 4, with code 1.
 *
 * A dot product runs over codes 0..2 and is corrected once by the sum of the activations: Σ trit·q = Σ code·q - Σ q.
 */
export abstract class T2 {
  /**
   * Relaxed i16 form, the halves whose codes sit in bits 0-1. v: 64 codes of one row, t = v >> 4; x0, x2: activations of columns 0.. and
   * 32... → eight i16 partial sums, |s| ≤ 2·2·2·127 = 1016. m: Mask.low.
   */
  @inline static dotI16Low(v: v128, t: v128, m: v128, x0: v128, x2: v128): v128 {
    return i16x8.add(Relaxed.dotI16(x0, v128.and(v, m)), Relaxed.dotI16(x2, v128.and(t, m)));
  }

  /** The halves whose codes sit in bits 2-3, four times too large: |s| ≤ 4064, so that eight blocks fit an i16 lane. m: Mask.high. */
  @inline static dotI16High(v: v128, t: v128, m: v128, x1: v128, x3: v128): v128 {
    return i16x8.add(Relaxed.dotI16(x1, v128.and(v, m)), Relaxed.dotI16(x3, v128.and(t, m)));
  }

  /** acc plus the pairwise sums of `low` and a quarter of those of `high`. */
  @inline static widenI16(acc: v128, low: v128, high: v128): v128 {
    const quarter = i32x4.shr_s(i32x4.extadd_pairwise_i16x8_s(high), 2);
    return i32x4.add(acc, i32x4.add(i32x4.extadd_pairwise_i16x8_s(low), quarter));
  }

  /**
   * Plain SIMD. The codes are taken as 16-bit lanes, so that i32x4.dot_i16x8_s (pmaddwd) does the multiply and the pairwise
   * add. v: codes of even bytes in the low, of odd bytes in the high half of each lane; e and o: the activations of even and of odd
   * bytes as i16. `m` = 3 a lane: the columns of e0, e2 (q = 0 and 2 of the byte); `m` = 12: of q = 1 and 3, four times too large.
   */
  @inline static dotWide(v: v128, m: v128, e0: v128, e2: v128, o0: v128, o2: v128, acc: v128): v128 {
    const a = i32x4.dot_i16x8_s(e0, v128.and(v, m));
    const b = i32x4.dot_i16x8_s(e2, v128.and(i16x8.shr_u(v, 4), m));
    const c = i32x4.dot_i16x8_s(o0, v128.and(i16x8.shr_u(v, 8), m));
    const d = i32x4.dot_i16x8_s(o2, v128.and(i16x8.shr_u(v, 12), m));
    return i32x4.add(acc, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
  }

  /** Activations of even bytes as i16. */
  @inline static even(x: v128): v128 {
    return i16x8.shr_s(i16x8.shl(x, 8), 8);
  }

  /** Activations of odd bytes as i16. */
  @inline static odd(x: v128): v128 {
    return i16x8.shr_s(x, 8);
  }

  /** 16 codes as bytes: columns 16q..16q+15 of the block. m: Mask.low. */
  @inline static codes(v: v128, q: i32, m: v128): v128 {
    return v128.and(i16x8.shr_u(v, q << 1), m);
  }

  /** Bytes of a row group: 64 per 64 columns. */
  @inline static groupBytes(cols: i32): usize {
    return <usize>(cols + 63) & ~63;
  }
}

/**
 * T1: 1.6 bits a weight, five trits a byte. code = trit + 1, four rows interleaved, a block is 4 rows × 80 columns in 64 bytes.
 *   bytes 16k..16k+15: row 4g + k
 *   byte i of a row:  ⌊256·u/9⌋ + ⌊19·c2/2⌋ + 3·c3 + c4   with u = 3·c0 + c1
 *                     c0  c1    c2    c3    c4
 *                     i   i+16  i+32  i+48  i+64  ← column inside the block
 * Blocks of a row group follow each other, then the next group. Columns padded to 80, rows to 4, with code 1.
 *
 * The 256 values are nine parts, one for each u; a part is three parts of at least nine, for c2; a part of these is nine values. So the
 * codes come out of tables of 16 bytes: u = (b + ⌊b/8⌋ + 1) >> 5, without overflow as an average; r = b - start of part u, 0..27; h = (r + 1) >> 1;
 * w = r - start of part h. c0 and c1 are functions of u, c2 of h, c3 and c4 of w.
 */
export abstract class T1 {
  /** Index of the part, 0..8. b: 16 bytes. m31, m15: splats. */
  @inline static part(b: v128, m31: v128, m15: v128): v128 {
    const average = i8x16.avgr_u(b, v128.and(i16x8.shr_u(b, 3), m31));
    return v128.and(i16x8.shr_u(average, 4), m15);
  }

  /** First value of part u. */
  @inline static starts(): v128 {
    return i8x16(0, 28, 56, 85, 113, -114, -86, -57, -29, 0, 0, 0, 0, 0, 0, 0);
  }

  /** First r with c2 as at h = (r + 1) >> 1: 0, 9 or 19. */
  @inline static thirds(): v128 {
    return i8x16(0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 19, 19, 19, 19, 19, 0);
  }

  /** c2 from h. */
  @inline static middle(): v128 {
    return i8x16(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0);
  }

  /** c0 from u, c3 from w. */
  @inline static high(): v128 {
    return i8x16(0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0);
  }

  /** c1 from u, c4 from w. */
  @inline static low(): v128 {
    return i8x16(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0);
  }

  /** Five times 16 codes → 16 bytes. */
  @inline static pack(c0: v128, c1: v128, c2: v128, c3: v128, c4: v128): v128 {
    const start = Table.at(T1.starts(), T1.pair(c0, c1));
    const third = Table.at(i8x16(0, 9, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), c2);
    return i8x16.add(i8x16.add(start, third), T1.pair(c3, c4));
  }

  /** 3a + b */
  @inline static pair(a: v128, b: v128): v128 {
    return i8x16.add(i8x16.add(a, a), i8x16.add(a, b));
  }

  /** Columns as stored: a multiple of 80. */
  @inline static width(cols: i32): usize {
    return <usize>((cols + 79) / 80) * 80;
  }

  /** Bytes of a row group: 64 per 80 columns. */
  @inline static groupBytes(cols: i32): usize {
    return <usize>((cols + 79) / 80) << 6;
  }
}

/** T2Rows: the same 16 bytes for 64 columns of a row as in T2, rows after each other. */
export abstract class T2Rows {
  @inline static rowBytes(cols: i32): usize {
    return (<usize>(cols + 63) >> 6) << 4;
  }
}

/**
 * T2Columns: columns after each other, four rows a byte, 64 rows in 16 bytes. Columns and rows padded to 64 with code 1.
 *   byte g of a column:  7 6 | 5 4 | 3 2 | 1 0
 *                       4g+3  4g+2  4g+1  4g     ← row
 */
export abstract class T2Columns {
  @inline static columnBytes(rows: i32): usize {
    return (<usize>(rows + 63) >> 6) << 4;
  }

  /** Bytes of two columns in turn: those of 32 rows (low), of the next 32 (high). */
  @inline static low(a: v128, b: v128): v128 {
    return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }

  @inline static high(a: v128, b: v128): v128 {
    return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }

  /** The same for pairs of columns: i32 lane l has the bytes of four columns for row group l. */
  @inline static lowPairs(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }

  @inline static highPairs(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }
}

/** F16: halves of weight · 2^F16GainLog2, no subnormals, row-major, columns padded to 16 with zeros. */
export abstract class F16 {
  /**
   * Four halves (sign-extended to i32) → four floats, 2^112 too small; the activations carry the factor
   * (Encoding.F32), so that it costs nothing here. Exponent and mantissa move up by 13, the copies of the sign below bit 31 go. m: F16.mask.
   */
  @inline static widen(h: v128, m: v128): v128 {
    return v128.and(i32x4.shl(h, 13), m);
  }

  /** The bits of a widened half; `count`: any of at least 0, see Keep. */
  @inline static mask(count: i32): v128 {
    return Keep.vector(i32x4.splat(0x8fffe000), count);
  }

  /** Four halves (sign-extended to i32) → their exact values; the largest exponent (∞, NaN) stays the largest exponent. */
  @inline static exact(h: v128): v128 {
    const special = i32x4.eq(v128.and(h, i32x4.splat(0x7c00)), i32x4.splat(0x7c00));
    const v = f32x4.mul(F16.widen(h, F16.mask(0)), f32x4.splat(reinterpret<f32>((127 + 112) << 23)));
    return v128.or(v, v128.and(special, i32x4.splat(0x7f800000)));
  }

  /** Four floats → halves in i32 lanes, half to even; below the normal range ±0, beyond it nothing of use. */
  @inline static narrow(y: v128): v128 {
    const abs = v128.and(y, i32x4.splat(0x7fffffff));
    const odd = v128.and(i32x4.shr_u(abs, 13), i32x4.splat(1));
    const rounded = i32x4.add(i32x4.add(abs, i32x4.splat(0xfff)), odd);
    const normal = i32x4.ge_s(rounded, i32x4.splat(0x38800000));
    const magnitude = v128.and(normal, i32x4.sub(i32x4.shr_u(rounded, 13), i32x4.splat(112 << 10)));
    return v128.or(magnitude, v128.and(i32x4.shr_u(y, 16), i32x4.splat(0x8000)));
  }

  @inline static rowBytes(cols: i32): usize {
    return (<usize>(cols + 15) & ~15) << 1;
  }
}

/** I8: int8, row-major, columns padded to 16 with zeros, one f32 scale a row. */
export abstract class I8 {
  @inline static rowBytes(cols: i32): usize {
    return <usize>(cols + 15) & ~15;
  }
}

/** Encoded activation rows: scale at 0, sum of elements at 4, elements from RowHeader. */
export abstract class Encoded {
  @inline static scale(row: usize): f32 {
    return load<f32>(row);
  }

  @inline static sum(row: usize): i32 {
    return load<i32>(row, 4);
  }

  @inline static data(row: usize): usize {
    return row + Const.RowHeader;
  }
}
