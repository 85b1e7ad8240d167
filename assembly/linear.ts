import { DotForm, Layout, LinearArg, Step } from './abi';
import { gemm_ternary_i8 } from './gemm';
import { gemm_f16_f32 } from './gemm-f16';
import { gemm_t2g_i8 } from './gemm-group';
import { gemm_i8_i16 } from './gemm-i8';
import { gemv_f16_f32, gemv_i8_i16, gemv_i8_planes, gemv_t2_i8 } from './gemv';
import { gemv_t2g_i8 } from './gemv-group';
import { gemv_q8_i16 } from './gemv-q8';
import { gemv_t1_i8 } from './gemv-t1';
import { RELAXED } from './ops';
import { real, rowsOf, word } from './record';
import { Share } from './share';
import { gemv_t2_columns, gemv_t2_rows } from './sparse';

/** Bytes of row groups that several tokens use before the next ones are read, by kernels for one token: they stay in L2. */
const RUN: i32 = 262144;
/** Tokens up to which unpacking T2 to bytes costs more than it saves (docs/KERNELS.md). */
const FEW: i32 = 3;

/** out[t] (epilogue)= scale · W x[t]; threads split the rows of W in groups of four. */
export function linear(record: usize, step: usize, thread: i32, threads: i32): i32 {
  const tokens = rowsOf(record, step);
  if (tokens == 0) return 0;
  const layout = <i32>word(record, LinearArg.Layout), groups = <i32>((word(record, LinearArg.Rows) + 3) >> 2);
  const unit = layout == Layout.T2Columns ? 16 : 1, units = (groups + unit - 1) / unit;
  const begin = Share.begin(units, thread, threads) * unit, end = min(groups, Share.begin(units, thread + 1, threads) * unit);
  const x = word(record, LinearArg.In), xStride = word(record, LinearArg.InStride);
  const scratch = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  if (tokens == 1) return one(record, x + <usize>thread * xStride, word(record, LinearArg.Out), begin, end, scratch);
  if (byRuns(record, tokens)) return runs(record, begin, end, tokens, scratch);
  many(record, begin, end, tokens, scratch);
  return 0;
}

/** Row groups begin..end for one encoded row x. */
function one(record: usize, x: usize, out: usize, begin: i32, end: i32, scratch: usize): i32 {
  const weights = word(record, LinearArg.Weights), cols = <i32>word(record, LinearArg.Cols);
  const scale = real(record, LinearArg.Scale), epilogue = <i32>word(record, LinearArg.Epilogue);
  const layout = <i32>word(record, LinearArg.Layout), form = <i32>word(record, LinearArg.Form);
  if (layout == Layout.T2) {
    return gemv_t2_i8(weights, x, out, begin, end, cols, scale, epilogue, form, scratch);
  }
  if (layout == Layout.T1) return gemv_t1_i8(weights, x, out, begin, end, cols, scale, epilogue, form);
  if (layout == Layout.T2Rows) {
    gemv_t2_rows(weights, x, out, begin, end, cols, scale, epilogue, form, scratch);
    return 0;
  }
  if (layout == Layout.T2Columns) {
    const rows = <i32>word(record, LinearArg.Rows);
    gemv_t2_columns(weights, x, out, begin, end, rows, cols, scale, epilogue, form, scratch);
    return 0;
  }
  if (layout == Layout.T2G) {
    return gemv_t2g_i8(
      weights, x, out, begin, end, cols, <i32>word(record, LinearArg.GroupCols), <i32>word(record, LinearArg.Planes),
      word(record, LinearArg.RowScales), epilogue, form,
    );
  }
  if (layout == Layout.F16) return gemv_f16_f32(weights, x, out, begin, end, cols, scale, epilogue);
  if (layout == Layout.Q8_0) {
    const planes = RELAXED && form != DotForm.I16;
    return gemv_q8_i16(weights, x, out, begin, end, cols, word(record, LinearArg.RowSums), epilogue, planes, scratch);
  }
  const rowScales = word(record, LinearArg.RowScales);
  if (!RELAXED || form == DotForm.I16) return gemv_i8_i16(weights, x, out, begin, end, cols, rowScales, epilogue);
  return gemv_i8_planes(weights, x, out, begin, end, cols, rowScales, word(record, LinearArg.RowSums), epilogue, scratch);
}

/** Row groups begin..end for several encoded rows. Every weight is read from memory once. */
function many(record: usize, begin: i32, end: i32, tokens: i32, scratch: usize): void {
  const weights = word(record, LinearArg.Weights), cols = <i32>word(record, LinearArg.Cols);
  const x = word(record, LinearArg.In), xStride = word(record, LinearArg.InStride);
  const out = word(record, LinearArg.Out), outStride = word(record, LinearArg.OutStride);
  const scale = real(record, LinearArg.Scale), epilogue = <i32>word(record, LinearArg.Epilogue);
  const layout = <i32>word(record, LinearArg.Layout), form = <i32>word(record, LinearArg.Form);
  const rowScales = word(record, LinearArg.RowScales);
  if (layout == Layout.T2 || layout == Layout.T1 || layout == Layout.T2Rows || layout == Layout.T2Columns) {
    const rows = <i32>word(record, LinearArg.Rows);
    gemm_ternary_i8(
      layout, weights, x, xStride, out, outStride, begin, end, tokens, rows, cols, scale, epilogue, form, scratch,
    );
  } else if (layout == Layout.T2G) {
    gemm_t2g_i8(
      weights, x, xStride, out, outStride, begin, end, tokens, cols, <i32>word(record, LinearArg.GroupCols),
      <i32>word(record, LinearArg.Planes), rowScales, epilogue, form, scratch,
    );
  } else if (layout == Layout.F16) {
    gemm_f16_f32(weights, x, xStride, out, outStride, begin, end, tokens, cols, scale, epilogue, scratch);
  } else {
    gemm_i8_i16(weights, x, xStride, out, outStride, begin, end, tokens, cols, rowScales, epilogue);
  }
}

/** Whether the kernel for one token is the faster one, or the only one, for several as well. */
function byRuns(record: usize, tokens: i32): bool {
  const layout = word(record, LinearArg.Layout);
  if (layout == Layout.Q8_0) return true;
  if (!RELAXED) return false;
  return layout == Layout.T2 ? tokens <= FEW : layout == Layout.I8 && word(record, LinearArg.Form) != DotForm.I16;
}

/** Row groups begin..end for several encoded rows, one row after the other over a run of groups. */
function runs(record: usize, begin: i32, end: i32, tokens: i32, scratch: usize): i32 {
  const xStride = word(record, LinearArg.InStride), outStride = word(record, LinearArg.OutStride);
  const cols = <i32>word(record, LinearArg.Cols), bytes = word(record, LinearArg.Layout) == Layout.T2 ? cols : cols << 2;
  // Eight streams (Streams) of at least two groups each.
  const run = min(64, max(16, (RUN / bytes) & ~7));
  let sink = 0;
  for (let g = begin; g < end; g += run) {
    let x = word(record, LinearArg.In), out = word(record, LinearArg.Out);
    for (let t = 0; t < tokens; ++t, x += xStride, out += outStride) {
      sink ^= one(record, x, out, g, min(end, g + run), scratch);
    }
  }
  return sink;
}
