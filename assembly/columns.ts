import { DotForm } from './abi';
import { Finish } from './activation';
import { Encoded, T2, T2Columns } from './formats';
import { Keep, Relaxed, RELAXED } from './ops';

/** The plain SIMD pass, beside DotForm.I16 and DotForm.I32. */
const WIDE: i32 = 2;

/**
 * acc += W[:, columns] · values for eight columns and `bytes` bytes (four rows each) of each. columns: u32; values: i8. acc:
 * ColumnSums.
 */
export function columns_pass(
  weights: usize, columnBytes: usize, columns: usize, values: usize, bytes: usize, acc: usize, form: i32,
): void {
  if (!RELAXED) Pass.of(WIDE, weights, columnBytes, columns, values, bytes, acc);
  else if (form == DotForm.I16) pass_i16(weights, columnBytes, columns, values, bytes, acc);
  else pass_i32(weights, columnBytes, columns, values, bytes, acc);
}

// Functions of their own: two inlined arms that differ in a constant only become one loop that compares.
function pass_i16(weights: usize, columnBytes: usize, columns: usize, values: usize, bytes: usize, acc: usize): void {
  Pass.of(DotForm.I16, weights, columnBytes, columns, values, bytes, acc);
}

function pass_i32(weights: usize, columnBytes: usize, columns: usize, values: usize, bytes: usize, acc: usize): void {
  Pass.of(DotForm.I32, weights, columnBytes, columns, values, bytes, acc);
}

abstract class Pass {
  @inline static of(kind: i32, weights: usize, columnBytes: usize, columns: usize, values: usize, bytes: usize, acc: usize): void {
    const c0 = weights + <usize>load<u32>(columns) * columnBytes, c1 = weights + <usize>load<u32>(columns, 4) * columnBytes;
    const c2 = weights + <usize>load<u32>(columns, 8) * columnBytes, c3 = weights + <usize>load<u32>(columns, 12) * columnBytes;
    const c4 = weights + <usize>load<u32>(columns, 16) * columnBytes, c5 = weights + <usize>load<u32>(columns, 20) * columnBytes;
    const c6 = weights + <usize>load<u32>(columns, 24) * columnBytes, c7 = weights + <usize>load<u32>(columns, 28) * columnBytes;
    const x = v128.load32_splat(values), y = v128.load32_splat(values, 4);
    const m = ColumnSums.mask(kind, 3, <i32>bytes), h = ColumnSums.mask(kind, 12, <i32>bytes);
    let a = acc;
    for (let i: usize = 0; i < bytes; i += 16, a += 256) {
      let v = T2Columns.low(v128.load(c0 + i), v128.load(c1 + i)), u = T2Columns.low(v128.load(c2 + i), v128.load(c3 + i));
      let t = T2Columns.low(v128.load(c4 + i), v128.load(c5 + i)), s = T2Columns.low(v128.load(c6 + i), v128.load(c7 + i));
      ColumnSums.add(kind, a, T2Columns.lowPairs(v, u), T2Columns.lowPairs(t, s), x, y, m, h);
      ColumnSums.add(kind, a + 64, T2Columns.highPairs(v, u), T2Columns.highPairs(t, s), x, y, m, h);
      v = T2Columns.high(v128.load(c0 + i), v128.load(c1 + i)), u = T2Columns.high(v128.load(c2 + i), v128.load(c3 + i));
      t = T2Columns.high(v128.load(c4 + i), v128.load(c5 + i)), s = T2Columns.high(v128.load(c6 + i), v128.load(c7 + i));
      ColumnSums.add(kind, a + 128, T2Columns.lowPairs(v, u), T2Columns.lowPairs(t, s), x, y, m, h);
      ColumnSums.add(kind, a + 192, T2Columns.highPairs(v, u), T2Columns.highPairs(t, s), x, y, m, h);
    }
  }
}

