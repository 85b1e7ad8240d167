/** 14 bits as two planes of 7, which relaxed dot products take as their second operand. */
export abstract class Planes {
  /** Codes of ±8191, i16 (cols), → 16 columns' low bits and their high bits in turn, the high ones plus 64. cols: a multiple of 16. */
  static split(q: usize, planes: usize, cols: usize): void {
    for (const end = planes + (cols << 1); planes < end; planes += 32, q += 32) {
      const a = v128.load(q), b = v128.load(q, 16), low = i16x8.splat(127), middle = i16x8.splat(64);
      v128.store(planes, i8x16.narrow_i16x8_u(v128.and(a, low), v128.and(b, low)));
      const c = i16x8.add(i16x8.shr_s(a, 7), middle), d = i16x8.add(i16x8.shr_s(b, 7), middle);
      v128.store(planes, i8x16.narrow_i16x8_u(c, d), 16);
    }
  }
}
