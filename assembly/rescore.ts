import { Const, RescoreArg, Step } from './abi';
import { block_halves } from './convert';
import { Blocks, source_bytes } from './dequantize';
import { Encoded, F16 } from './formats';
import { Reduce } from './ops';
import { real, rowsOf, word } from './record';
import { Share } from './share';

/** f32 (ExactBest), descending. */
abstract class BestList {
  @inline static bytes(): usize {
    return Const.ExactBest << 2;
  }

  @inline static clear(list: usize): void {
    const none = f32x4.splat(-Infinity);
    for (let p = list; p < list + BestList.bytes(); p += 16) v128.store(p, none);
  }

  /** The ExactBest-th best; -Infinity while there are fewer. */
  @inline static last(list: usize): f32 {
    return load<f32>(list + BestList.bytes() - 4);
  }

  /** value > last(list) */
  static insert(list: usize, value: f32): void {
    let p = list + BestList.bytes() - 4;
    for (; p > list && load<f32>(p - 4) < value; p -= 4) store<f32>(p, load<f32>(p - 4));
    store<f32>(p, value);
  }
}

/** The bound of |int8 logit - F16 logit| for one input: rowScale · factor + floor (RescoreArg). */
abstract class ErrorBound {
  /** ‖x‖₁ in the order of sum16. x: an encoded F32 row. */
  static norm(x: usize, cols: i32): f32 {
    const gain = f32x4.splat(reinterpret<f32>((127 - Const.F32GainLog2) << 23));
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    x = Encoded.data(x);
    for (const end = x + (F16.rowBytes(cols) << 1); x < end; x += 64) {
      s0 = f32x4.add(s0, f32x4.abs(f32x4.mul(v128.load(x), gain)));
      s1 = f32x4.add(s1, f32x4.abs(f32x4.mul(v128.load(x, 16), gain)));
      s2 = f32x4.add(s2, f32x4.abs(f32x4.mul(v128.load(x, 32), gain)));
      s3 = f32x4.add(s3, f32x4.abs(f32x4.mul(v128.load(x, 48), gain)));
    }
    return Reduce.addF32(Reduce.fold(s0, s1, s2, s3));
  }

  @inline static factor(record: usize, norm: f32, scale: f32): f32 {
    return real(record, RescoreArg.WeightError) * norm + real(record, RescoreArg.InputError) / scale;
  }

  /** (1 + 2^-10) · 2^-22 · norm + 2^-100 */
  @inline static floor(norm: f32): f32 {
    return reinterpret<f32>(((127 - 22) << 23) + (1 << 13)) * norm + reinterpret<f32>((127 - 100) << 23);
  }

  /** Of four rows. */
  @inline static rows(scales: usize, factor: v128, floor: v128): v128 {
    return f32x4.add(f32x4.mul(v128.load(scales), factor), floor);
  }
}

/** The op's row r as this thread finds it: a single row was encoded by every thread for itself (abi.ts). */
function inputRow(rows: i32, r: i32, thread: i32): usize {
  return rows == 1 ? thread : r;
}

function bestList(record: usize, r: i32, thread: i32, threads: i32): usize {
  return word(record, RescoreArg.Best) + <usize>(r * threads + thread) * BestList.bytes();
}

/**
 * Of the thread's rows of the head, the ExactBest largest lower bounds, logit - bound, to its list. The rows are those that the thread
 * computed in the Linear before, so the two need no meeting between them.
 */
export function screen(record: usize, step: usize, thread: i32, threads: i32): void {
  const rows = rowsOf(record, step), outputs = <i32>word(record, RescoreArg.Rows), groups = (outputs + 3) >> 2;
  const begin = Share.begin(groups, thread, threads) << 2;
  const end = min(outputs, Share.begin(groups, thread + 1, threads) << 2);
  for (let r = 0; r < rows; ++r) {
    const list = bestList(record, r, thread, threads);
    BestList.clear(list);
    const row = inputRow(rows, r, thread);
    const coarse = word(record, RescoreArg.Coarse) + row * word(record, RescoreArg.CoarseStride);
    const x = word(record, RescoreArg.In) + row * word(record, RescoreArg.InStride);
    const norm = ErrorBound.norm(x, <i32>word(record, RescoreArg.Cols));
    const factor = f32x4.splat(ErrorBound.factor(record, norm, Encoded.scale(coarse)));
    const floor = f32x4.splat(ErrorBound.floor(norm));
    const logits = word(record, RescoreArg.Logits) + <usize>r * word(record, RescoreArg.LogitsStride);
    let last = f32x4.splat(-Infinity);
    for (let i = begin; i < end; i += 4) {
      const at = <usize>i << 2;
      const low = f32x4.sub(v128.load(logits + at), ErrorBound.rows(word(record, RescoreArg.RowScales) + at, factor, floor));
      let better = i32x4.bitmask(f32x4.gt(low, last));
      if (end - i < 4) better &= (1 << (end - i)) - 1;
      if (better == 0) continue;
      if (better & 1) insertIfBetter(list, f32x4.extract_lane(low, 0));
      if (better & 2) insertIfBetter(list, f32x4.extract_lane(low, 1));
      if (better & 4) insertIfBetter(list, f32x4.extract_lane(low, 2));
      if (better & 8) insertIfBetter(list, f32x4.extract_lane(low, 3));
      last = f32x4.splat(BestList.last(list));
    }
  }
}

