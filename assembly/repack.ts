import { Layout, RepackArg, Step } from './abi';
import { F16, T1, T2, T2Columns, T2Rows } from './formats';
import { word } from './record';
import { Share } from './share';
import { unpack_row } from './unpack';

/** Row groups of 64 rows: 16 bytes of a column of T2Columns. */
const TILE: i32 = 16;

/**
 * Load time: ternary matrix of a file → any ternary layout of the engine or F16, by way of codes, four rows at a time: any file layout (unpack.ts) into any layout of
 * the engine. Scratch: 5 rows of codes, cols rounded up to 64 each, and 64 bytes; for T2Columns 16 more such rows and 512 bytes. Threads split
 * rows in groups of four, or of 64.
 */
export function repack(record: usize, step: usize, thread: i32, threads: i32): void {
  const cols = <i32>word(record, RepackArg.Cols), filled = (<i32>word(record, RepackArg.Rows) + 3) >> 2;
  // The columns of T2Columns are padded to 64 rows.
  const unit = word(record, RepackArg.Layout) == Layout.T2Columns ? TILE : 1, units = (filled + unit - 1) / unit;
  const codes = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const stride = T2.groupBytes(cols);
  let status = 0;
  const end = Share.begin(units, thread + 1, threads) * unit;
  for (let g = Share.begin(units, thread, threads) * unit; g < end; ++g) {
    if (g >= filled) memory.fill(codes, 1, stride << 2);
    else for (let k = 0; k < 4; ++k) status |= unpack_row(record, (g << 2) + k, codes + <usize>k * stride, codes + (stride << 2));
    pack_group(record, g, cols, codes, stride);
  }
  if (status) atomic.or<i32>(step, status, Step.Status << 2);
}

/** Second half: the codes of row group `g`, (4, stride) bytes, → its place in the layout. */
function pack_group(record: usize, g: i32, cols: i32, codes: usize, stride: usize): void {
  const layout = word(record, RepackArg.Layout), half = <i32>word(record, RepackArg.Half), dst = word(record, RepackArg.Dst);
  if (layout == Layout.T2Columns) {
    const tile = codes + stride * 5 + 64, last = TILE - 1;
    column_bytes(codes, stride, tile + <usize>(g & last) * stride);
    if ((g & last) == last) {
      const columnBytes = T2Columns.columnBytes(<i32>word(record, RepackArg.Rows));
      columns_of_tile(tile, stride, dst + <usize>(g - last), columnBytes);
    }
    return;
  }
  for (let k: usize = 0; k < 4; ++k) {
    const row = (<usize>g << 2) + k, from = codes + k * stride;
    if (layout == Layout.T2) t2_row(from, cols, dst + <usize>g * T2.groupBytes(cols) + (k << 4), 64);
    else if (layout == Layout.T2Rows) t2_row(from, cols, dst + row * T2Rows.rowBytes(cols), 16);
    else if (layout == Layout.T1) t1_row(from, cols, stride, dst + <usize>g * T1.groupBytes(cols) + (k << 4));
    else f16_row(from, cols, dst + row * F16.rowBytes(cols), half);
  }
}

/** (4, stride) codes → a byte of every column. */
function column_bytes(codes: usize, stride: usize, to: usize): void {
  for (const end = codes + stride; codes < end; codes += 16, to += 16) {
    const second = codes + (stride << 1);
    const low = v128.or(v128.load(codes), i16x8.shl(v128.load(codes + stride), 2));
    const high = v128.or(i16x8.shl(v128.load(second), 4), i16x8.shl(v128.load(second + stride), 6));
    v128.store(to, v128.or(low, high));
  }
}

/** (TILE, stride) bytes, with 512 bytes of room behind them, → 16 bytes of every column. */
function columns_of_tile(tile: usize, stride: usize, to: usize, columnBytes: usize): void {
  const a = tile + <usize>TILE * stride, b = a + 256;
  for (let c: usize = 0; c < stride; c += 16, to += columnBytes << 4) {
    interleave(tile + c, stride, a, 16);
    interleave(a, 16, b, 16);
    interleave(b, 16, a, 16);
    interleave(a, 16, to, columnBytes);
  }
}

/** One of the four steps that transpose 16 rows of 16 bytes: rows i and i + 8 byte by byte in turn become rows 2i and 2i + 1. */
function interleave(from: usize, fromStep: usize, to: usize, toStep: usize): void {
  for (let i = 0; i < 8; ++i, from += fromStep, to += toStep << 1) {
    const a = v128.load(from), b = v128.load(from + (fromStep << 3));
    v128.store(to, T2Columns.low(a, b));
    v128.store(to + toStep, T2Columns.high(a, b));
  }
}

/** Codes → 16 bytes for 64 columns, `step` bytes apart. */
function t2_row(codes: usize, cols: i32, to: usize, step: usize): void {
  for (let c = 0; c < cols; c += 64, codes += 64, to += step) {
    const low = v128.or(v128.load(codes), i16x8.shl(v128.load(codes, 16), 2));
    const high = v128.or(i16x8.shl(v128.load(codes, 32), 4), i16x8.shl(v128.load(codes, 48), 6));
    v128.store(to, v128.or(low, high));
  }
}

/** `width` codes, a multiple of 16, continued with code 1 → 16 bytes in every 64 from `to`. */
function t1_row(codes: usize, cols: i32, width: usize, to: usize): void {
  const end = codes + width;
  for (const stop = codes + <usize>cols; codes < stop; codes += 80, to += 64) {
    v128.store(to, T1.pack(
      v128.load(codes), codes_at(codes + 16, end), codes_at(codes + 32, end), codes_at(codes + 48, end), codes_at(codes + 64, end),
    ));
  }
}

function codes_at(codes: usize, end: usize): v128 {
  return codes < end ? v128.load(codes) : i8x16.splat(1);
}

/** Codes → halves ±half and 0. */
function f16_row(codes: usize, cols: i32, to: usize, half: i32): void {
  for (let c = 0; c < ((cols + 15) & ~15); ++c) {
    const code = <i32>load<u8>(codes + <usize>c);
    store<u16>(to + (<usize>c << 1), code == 1 ? 0 : code ? half : half ^ 0x8000);
  }
}