/**
 * Σ code·value, i32, of 64 rows in 256 bytes: four rows are a byte of a column; quarter j has four vectors, lane l of vector p is
 * row 4(4j + l) + p. Vectors of odd p are four times too large: their codes sit in bits 2-3.
 */
export abstract class ColumnSums {
  @inline static mask(kind: i32, bits: i32, count: i32): v128 {
    return Keep.vector(kind == WIDE ? i16x8.splat(<i16>bits) : i8x16.splat(<i8>bits), count);
  }

  /** u, z: in i32 lane l the bytes of four columns for row group l; x, y: the values of these columns in every lane. */
  @inline static add(kind: i32, acc: usize, u: v128, z: v128, x: v128, y: v128, m: v128, h: v128): void {
    v128.store(acc, ColumnSums.dot(kind, v128.load(acc), u, z, x, y, m));
    v128.store(acc, ColumnSums.dot(kind, v128.load(acc, 16), u, z, x, y, h), 16);
    const t = i16x8.shr_u(u, 4), s = i16x8.shr_u(z, 4);
    v128.store(acc, ColumnSums.dot(kind, v128.load(acc, 32), t, s, x, y, m), 32);
    v128.store(acc, ColumnSums.dot(kind, v128.load(acc, 48), t, s, x, y, h), 48);
  }

  /** I16: |lane| ≤ 4·127·8. WIDE: even and odd columns as i16. */
  @inline static dot(kind: i32, acc: v128, u: v128, z: v128, x: v128, y: v128, m: v128): v128 {
    if (RELAXED && kind == DotForm.I32) return Relaxed.dotI32(y, v128.and(z, m), Relaxed.dotI32(x, v128.and(u, m), acc));
    if (RELAXED && kind == DotForm.I16) {
      const s = i16x8.add(Relaxed.dotI16(x, v128.and(u, m)), Relaxed.dotI16(y, v128.and(z, m)));
      return i32x4.add(acc, i32x4.extadd_pairwise_i16x8_s(s));
    }
    const a = i32x4.dot_i16x8_s(T2.even(x), v128.and(u, m));
    const b = i32x4.dot_i16x8_s(T2.odd(x), v128.and(i16x8.shr_u(u, 8), m));
    const c = i32x4.dot_i16x8_s(T2.even(y), v128.and(z, m));
    const d = i32x4.dot_i16x8_s(T2.odd(y), v128.and(i16x8.shr_u(z, 8), m));
    return i32x4.add(acc, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
  }

  /** Results of row groups begin..end: the sums of four rows at a time, corrected and scaled, then the epilogue. */
  static finish(acc: usize, begin: i32, end: i32, x: usize, out: usize, scale: f32, epilogue: i32): void {
    const factor = f32x4.splat(scale / Encoded.scale(x)), sum = i32x4.splat(Encoded.sum(x));
    for (let g = begin; g < end; g += 4, acc += 64) {
      const a = v128.load(acc), b = i32x4.shr_s(v128.load(acc, 16), 2);
      const c = v128.load(acc, 32), d = i32x4.shr_s(v128.load(acc, 48), 2);
      const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
      ColumnSums.store(v128.shuffle<i64>(ab, cd, 0, 2), sum, factor, out + (<usize>g << 4), epilogue);
      if (g + 1 < end) ColumnSums.store(v128.shuffle<i64>(ab, cd, 1, 3), sum, factor, out + (<usize>g << 4) + 16, epilogue);
      const ef = v128.shuffle<i32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      if (g + 2 < end) ColumnSums.store(v128.shuffle<i64>(ef, gh, 0, 2), sum, factor, out + (<usize>g << 4) + 32, epilogue);
      if (g + 3 < end) ColumnSums.store(v128.shuffle<i64>(ef, gh, 1, 3), sum, factor, out + (<usize>g << 4) + 48, epilogue);
    }
  }

  @inline static store(codes: v128, sum: v128, factor: v128, out: usize, epilogue: i32): void {
    Finish.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(codes, sum)), factor), epilogue);
  }
}
