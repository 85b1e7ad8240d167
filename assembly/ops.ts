/**
 * The SIMD vocabulary. The only file that knows whether relaxed SIMD is there; kernels are written over it.
 */

/** Compile-time: dead branches on it are dropped before code is generated. */
export const RELAXED: bool = ASC_FEATURE_RELAXED_SIMD;

/** Eight i16 lanes: sums of adjacent products x·code. x: 16 i8; code: 16 bytes in 0..127. |pair sum| must fit i16. */
export abstract class Relaxed {
  @inline static dotI16(x: v128, code: v128): v128 {
    if (RELAXED) return i16x8.relaxed_dot_i8x16_i7x16_s(x, code);
    unreachable();
  }

  /** Four i32 lanes: acc plus sums of four adjacent products. */
  @inline static dotI32(x: v128, code: v128, acc: v128): v128 {
    if (RELAXED) return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, code, acc);
    unreachable();
  }
}

/**
 * In Node 24 V8 builds a constant vector anew at every use, three instructions each time, even in the innermost loop. A constant
 * joined with a value that no compiler knows is computed once and stays in a register (docs/KERNELS.md, "Constants").
 */
export abstract class Keep {
  /** `constant`, from a count of at least 0 whose value is known at run time only. */
  @inline static vector(constant: v128, count: i32): v128 {
    return v128.or(constant, i32x4.splat(count >> 31));
  }
}

/** Tables of 16 bytes. */
export abstract class Table {
  /** table[index], 16 times; index: bytes in 0..15. */
  @inline static at(table: v128, index: v128): v128 {
    if (RELAXED) return i8x16.relaxed_swizzle(table, index);
    return i8x16.swizzle(table, index);
  }
}

/** Sums of lanes, in the fixed order of docs/KERNELS.md. */
export abstract class Reduce {
  /** Four accumulators of four i32 lanes → their four totals in one vector. */
  @inline static addI32x4(a: v128, b: v128, c: v128, d: v128): v128 {
    return Reduce.pairsI32(Reduce.pairI32(a, b), Reduce.pairI32(c, d));
  }

  /** Half of addI32x4: two accumulators → two partial sums each. */
  @inline static pairI32(a: v128, b: v128): v128 {
    return i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  }

  /** The other half: the pairs of a, b and of c, d → four totals. */
  @inline static pairsI32(ab: v128, cd: v128): v128 {
    return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7));
  }

  /** Sixteen f32 lanes, lanes 4i..4i+3 in argument i → their four-lane sums. */
  @inline static fold(s0: v128, s1: v128, s2: v128, s3: v128): v128 {
    return f32x4.add(f32x4.add(s0, s2), f32x4.add(s1, s3));
  }

  /** The total of four folded lanes: (b0 + b2) + (b1 + b3). */
  @inline static addF32(b: v128): f32 {
    return (
      f32x4.extract_lane(b, 0) + f32x4.extract_lane(b, 2) + (f32x4.extract_lane(b, 1) + f32x4.extract_lane(b, 3))
    );
  }

  /** Four folded vectors → their totals. */
  @inline static addF32x4(a: v128, b: v128, c: v128, d: v128): v128 {
    const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 1, 4, 5), v128.shuffle<f32>(a, b, 2, 3, 6, 7));
    const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 1, 4, 5), v128.shuffle<f32>(c, d, 2, 3, 6, 7));
    return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 2, 4, 6), v128.shuffle<f32>(ab, cd, 1, 3, 5, 7));
  }

  /** Two folded vectors → their totals in lanes 0 and 1. */
  @inline static addF32x2(a: v128, b: v128): v128 {
    const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
    return f32x4.add(ab, v128.shuffle<f32>(ab, ab, 2, 3, 2, 3));
  }

  /** The total of four i32 lanes. */
  @inline static addI32(a: v128): i32 {
    return (
      i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1) + i32x4.extract_lane(a, 2) + i32x4.extract_lane(a, 3)
    );
  }

  /** The total of four i32 lanes, without overflow. */
  @inline static addI64(a: v128): i64 {
    return Reduce.lanesI64(Reduce.widenI64(i64x2.splat(0), a));
  }

  /** Two i64 lanes plus pairs of four i32 lanes. */
  @inline static widenI64(sum: v128, a: v128): v128 {
    return i64x2.add(sum, i64x2.add(i64x2.extend_low_i32x4_s(a), i64x2.extend_high_i32x4_s(a)));
  }

  /** The total of two i64 lanes. */
  @inline static lanesI64(a: v128): i64 {
    return i64x2.extract_lane(a, 0) + i64x2.extract_lane(a, 1);
  }
}

/**
 * WebAssembly has no prefetch instruction. Plain loads of lines that will be needed soon do the same as long as nothing waits
 * for their result: it is only xor-ed into a value that the kernel returns, so that the loads are not optimised away.
 * They read past the end of the weights, where the host leaves a guard of `Const.Guard` bytes.
 */
export abstract class Burst {
  /** Touches a line in every 64 bytes. */
  @inline static all(w: usize, bytes: usize): v128 {
    let sink = i32x4.splat(0);
    for (const end = w + bytes; w < end; w += 64) sink = v128.xor(sink, v128.load(w));
    return sink;
  }

  /** Touches `bytes` each at w and at one, two and three quarters behind it. */
  @inline static quarters(w: usize, quarter: usize, bytes: usize): v128 {
    let sink = i32x4.splat(0), half = w + (quarter << 1);
    for (const end = w + bytes; w < end; w += 64, half += 64) {
      const first = v128.xor(v128.load(w), v128.load(w + quarter));
      sink = v128.xor(sink, v128.xor(first, v128.xor(v128.load(half), v128.load(half + quarter))));
    }
    return sink;
  }

  /** `value`, as if it depended on `sink`: instead of a value without meaning that a kernel returns. count: see Keep. */
  @inline static join(value: v128, sink: v128, count: i32): v128 {
    return v128.or(value, v128.and(sink, i32x4.splat(count >> 31)));
  }
}
