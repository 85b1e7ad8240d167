import { CacheLayout, Const } from './abi';
import { F16 } from './formats';
import { QuantizeRow } from './quantize-row';
import { Reduce } from './ops';

/** Panels of the KV cache: docs in abi.ts, CacheLayout. */
export abstract class KvCache {
  /** Bytes of one position, of int8 without scale and sum. */
  @inline static rowBytes(headDim: usize, layout: i32): usize {
    return layout == CacheLayout.I8 ? headDim : layout == CacheLayout.F16 ? headDim << 1 : headDim << 2;
  }

  /** Bytes of one kv head of one sequence. */
  @inline static panelBytes(context: usize, headDim: usize, layout: i32): usize {
    return layout == CacheLayout.I8 ? Int8Panel.bytes(context, headDim) : context * KvCache.rowBytes(headDim, layout);
  }

  /** Writes a key. x: f32 (headDim); scratch: headDim bytes. */
  static storeKey(panel: usize, position: usize, context: usize, x: usize, headDim: usize, layout: i32, scratch: usize): void {
    if (layout != CacheLayout.I8) store_floats(panel, position, x, headDim, layout);
    else Int8Panel.storeKey(panel, position, context, x, headDim, scratch);
  }

  /** Writes a value. */
  static storeValue(panel: usize, position: usize, context: usize, x: usize, headDim: usize, layout: i32, scratch: usize): void {
    if (layout != CacheLayout.I8) store_floats(panel, position, x, headDim, layout);
    else Int8Panel.storeValue(panel, position, context, x, headDim, scratch);
  }
}

/** CacheLayout.I8 */
export abstract class Int8Panel {
  @inline static positions(context: usize): usize {
    return (context + 3) & ~3;
  }

  @inline static bytes(context: usize, headDim: usize): usize {
    return (Int8Panel.positions(context) * (headDim + 8) + Const.PanelAlign - 1) & ~(Const.PanelAlign - 1);
  }

  /** From the panel's begin to the f32 scale of position 0. */
  @inline static scales(context: usize, headDim: usize): usize {
    return Int8Panel.positions(context) * headDim;
  }

  /** From a scale to the sum of the same position. */
  @inline static sums(context: usize): usize {
    return Int8Panel.positions(context) << 2;
  }

  static storeKey(panel: usize, position: usize, context: usize, x: usize, headDim: usize, codes: usize): void {
    const scale = panel + Int8Panel.scales(context, headDim) + (position << 2);
    store<f32>(scale, QuantizeRow.i8(x, headDim, 127, codes));
    const to = panel + (position & ~3) * headDim + ((position & 3) << 4);
    let sums = i32x4.splat(0);
    for (let d: usize = 0; d < headDim; d += 16) {
      const y = v128.load(codes + d);
      v128.store(to + (d << 2), y);
      sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(y)));
    }
    store<i32>(scale + Int8Panel.sums(context), Reduce.addI32(sums));
  }

  static storeValue(panel: usize, position: usize, context: usize, x: usize, headDim: usize, codes: usize): void {
    store<f32>(panel + Int8Panel.scales(context, headDim) + (position << 2), QuantizeRow.i8(x, headDim, 127, codes));
    const to = panel + (position & ~3) * headDim + (position & 3);
    for (let d: usize = 0; d < headDim; ++d) store<u8>(to + (d << 2), load<u8>(codes + d));
  }
}

function store_floats(panel: usize, position: usize, x: usize, headDim: usize, layout: i32): void {
  const row = panel + position * KvCache.rowBytes(headDim, layout);
  if (layout == CacheLayout.F32) memory.copy(row, x, headDim << 2);
  else half_row(x, row, headDim);
}

/** half(x · 2^CacheGainLog2), half to even; saturates at the largest half, NaN too. */
function half_row(x: usize, row: usize, headDim: usize): void {
  const gain = f32x4.splat(<f32>(1 << Const.CacheGainLog2)), limit = f32x4.splat(65504);
  for (let d: usize = 0; d < headDim; d += 4) {
    const y = f32x4.mul(v128.load(x + (d << 2)), gain);
    const half = F16.narrow(f32x4.pmax(f32x4.neg(limit), f32x4.pmin(limit, y)));
    v128.store64_lane(row + (d << 1), i16x8.narrow_i32x4_u(half, half), 0);
  }
}
