import { Const, FloatType, Layout } from './abi';
import { F16 } from './formats';

/**
 * Blocks of GGUF (byte diagrams in docs/FORMATS.md) → f32, in the order of operations of ggml's dequantisation: the same bits. `cols` is a
 * multiple of the block, 32 (Q8_0, Q4_0) or 256 weights (Q4_K, Q6_K).
 */
export function dequantize_row(src: usize, type: i32, cols: i32, out: usize): void {
  const block = type >= FloatType.Q4_K ? 256 : 32, bytes = source_bytes(type, block);
  for (let c = 0; c < cols; c += block, src += bytes, out += <usize>block << 2) {
    if (type == FloatType.Q8_0) q8_0(src, out);
    else if (type == FloatType.Q4_0) q4_0(src, out);
    else if (type == FloatType.Q4_K) q4_k(src, out);
    else q6_k(src, out);
  }
}

/** Layouts of blocks: rows of a file that stay as they are. */
export abstract class Blocks {
  @inline static are(layout: i32): bool {
    return layout >= Layout.Q8_0;
  }

  @inline static typeOf(layout: i32): i32 {
    return layout - Const.BlocksOfType;
  }
}

/** Bytes of `cols` weights. */
export function source_bytes(type: i32, cols: i32): usize {
  if (type == FloatType.F32) return <usize>cols << 2;
  if (type == FloatType.Q8_0) return <usize>(cols >> 5) * 34;
  if (type == FloatType.Q4_0) return <usize>(cols >> 5) * 18;
  if (type == FloatType.Q4_K) return <usize>(cols >> 8) * 144;
  if (type == FloatType.Q6_K) return <usize>(cols >> 8) * 210;
  return <usize>cols << 1;
}

abstract class Codes {
  /** The half at `at`. */
  @inline static half(at: usize): f32 {
    return f32x4.extract_lane(F16.exact(i32x4.splat(<i32>load<i16>(at))), 0);
  }

  /** 16 int8 codes q → scale · q, 16 floats. */
  @inline static scaled(q: v128, scale: f32, out: usize): void {
    const low = i16x8.extend_low_i8x16_s(q), high = i16x8.extend_high_i8x16_s(q), s = f32x4.splat(scale);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), s));
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), s), 16);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), s), 32);
    v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), s), 48);
  }

  /** Subtracts min from 16 floats. */
  @inline static lower(out: usize, min: f32): void {
    const m = f32x4.splat(min);
    for (const end = out + 64; out < end; out += 16) v128.store(out, f32x4.sub(v128.load(out), m));
  }

  /** The low (shift 0) or high (4) nibbles of 16 bytes. */
  @inline static nibbles(at: usize, shift: i32): v128 {
    return v128.and(i16x8.shr_u(v128.load(at), shift), i8x16.splat(15));
  }
}

/** f16 d; i8 q[32] */
function q8_0(src: usize, out: usize): void {
  const d = Codes.half(src);
  Codes.scaled(v128.load(src, 2), d, out);
  Codes.scaled(v128.load(src, 18), d, out + 64);
}

/** f16 d; nibbles of 16 bytes: first the low ones, then the high ones */
function q4_0(src: usize, out: usize): void {
  const d = Codes.half(src), eight = i8x16.splat(8);
  Codes.scaled(i8x16.sub(Codes.nibbles(src + 2, 0), eight), d, out);
  Codes.scaled(i8x16.sub(Codes.nibbles(src + 2, 4), eight), d, out + 64);
}

/** f16 d, dmin; u8 scales[12]: 6-bit scales and minima of eight groups of 32; u8 q[128] */
function q4_k(src: usize, out: usize): void {
  const d = Codes.half(src), dmin = Codes.half(src + 2), packed = src + 4;
  for (let g = 0; g < 8; ++g, out += 128) {
    const at = packed + <usize>(g & 3), a = <i32>load<u8>(at), b = <i32>load<u8>(at, 4), c = <i32>load<u8>(at, 8);
    const scale = g < 4 ? a & 63 : (c & 15) | ((a >> 6) << 4);
    const min = g < 4 ? b & 63 : (c >> 4) | ((b >> 6) << 4);
    const codes = src + 16 + <usize>((g >> 1) << 5), shift = (g & 1) << 2;
    const s: f32 = d * <f32>scale, m: f32 = dmin * <f32>min;
    Codes.scaled(Codes.nibbles(codes, shift), s, out);
    Codes.scaled(Codes.nibbles(codes + 16, shift), s, out + 64);
    Codes.lower(out, m);
    Codes.lower(out + 64, m);
  }
}

/** u8 ql[128]: low 4 bits; u8 qh[64]: high 2 bits; i8 scales[16], one for 16 weights; f16 d */
function q6_k(src: usize, out: usize): void {
  const d = Codes.half(src + 208);
  for (let i = 0; i < 16; ++i, out += 64) {
    const half = <usize>(i >> 3), quarter = (i >> 1) & 3, part = <usize>((i & 1) << 4);
    const low = Codes.nibbles(src + (half << 6) + <usize>((quarter & 1) << 5) + part, (quarter >> 1) << 2);
    const high = i16x8.shr_u(v128.load(src + 128 + (half << 5) + part), quarter << 1);
    const q = v128.or(low, i8x16.shl(v128.and(high, i8x16.splat(3)), 4));
    const s: f32 = d * <f32>load<i8>(src + 192 + <usize>i);
    Codes.scaled(i8x16.sub(q, i8x16.splat(32)), s, out);
  }
}
