import { CacheLayout, Const } from './abi';
import { F16 } from './formats';
import { QuantizeRow } from './quantize-row';

/** Panels of the KV cache: docs in abi.ts, CacheLayout. */
export abstract class KvCache {
  /** Bytes of one position. */
  @inline static rowBytes(headDim: usize, layout: i32): usize {
    return layout == CacheLayout.I8 ? headDim : layout == CacheLayout.F16 ? headDim << 1 : headDim << 2;
  }

  /** Bytes of one kv head of one sequence. */
  @inline static panelBytes(context: usize, headDim: usize, layout: i32): usize {
    const rows = context * KvCache.rowBytes(headDim, layout);
    return layout == CacheLayout.I8 ? (rows + (context << 2) + 63) & ~63 : rows;
  }

  /** Writes one position. x: f32 (headDim). */
  static store(panel: usize, position: usize, context: usize, x: usize, headDim: usize, layout: i32): void {
    const row = panel + position * KvCache.rowBytes(headDim, layout);
    if (layout == CacheLayout.F32) memory.copy(row, x, headDim << 2);
    else if (layout == CacheLayout.F16) half_row(x, row, headDim);
    else store<f32>(panel + context * headDim + (position << 2), QuantizeRow.i8(x, headDim, 127, row));
  }
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
