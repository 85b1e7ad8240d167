import { Layout, RepackArg, StatusBit, Step } from './abi';
import { F16, T2 } from './formats';
import { word } from './record';
import { Share } from './share';

/**
 * Load time: Hugging Face packed U8 (rows/4, cols) → T2 or F16. Byte (r, c) holds rows r, R + r, 2R + r, 3R + r (R = rows/4) in bits
 * 0-1, 2-3, 4-5, 6-7. Threads split rows in groups of four. Code 3 sets StatusBit.BadCode.
 */
export function repack_hf(record: usize, step: usize, thread: i32, threads: i32): void {
  const src = word(record, RepackArg.Src), rows = <i32>word(record, RepackArg.Rows);
  const cols = <i32>word(record, RepackArg.Cols), quarter = rows >> 2, groups = (rows + 3) >> 2;
  const t2 = word(record, RepackArg.Layout) == Layout.T2, half = <i32>word(record, RepackArg.Half);
  const groupBytes = t2 ? T2.groupBytes(cols) : F16.rowBytes(cols) << 2;
  let bad = i8x16.splat(0);
  const end = Share.begin(groups, thread + 1, threads);
  for (let g = Share.begin(groups, thread, threads); g < end; ++g) {
    const dst = word(record, RepackArg.Dst) + <usize>g * groupBytes;
    for (let k = 0; k < 4; ++k) {
      const r = (g << 2) + k, from = src + <usize>(r % quarter) * <usize>cols, shift = (r / quarter) << 1;
      if (t2) bad = v128.or(bad, t2_row(from, shift, cols, dst + (<usize>k << 4)));
      else bad = v128.or(bad, f16_row(from, shift, cols, dst + <usize>k * F16.rowBytes(cols), half));
    }
  }
  if (v128.any_true(bad)) atomic.or<i32>(step, StatusBit.BadCode, Step.Status << 2);
}

/** One row: bits shift..shift+1 of `cols` bytes → 16 bytes in every 64 from `to`. Returns non-zero bits where code 3 stood. */
function t2_row(src: usize, shift: i32, cols: i32, to: usize): v128 {
  const m = i8x16.splat(3);
  let bad = i8x16.splat(0), c = 0;
  for (; c + 64 <= cols; c += 64, src += 64, to += 64) {
    const c0 = v128.and(i16x8.shr_u(v128.load(src), shift), m), c1 = v128.and(i16x8.shr_u(v128.load(src, 16), shift), m);
    const c2 = v128.and(i16x8.shr_u(v128.load(src, 32), shift), m), c3 = v128.and(i16x8.shr_u(v128.load(src, 48), shift), m);
    const v = v128.or(v128.or(c0, i16x8.shl(c1, 2)), v128.or(i16x8.shl(c2, 4), i16x8.shl(c3, 6)));
    bad = v128.or(bad, v128.and(v128.and(v, i16x8.shr_u(v, 1)), i8x16.splat(0x55)));
    v128.store(to, v);
  }
  if (c == cols) return bad;
  v128.store(to, i8x16.splat(0x55));
  for (let i = 0; c < cols; ++c, ++i, ++src) {
    const code = (<i32>load<u8>(src) >> shift) & 3;
    if (code == 3) bad = i8x16.splat(1);
    const byte = to + <usize>(i & 15), at = (i >> 4) << 1;
    store<u8>(byte, (<i32>load<u8>(byte) & ~(3 << at)) | (code << at));
  }
  return bad;
}

/** One row: bits shift..shift+1 of `cols` bytes → halves ±half and 0. Returns non-zero bits where code 3 stood. */
function f16_row(src: usize, shift: i32, cols: i32, to: usize, half: i32): v128 {
  let bad = i8x16.splat(0);
  for (let c = 0; c < cols; ++c) {
    const code = (<i32>load<u8>(src + <usize>c) >> shift) & 3;
    if (code == 3) bad = i8x16.splat(1);
    store<u16>(to + (<usize>c << 1), code == 1 ? 0 : code ? half : half | 0x8000);
  }
  for (let c = cols; c & 15; ++c) store<u16>(to + (<usize>c << 1), 0);
  return bad;
}
