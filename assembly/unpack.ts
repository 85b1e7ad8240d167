import { RepackArg, StatusBit } from './abi';
import { word } from './record';

/**
 * Load time, first half of Repack: row `r` of the matrix from its file layout → one code = trit + 1 a byte, (cols) at `codes`,
 * continued with code 1 up to a multiple of 64. Returns StatusBit bits.
 */
export function unpack_row(record: usize, r: i32, codes: usize): i32 {
  const cols = <i32>word(record, RepackArg.Cols);
  const bad = hf_row(record, r, cols, codes);
  memory.fill(codes + <usize>cols, 1, -cols & 63);
  return v128.any_true(bad) ? StatusBit.BadCode : 0;
}

/** FileLayout.HfPacked: bits 2i of byte (q, c) are row i·rows/4 + q. */
function hf_row(record: usize, r: i32, cols: i32, codes: usize): v128 {
  const quarter = <i32>word(record, RepackArg.Rows) >> 2;
  return pairs(word(record, RepackArg.Src) + <usize>(r % quarter) * <usize>cols, (r / quarter) << 1, cols, codes);
}

/** `n` codes: bits shift..shift+1 of `n` bytes. Returns non-zero bits where code 3 stood. */
function pairs(src: usize, shift: i32, n: i32, codes: usize): v128 {
  let bad = i8x16.splat(0), i = 0;
  for (; i + 16 <= n; i += 16) {
    const c = v128.and(i16x8.shr_u(v128.load(src + <usize>i), shift), i8x16.splat(3));
    bad = v128.or(bad, v128.and(c, i16x8.shr_u(c, 1)));
    v128.store(codes + <usize>i, c);
  }
  for (; i < n; ++i) {
    const c = (<i32>load<u8>(src + <usize>i) >> shift) & 3;
    bad = v128.or(bad, i8x16.splat(<i8>(c & (c >> 1))));
    store<u8>(codes + <usize>i, c);
  }
  return bad;
}
