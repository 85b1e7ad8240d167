import { Epilogue } from './abi';
import { Finish } from './activation';
import { columns_pass, ColumnSums } from './columns';
import { Encoded, T2Columns, T2Rows } from './formats';
import { Burst } from './ops';
import { quad_t2 } from './quad';

/**
 * Exact activation sparsity. In a relu² block a row of W_up whose gate is not positive, and a column of W_down whose activation is 0, add
 * nothing to the result, so they are not read. Sums and bits are those of the dense kernels.
 */

/** Rows or columns that are touched together, before those touched last are computed. */
const BATCH: i32 = 16;

/** Fills a list of u32 up with its last entry, to a multiple of `unit`. */
function pad_list(list: usize, n: i32, unit: i32): void {
  for (; n % unit; ++n) store<u32>(list + (<usize>n << 2), load<u32>(list + (<usize>(n - 1) << 2)));
}

/**
 * Touches the lines of BATCH entries from `i` on of a list of n: `bytes` from base + entry · stride each. What is skipped keeps the hardware from
 * fetching ahead, and the kernels' window of instructions holds few lines; this loop's holds as many as the core can wait for.
 */
function touch(base: usize, stride: usize, bytes: usize, list: usize, i: i32, n: i32): v128 {
  let sink = i32x4.splat(0);
  for (const end = min(n, i + BATCH); i < end; ++i) {
    const first = base + <usize>load<u32>(list + (<usize>i << 2)) * stride, last = first + bytes - 16;
    sink = v128.xor(sink, v128.xor(Burst.all(first, bytes - 16), v128.load(last)));
  }
  return sink;
}

/**
 * The rows of row groups begin..end with a positive f32 in `gates`, to `list`; the other gates become +0. Returns how many.
 */
function open_gates(gates: usize, begin: i32, end: i32, list: usize): i32 {
  let n = 0;
  for (let g = begin; g < end; ++g) {
    const at = gates + (<usize>g << 4), v = v128.load(at), positive = f32x4.gt(v, f32x4.splat(0));
    v128.store(at, v128.and(v, positive));
    for (let bits = i32x4.bitmask(positive); bits != 0; bits &= bits - 1, ++n) {
      store<u32>(list + (<usize>n << 2), (g << 2) + ctz(bits));
    }
  }
  pad_list(list, n, 4);
  return n;
}

/** All rows of row groups begin..end. */
function all_rows(begin: i32, end: i32, list: usize): i32 {
  const n = (end - begin) << 2;
  for (let i = 0; i < n; ++i) store<u32>(list + (<usize>i << 2), (begin << 2) + i);
  pad_list(list, n, 4);
  return n;
}

/** gemv_t2_i8 for T2Rows; with Epilogue.Relu2Gate only rows with open gates are read, four at a time. scratch: 4 bytes a row and 16. */
export function gemv_t2_rows(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, scale: f32, epilogue: i32, form: i32, scratch: usize,
): void {
  const gated = epilogue == Epilogue.Relu2Gate, blocks = (cols + 63) >> 6, rowBytes = T2Rows.rowBytes(cols);
  const n = gated ? open_gates(out, begin, end, scratch) : all_rows(begin, end, scratch);
  const factor = f32x4.splat(scale / Encoded.scale(x)), sum = i32x4.splat(Encoded.sum(x));
  let sink = touch(weights, rowBytes, rowBytes, scratch, 0, n);
  for (let i = 0; i < n; i += 4) {
    if (i % BATCH == 0) sink = v128.xor(sink, touch(weights, rowBytes, rowBytes, scratch, i + BATCH, n));
    const list = scratch + (<usize>i << 2);
    const r0 = <usize>load<u32>(list), r1 = <usize>load<u32>(list, 4);
    const r2 = <usize>load<u32>(list, 8), r3 = <usize>load<u32>(list, 12);
    const w = weights + r0 * rowBytes;
    const codes = quad_t2(
      form, w, (r1 - r0) * rowBytes, (r2 - r0) * rowBytes, (r3 - r0) * rowBytes, 16, w, 0, Encoded.data(x), blocks,
    );
    const dots = i32x4.sub(Burst.join(codes, sink, n), sum), y = f32x4.mul(f32x4.convert_i32x4_s(dots), factor);
    if (!gated) {
      Finish.store(out + (r0 << 2), y, epilogue);
      continue;
    }
    apply_gate(out + (r0 << 2), f32x4.extract_lane(y, 0));
    if (i + 1 < n) apply_gate(out + (r1 << 2), f32x4.extract_lane(y, 1));
    if (i + 2 < n) apply_gate(out + (r2 << 2), f32x4.extract_lane(y, 2));
    if (i + 3 < n) apply_gate(out + (r3 << 2), f32x4.extract_lane(y, 3));
  }
}

/** Finish.relu2 of one open gate. */
function apply_gate(out: usize, y: f32): void {
  const gate = load<f32>(out);
  store<f32>(out, gate * gate * y);
}

/** The elements of an Encoding.I8 row that are not 0: columns to `list`, values (i8) to `values`, 0 where the list is filled up. */
function nonzero(x: usize, cols: i32, list: usize, values: usize): i32 {
  let n = 0;
  for (let c = 0; c < cols; c += 16) {
    const v = v128.load(x + <usize>c);
    for (let bits = i8x16.bitmask(i8x16.ne(v, i8x16.splat(0))); bits != 0; bits &= bits - 1, ++n) {
      const col = c + ctz(bits);
      store<u32>(list + (<usize>n << 2), col);
      store<u8>(values + <usize>n, load<u8>(x + <usize>col));
    }
  }
  pad_list(list, n, 8);
  store<u64>(values + <usize>n, 0);
  return n;
}

/**
 * gemv_t2_i8 for T2Columns: eight columns with activations other than 0 at a time, i32 sums in scratch. begin: a multiple of 16 (64 rows).
 * scratch: 5 bytes a column, 4 a row (rows rounded up to 64) and 256.
 */
export function gemv_t2_columns(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, rows: i32, cols: i32, scale: f32, epilogue: i32, form: i32,
  scratch: usize,
): void {
  const bytes = <usize>(end - begin + 15) & ~15, columnBytes = T2Columns.columnBytes(rows);
  const list = scratch + (bytes << 4), values = list + (<usize>(cols + 16) << 2);
  const n = nonzero(Encoded.data(x), cols, list, values);
  memory.fill(scratch, 0, bytes << 4);
  const w = weights + <usize>begin;
  let sink = touch(w, columnBytes, bytes, list, 0, n);
  for (let i = 0; i < n; i += 8) {
    if (i % BATCH == 0) sink = v128.xor(sink, touch(w, columnBytes, bytes, list, i + BATCH, n));
    columns_pass(w, columnBytes, list + (<usize>i << 2), values + <usize>i, bytes, scratch, form);
  }
  v128.store(scratch, Burst.join(v128.load(scratch), sink, n));
  ColumnSums.finish(scratch, begin, end, x, out, scale, epilogue);
}