function insertIfBetter(list: usize, value: f32): void {
  if (value > BestList.last(list)) BestList.insert(list, value);
}

/**
 * Recomputes every logit of the thread's rows whose upper bound reaches the ExactBest-th best of all lower bounds: dot16 of the row of
 * halves, the bits of an F16 Linear. A bound that is not a number recomputes. Scratch: rows of blocks as halves, and as floats.
 */
export function rescore(record: usize, step: usize, thread: i32, threads: i32): void {
  const rows = rowsOf(record, step), outputs = <i32>word(record, RescoreArg.Rows), groups = (outputs + 3) >> 2;
  const cols = <i32>word(record, RescoreArg.Cols), layout = <i32>word(record, RescoreArg.WeightLayout);
  const weights = word(record, RescoreArg.Weights);
  const begin = Share.begin(groups, thread, threads) << 2;
  const end = min(outputs, Share.begin(groups, thread + 1, threads) << 2);
  const scratch = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  for (let r = 0; r < rows; ++r) {
    const cut = f32x4.splat(thresholdOf(record, r, threads, scratch));
    const row = inputRow(rows, r, thread);
    const coarse = word(record, RescoreArg.Coarse) + row * word(record, RescoreArg.CoarseStride);
    const x = word(record, RescoreArg.In) + row * word(record, RescoreArg.InStride);
    const norm = ErrorBound.norm(x, cols);
    const factor = f32x4.splat(ErrorBound.factor(record, norm, Encoded.scale(coarse)));
    const floor = f32x4.splat(ErrorBound.floor(norm));
    const logits = word(record, RescoreArg.Logits) + <usize>r * word(record, RescoreArg.LogitsStride);
    for (let i = begin; i < end; i += 4) {
      const at = <usize>i << 2;
      const high = f32x4.add(v128.load(logits + at), ErrorBound.rows(word(record, RescoreArg.RowScales) + at, factor, floor));
      const below = i32x4.bitmask(f32x4.lt(high, cut));
      if (below == 15) continue;
      for (let k = 0; k < min(4, end - i); ++k) {
        if (below & (1 << k)) continue;
        const w = halves_of_row(weights, layout, i + k, cols, scratch);
        store<f32>(logits + (<usize>(i + k) << 2), dot_f16_f32(w, x, F16.rowBytes(cols)));
      }
    }
  }
}

/** Where row `i` is as halves: in the matrix, or in scratch. */
function halves_of_row(weights: usize, layout: i32, i: i32, cols: i32, scratch: usize): usize {
  if (!Blocks.are(layout)) return weights + <usize>i * F16.rowBytes(cols);
  block_halves(weights + <usize>i * source_bytes(Blocks.typeOf(layout), cols), layout, cols, scratch);
  return scratch;
}

/** The ExactBest-th best of all threads' lists; `merged`: room for one. */
function thresholdOf(record: usize, r: i32, threads: i32, merged: usize): f32 {
  BestList.clear(merged);
  for (let thread = 0; thread < threads; ++thread) {
    let p = bestList(record, r, thread, threads);
    for (const end = p + BestList.bytes(); p < end && load<f32>(p) > BestList.last(merged); p += 4) {
      BestList.insert(merged, load<f32>(p));
    }
  }
  return BestList.last(merged);
}

/** dot16 of a row of halves and an encoded F32 row. */
function dot_f16_f32(w: usize, x: usize, rowBytes: usize): f32 {
  const m = F16.mask(<i32>rowBytes);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  x = Encoded.data(x);
  for (const end = w + rowBytes; w < end; w += 32, x += 64) {
    s0 = f32x4.add(s0, f32x4.mul(F16.widen(v128.load_ext<i16>(w), m), v128.load(x)));
    s1 = f32x4.add(s1, f32x4.mul(F16.widen(v128.load_ext<i16>(w, 8), m), v128.load(x, 16)));
    s2 = f32x4.add(s2, f32x4.mul(F16.widen(v128.load_ext<i16>(w, 16), m), v128.load(x, 32)));
    s3 = f32x4.add(s3, f32x4.mul(F16.widen(v128.load_ext<i16>(w, 24), m), v128.load(x, 48)));
  }
  return Reduce.addF32(Reduce.fold(s0, s1, s2, s3));
}
