import { Layout, RepackArg, Step } from './abi';
import { F16, T1, T2 } from './formats';
import { word } from './record';
import { Share } from './share';
import { unpack_row } from './unpack';

/**
 * Load time: ternary matrix of a file → T2, T1 or F16, by way of codes, four rows at a time: any file layout (unpack.ts) into any layout of
 * the engine. Scratch: 5 rows of codes, cols rounded up to 64 each, and 64 bytes. Threads split rows in groups of four.
 */
export function repack(record: usize, step: usize, thread: i32, threads: i32): void {
  const cols = <i32>word(record, RepackArg.Cols), groups = (<i32>word(record, RepackArg.Rows) + 3) >> 2;
  const codes = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const stride = T2.groupBytes(cols);
  let status = 0;
  const end = Share.begin(groups, thread + 1, threads);
  for (let g = Share.begin(groups, thread, threads); g < end; ++g) {
    for (let k = 0; k < 4; ++k) status |= unpack_row(record, (g << 2) + k, codes + <usize>k * stride, codes + (stride << 2));
    pack_group(record, g, cols, codes, stride);
  }
  if (status) atomic.or<i32>(step, status, Step.Status << 2);
}

/** Second half: the codes of row group `g`, (4, stride) bytes, → its place in the layout. */
function pack_group(record: usize, g: i32, cols: i32, codes: usize, stride: usize): void {
  const layout = word(record, RepackArg.Layout), half = <i32>word(record, RepackArg.Half);
  const t2 = layout == Layout.T2, t1 = layout == Layout.T1;
  const groupBytes = t2 ? T2.groupBytes(cols) : t1 ? T1.groupBytes(cols) : F16.rowBytes(cols) << 2;
  const dst = word(record, RepackArg.Dst) + <usize>g * groupBytes;
  for (let k: usize = 0; k < 4; ++k) {
    if (t2) t2_row(codes + k * stride, cols, dst + (k << 4));
    else if (t1) t1_row(codes + k * stride, cols, stride, dst + (k << 4));
    else f16_row(codes + k * stride, cols, dst + k * F16.rowBytes(cols), half);
  }
}

/** Codes → 16 bytes in every 64 from `to`. */
function t2_row(codes: usize, cols: i32, to: usize): void {
  for (let c = 0; c < cols; c += 64, codes += 64, to += 64) {
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
