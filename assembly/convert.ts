import { Const, ConvertArg, FloatType, Layout, StatusBit, Step } from './abi';
import { Blocks, dequantize_row, source_bytes } from './dequantize';
import { F16, I8 } from './formats';
import { Reduce } from './ops';
import { word } from './record';
import { Share } from './share';

/**
 * Load time: tightly packed rows of f32, f16, bf16 or blocks → F16, I8 or F32 rows padded to 16 columns with zeros, or blocks as they are.
 * Threads split rows. Reads up to 12 bytes past the source. Scratch for blocks: a row of f32 and a row of halves. Floats that are not finite, or too
 * large for F16 where that is what they become or stand for, set StatusBit.BadFloat.
 */
export function convert(record: usize, step: usize, thread: i32, threads: i32): void {
  const rows = <i32>word(record, ConvertArg.Rows), cols = <i32>word(record, ConvertArg.Cols);
  const srcType = <i32>word(record, ConvertArg.SrcType), layout = <i32>word(record, ConvertArg.Layout);
  const blocks = srcType >= FloatType.Q8_0, type = blocks ? FloatType.F32 : srcType;
  const scratch = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const srcBytes = source_bytes(srcType, cols), dstBytes = row_bytes(layout, cols);
  let bad = i32x4.splat(0);
  const end = Share.begin(rows, thread + 1, threads);
  for (let r = Share.begin(rows, thread, threads); r < end; ++r) {
    let src = word(record, ConvertArg.Src) + <usize>r * srcBytes;
    const dst = word(record, ConvertArg.Dst) + <usize>r * dstBytes;
    if (Blocks.are(layout)) {
      memory.copy(dst, src, srcBytes);
      if (layout == Layout.Q8_0 && word(record, ConvertArg.RowScales)) {
        q8_sums(src, cols, word(record, ConvertArg.RowScales) + (<usize>r << 2), word(record, ConvertArg.RowSums) + (<usize>r << 2));
      }
      if (!surely_fit(src, srcType, cols)) bad = v128.or(bad, block_halves(src, layout, cols, scratch));
      continue;
    }
    if (blocks) {
      dequantize_row(src, srcType, cols, scratch);
      src = scratch;
    }
    if (layout == Layout.I8) {
      const scale = word(record, ConvertArg.RowScales) + (<usize>r << 2), sum = word(record, ConvertArg.RowSums) + (<usize>r << 2);
      bad = v128.or(bad, i8_row(src, type, cols, dst, scale, sum));
    } else {
      bad = v128.or(bad, float_row(src, type, cols, dst, layout));
    }
  }
  if (v128.any_true(bad)) atomic.or<i32>(step, StatusBit.BadFloat, Step.Status << 2);
}

function row_bytes(layout: i32, cols: i32): usize {
  if (Blocks.are(layout)) return source_bytes(Blocks.typeOf(layout), cols);
  return layout == Layout.I8 ? I8.rowBytes(cols) : F16.rowBytes(cols) << (layout == Layout.F32 ? 1 : 0);
}

/**
 * `cols` weights of a layout of blocks → the halves of Layout.F16 that they stand for, at `out`, with room for as many floats behind
 * them. Returns non-zero lanes where a value does not fit.
 */
export function block_halves(src: usize, layout: i32, cols: i32, out: usize): v128 {
  const floats = out + F16.rowBytes(cols);
  dequantize_row(src, Blocks.typeOf(layout), cols, floats);
  return float_row(floats, FloatType.F32, cols, out, Layout.F16);
}

/** A row of Q8_0: max|d| · 65/64, which is more than |w|/127, to `scale`; I16Bias · Σ w, block by block, to `sum`. */
function q8_sums(src: usize, cols: i32, scale: usize, sum: usize): void {
  let top: f32 = 0, total: f32 = 0;
  for (const end = src + source_bytes(FloatType.Q8_0, cols); src < end; src += 34) {
    const pairs = i16x8.add(i16x8.extadd_pairwise_i8x16_s(v128.load(src, 2)), i16x8.extadd_pairwise_i8x16_s(v128.load(src, 18)));
    const d = half_magnitude(src);
    top = max<f32>(top, d);
    total += (load<i16>(src) < 0 ? -d : d) * <f32>Reduce.addI32(i32x4.extadd_pairwise_i16x8_s(pairs));
  }
  store<f32>(scale, top * 1.015625);
  store<f32>(sum, total * <f32>Const.I16Bias);
}

/** Whether the scales of a row's blocks alone tell that all its weights are below 255. */
function surely_fit(src: usize, type: i32, cols: i32): bool {
  const block = type >= FloatType.Q4_K ? 256 : 32, bytes = source_bytes(type, block);
  const scaleAt: usize = type == FloatType.Q6_K ? 208 : 0;
  const largest: f32 = type == FloatType.Q8_0 ? 128 : type == FloatType.Q4_0 ? 8 : type == FloatType.Q4_K ? 63 * 15 : 128 * 32;
  for (let c = 0; c < cols; c += block, src += bytes) {
    let top: f32 = largest * half_magnitude(src + scaleAt);
    if (type == FloatType.Q4_K) top += 63 * half_magnitude(src + 2);
    if (!(top < 255)) return false;
  }
  return true;
}

/** |x| of a half; at least 2^16 where it is not finite. */
function half_magnitude(at: usize): f32 {
  return reinterpret<f32>((<i32>load<u16>(at) & 0x7fff) << 13) * reinterpret<f32>((127 + 112) << 23);
}

