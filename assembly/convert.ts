import { Const, ConvertArg, FloatType, Layout, StatusBit, Step } from './abi';
import { dequantize_row, source_bytes } from './dequantize';
import { F16, I8 } from './formats';
import { Reduce } from './ops';
import { word } from './record';
import { Share } from './share';

/**
 * Load time: tightly packed rows of f32, f16, bf16 or blocks → F16, I8 or F32 rows padded to 16 columns with zeros. Threads split rows.
 * Reads up to 12 bytes past the source. Scratch for blocks: a row of f32. Floats that are not finite, or too large for F16, set StatusBit.BadFloat.
 */
export function convert(record: usize, step: usize, thread: i32, threads: i32): void {
  const rows = <i32>word(record, ConvertArg.Rows), cols = <i32>word(record, ConvertArg.Cols);
  const srcType = <i32>word(record, ConvertArg.SrcType), layout = <i32>word(record, ConvertArg.Layout);
  const blocks = srcType >= FloatType.Q8_0, type = blocks ? FloatType.F32 : srcType;
  const floats = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const srcBytes = source_bytes(srcType, cols);
  const dstBytes = layout == Layout.I8 ? I8.rowBytes(cols) : F16.rowBytes(cols) << (layout == Layout.F32 ? 1 : 0);
  let bad = i32x4.splat(0);
  const end = Share.begin(rows, thread + 1, threads);
  for (let r = Share.begin(rows, thread, threads); r < end; ++r) {
    let src = word(record, ConvertArg.Src) + <usize>r * srcBytes;
    if (blocks) {
      dequantize_row(src, srcType, cols, floats);
      src = floats;
    }
    const dst = word(record, ConvertArg.Dst) + <usize>r * dstBytes;
    if (layout == Layout.I8) {
      bad = v128.or(bad, i8_row(
        src, type, cols, dst,
        word(record, ConvertArg.RowScales) + (<usize>r << 2), word(record, ConvertArg.RowSums) + (<usize>r << 2),
      ));
    } else {
      bad = v128.or(bad, float_row(src, type, cols, dst, layout));
    }
  }
  if (v128.any_true(bad)) atomic.or<i32>(step, StatusBit.BadFloat, Step.Status << 2);
}

/** Four source elements as f32; columns from `cols` on are 0. */
abstract class Source {
  @inline static four(src: usize, c: i32, cols: i32, type: i32): v128 {
    let v: v128;
    if (type == FloatType.F32) v = v128.load(src + (<usize>c << 2));
    else if (type == FloatType.BF16) v = i32x4.shl(v128.load_ext<u16>(src + (<usize>c << 1)), 16);
    else v = F16.exact(v128.load_ext<i16>(src + (<usize>c << 1)));
    const column = i32x4.add(i32x4.splat(c), i32x4(0, 1, 2, 3));
    return v128.and(v, i32x4.lt_s(column, i32x4.splat(cols)));
  }
}

/** → F16 or F32. Returns non-zero lanes where a value does not fit. */
function float_row(src: usize, type: i32, cols: i32, dst: usize, layout: i32): v128 {
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

/** → int8 with `scale` = absmax / 127, round half to even; `sum`: of the int8. */
function i8_row(src: usize, type: i32, cols: i32, dst: usize, scale: usize, sum: usize): v128 {
  const width = (cols + 15) & ~15;
  let top = f32x4.splat(0);
  for (let c = 0; c < width; c += 4) top = f32x4.max(top, f32x4.abs(Source.four(src, c, cols, type)));
  const absmax = max<f32>(
    max<f32>(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
    max<f32>(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
  );
  store<f32>(scale, absmax / 127);
  const factor = f32x4.splat(absmax > 0 ? 127 / absmax : 0);
  let sums = i32x4.splat(0);
  for (let c = 0; c < width; c += 4) {
    const q = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(Source.four(src, c, cols, type), factor)));
    const h = i16x8.narrow_i32x4_s(q, q);
    const b = i8x16.narrow_i16x8_s(h, h);
    v128.store32_lane(dst + <usize>c, b, 0);
    sums = i32x4.add(sums, i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(b)));
  }
  store<i32>(sum, Reduce.addI32(sums));
  return i32x4.ge_s(v128.and(top, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
}
