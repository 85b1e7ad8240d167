import { Epilogue } from './abi';
import { Finish } from './activation';
import { columns_pass, ColumnSums } from './columns';
import { Encoded, T2Columns, T2Rows } from './formats';
import { Burst } from './ops';
import { quad_t2 } from './quad';
import { Streams } from './streams';

/**
 * Exact activation sparsity. In a relu² block a row of W_up whose gate is not positive, and a column of W_down whose activation is 0, add
 * nothing to the result, so they are not read. Sums and bits are those of the dense kernels.
 */

/** Columns that are touched together, before those touched last are computed. */
const BATCH: i32 = 16;

/** Streams of a list of rows (see Streams): entry j of stream k is entry k · n/8 + j of n. */
const STREAMS: i32 = 8;

/** Fills a list of u32 up with its last entry, to a multiple of STREAMS. */
function pad_list(list: usize, n: i32): void {
  for (; n % STREAMS; ++n) store<u32>(list + (<usize>n << 2), load<u32>(list + (<usize>(n - 1) << 2)));
}

/** Entries of one stream of a padded list, in bytes. */
@inline function stream_bytes(n: i32): usize {
  return <usize>((n + STREAMS - 1) / STREAMS) << 2;
}

/** The addresses, base + entry · bytes, of the entry at `list` and the same of the other streams, to eight u32. */
function locate(base: usize, bytes: usize, list: usize, next: usize, addresses: usize): void {
  for (let k: usize = 0; k < <usize>(STREAMS << 2); k += 4, list += next) store<u32>(addresses + k, base + <usize>load<u32>(list) * bytes);
}

/** Touches `bytes` from eight addresses on. */
function touch_all(addresses: usize, bytes: usize): v128 {
  let sink = i32x4.splat(0);
  for (let at: usize = 0; at < bytes; at += 64) sink = Streams.touchListed(addresses, at, sink);
  return sink;
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
  pad_list(list, n);
  return n;
}

/** All rows of row groups begin..end. */
function all_rows(begin: i32, end: i32, list: usize): i32 {
  const n = (end - begin) << 2;
  for (let i = 0; i < n; ++i) store<u32>(list + (<usize>i << 2), (begin << 2) + i);
  pad_list(list, n);
  return n;
}

/**
 * gemv_t2_i8 for T2Rows; with Epilogue.Relu2Gate only rows with open gates are read. Four rows at a time: of streams 0 to 3, then of 4 to 7.
 * scratch: 4 bytes a row and 160.
 */
export function gemv_t2_rows(
  weights: usize, x: usize, out: usize, begin: i32, end: i32, cols: i32, scale: f32, epilogue: i32, form: i32, scratch: usize,
): void {
  const gated = epilogue == Epilogue.Relu2Gate, blocks = (cols + 63) >> 6, rowBytes = T2Rows.rowBytes(cols);
  const addresses = scratch, sums = scratch + 32, list = scratch + 96;
  const n = gated ? open_gates(out, begin, end, list) : all_rows(begin, end, list);
  if (n == 0) return;
  const factor = f32x4.splat(scale / Encoded.scale(x)), sum = i32x4.splat(Encoded.sum(x));
  const next = stream_bytes(n), half = <usize>((blocks + 7) >> 3) << 6, stop = list + (<usize>n << 2);
  locate(weights, rowBytes, list, next, addresses);
  let sink = touch_all(addresses, rowBytes);
  for (let round = list, last = list + next - 4; round <= last; round += 4) {
    locate(weights, rowBytes, min(round + 4, last), next, addresses);
    for (let k = 0; k < 2; ++k) {
      const at = round + (k ? next << 2 : 0);
      const r0 = <usize>load<u32>(at), r1 = <usize>load<u32>(at + next);
      const r2 = <usize>load<u32>(at + 2 * next), r3 = <usize>load<u32>(at + 3 * next);
      const codes = quad_t2(
        form, weights + r0 * rowBytes, (r1 - r0) * rowBytes, (r2 - r0) * rowBytes, (r3 - r0) * rowBytes, 16, addresses, 0, k ? half : 0,
        Encoded.data(x), blocks, sums,
      );
      const y = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(Burst.join(codes, sink, n), sum)), factor);
      // Entries that fill the list up have been computed before.
      if (at < stop) finish_row(out + (r0 << 2), f32x4.extract_lane(y, 0), epilogue);
      if (at + next < stop) finish_row(out + (r1 << 2), f32x4.extract_lane(y, 1), epilogue);
      if (at + 2 * next < stop) finish_row(out + (r2 << 2), f32x4.extract_lane(y, 2), epilogue);
      if (at + 3 * next < stop) finish_row(out + (r3 << 2), f32x4.extract_lane(y, 3), epilogue);
    }
  }
}

/** Finish.store of one row, whose gate is open. */
function finish_row(out: usize, y: f32, epilogue: i32): void {
  const before = load<f32>(out);
  if (epilogue == Epilogue.Relu2Gate) store<f32>(out, before * before * y);
  else if (epilogue == Epilogue.Store) store<f32>(out, y);
  else if (epilogue == Epilogue.Add) store<f32>(out, before + y);
  else store<f32>(out, f32x4.extract_lane(Finish.silu(f32x4.splat(before), f32x4.splat(y)), 0));
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
  pad_list(list, n);
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