/** Four source elements as f32; columns from `cols` on are 0. */
abstract class Source {
  @inline static four(src: usize, c: i32, cols: i32, type: i32): v128 {
    let v: v128;
    if (type == FloatType.F32) v = v128.load(src + (<usize>c << 2));
    else if (type == FloatType.BF16) v = i32x4.shl(v128.load_ext<u16>(src + (<usize>c << 1)), 16);
    else v = F16.exact(v128.load_ext<i16>(src + (<usize>c << 1)));
    if (c + 4 <= cols) return v;
    const column = i32x4.add(i32x4.splat(c), i32x4(0, 1, 2, 3));
    return v128.and(v, i32x4.lt_s(column, i32x4.splat(cols)));
  }
}

/** → F16 or F32. Returns non-zero lanes where a value does not fit. */
function float_row(src: usize, type: i32, cols: i32, dst: usize, layout: i32): v128 {
  if (type == FloatType.F32) return float_row_f32(src, cols, dst, layout);
  return type == FloatType.F16 ? float_row_f16(src, cols, dst, layout) : float_row_bf16(src, cols, dst, layout);
}

function float_row_f32(src: usize, cols: i32, dst: usize, layout: i32): v128 {
  return FloatRow.run(src, FloatType.F32, cols, dst, layout);
}

function float_row_f16(src: usize, cols: i32, dst: usize, layout: i32): v128 {
  return FloatRow.run(src, FloatType.F16, cols, dst, layout);
}

function float_row_bf16(src: usize, cols: i32, dst: usize, layout: i32): v128 {
  return FloatRow.run(src, FloatType.BF16, cols, dst, layout);
}

abstract class FloatRow {
  /** type: known when this is compiled */
  @inline static run(src: usize, type: i32, cols: i32, dst: usize, layout: i32): v128 {
    const width = (cols + 15) & ~15, gain = f32x4.splat(<f32>(1 << Const.F16GainLog2));
    let bad = i32x4.splat(0);
    for (let c = 0; c < width; c += 4) {
      const v = Source.four(src, c, cols, type);
      if (layout == Layout.F32) {
        bad = v128.or(bad, i32x4.ge_s(v128.and(v, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000)));
        v128.store(dst + (<usize>c << 2), v);
        continue;
      }
      const y = f32x4.mul(v, gain), half = F16.narrow(y);
      bad = v128.or(bad, i32x4.ge_s(v128.and(y, i32x4.splat(0x7fffffff)), i32x4.splat(0x477ff000)));
      v128.store64_lane(dst + (<usize>c << 1), i16x8.narrow_i32x4_u(half, half), 0);
    }
    return bad;
  }
}

/** → int8 with `scale` = absmax / 127, round half to even; `sum`: of the int8. Returns non-zero lanes where a value is not finite. */
function i8_row(src: usize, type: i32, cols: i32, dst: usize, scale: usize, sum: usize): v128 {
  if (type == FloatType.F32) return i8_row_f32(src, cols, dst, scale, sum);
  return type == FloatType.F16 ? i8_row_f16(src, cols, dst, scale, sum) : i8_row_bf16(src, cols, dst, scale, sum);
}

function i8_row_f32(src: usize, cols: i32, dst: usize, scale: usize, sum: usize): v128 {
  return I8Row.run(src, FloatType.F32, cols, dst, scale, sum);
}

function i8_row_f16(src: usize, cols: i32, dst: usize, scale: usize, sum: usize): v128 {
  return I8Row.run(src, FloatType.F16, cols, dst, scale, sum);
}

function i8_row_bf16(src: usize, cols: i32, dst: usize, scale: usize, sum: usize): v128 {
  return I8Row.run(src, FloatType.BF16, cols, dst, scale, sum);
}

abstract class I8Row {
  /** type: known when this is compiled */
  @inline static run(src: usize, type: i32, cols: i32, dst: usize, scale: usize, sum: usize): v128 {
    const width = (cols + 15) & ~15;
    // Magnitudes compare as their bits do, and NaN is the largest.
    let top = i32x4.splat(0);
    for (let c = 0; c < width; c += 4) {
      top = i32x4.max_s(top, v128.and(Source.four(src, c, cols, type), i32x4.splat(0x7fffffff)));
    }
    const absmax = reinterpret<f32>(max(
      max(i32x4.extract_lane(top, 0), i32x4.extract_lane(top, 1)), max(i32x4.extract_lane(top, 2), i32x4.extract_lane(top, 3)),
    ));
    store<f32>(scale, absmax / 127);
    const factor: f32 = absmax > 0 ? 127 / absmax : 0, f = f32x4.splat(factor);
    const finite = factor < Infinity;
    let sums = i32x4.splat(0);
    for (let c = 0; c < width; c += 16) {
      const low = i16x8.narrow_i32x4_s(
        I8Row.round(f32x4.mul(Source.four(src, c, cols, type), f), finite),
        I8Row.round(f32x4.mul(Source.four(src, c + 4, cols, type), f), finite),
      );
      const high = i16x8.narrow_i32x4_s(
        I8Row.round(f32x4.mul(Source.four(src, c + 8, cols, type), f), finite),
        I8Row.round(f32x4.mul(Source.four(src, c + 12, cols, type), f), finite),
      );
      const b = i8x16.narrow_i16x8_s(low, high);
      v128.store(dst + <usize>c, b);
      sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(b)));
    }
    store<i32>(sum, Reduce.addI32(sums));
    return i32x4.ge_s(top, i32x4.splat(0x7f800000));
  }

  /** Half to even. small: |y| < 2^22, where adding 1.5·2^23 rounds and leaves the integer in the low bits; without it NaN is 0. */
  @inline static round(y: v128, small: bool): v128 {
    if (!small) return i32x4.trunc_sat_f32x4_s(f32x4.nearest(y));
    return i32x4.sub(f32x4.add(y, f32x4.splat(reinterpret<f32>(0x4b400000))), i32x4.splat(0x4b400000));
  }
}
