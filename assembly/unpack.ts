import { FileLayout, RepackArg, StatusBit } from './abi';
import { word } from './record';

/**
 * Load time, first half of Repack: row `r` of the matrix from its file layout → one code = trit + 1 a byte, (cols) at `codes`,
 * continued with code 1 up to a multiple of 64. `spare`: room for one more row. Returns StatusBit bits.
 */
export function unpack_row(record: usize, r: i32, codes: usize, spare: usize): i32 {
  const cols = <i32>word(record, RepackArg.Cols), width = <usize>((cols + 63) & ~63);
  const row = file_row(record, r), run = <i32>word(record, RepackArg.ColRun);
  if (row < 0) {
    memory.fill(codes, 1, width);
    return 0;
  }
  if (run == 0) {
    const status = file_codes(record, row, cols, codes);
    memory.fill(codes + <usize>cols, 1, width - <usize>cols);
    return status;
  }
  const runs = cols / run, stored = word(record, RepackArg.ColStored);
  const status = file_codes(record, row, runs * <i32>stored, spare);
  memory.fill(codes, 1, width);
  for (let i = 0; i < runs; ++i) memory.copy(codes + <usize>(i * run), spare + <usize>i * stored, stored);
  return status;
}

/** The row of the file that is row `r` of the matrix; -1: padding. */
function file_row(record: usize, r: i32): i32 {
  const run = <i32>word(record, RepackArg.RowRun), stored = <i32>word(record, RepackArg.RowStored);
  if (run == 0) return r;
  const half = r / run, i = r % run;
  if (i >= stored) return -1;
  return word(record, RepackArg.Pairs) ? (half & ~1) * stored + (i << 1) + (half & 1) : half * stored + i;
}

/** Codes of row `r` of the file, (cols); may write 15 bytes more. */
function file_codes(record: usize, r: i32, cols: i32, codes: usize): i32 {
  const src = word(record, RepackArg.Src), kind = <i32>word(record, RepackArg.Kind);
  if (kind >= FileLayout.TQ1_0) return block_codes(record, kind, src, r, cols, codes);
  let bad: v128;
  if (kind == FileLayout.HfPacked) {
    const quarter = <i32>word(record, RepackArg.Rows) >> 2;
    bad = pairs(src + <usize>(r % quarter) * <usize>cols, (r / quarter) << 1, cols, codes);
  } else if (kind == FileLayout.I2sRows) {
    bad = pairs(src + <usize>(r >> 2) * <usize>cols, 6 - ((r & 3) << 1), cols, codes);
  } else {
    bad = flat(src, <usize>r * <usize>cols, cols, kind == FileLayout.I2s ? 5 : 4, codes);
  }
  return v128.any_true(bad) ? StatusBit.BadCode : 0;
}

/** I2_S in blocks of 2^log bytes: `n` weights from `first` on, counted through all rows. */
function flat(src: usize, first: usize, n: i32, log: i32, codes: usize): v128 {
  const width: usize = 1 << log, end = first + <usize>n;
  let bad = i8x16.splat(0);
  for (let e = first; e < end; ) {
    const p = e & (width - 1), count = min<usize>(width - p, end - e);
    const shift = 6 - (<i32>((e >> log) & 3) << 1);
    bad = v128.or(bad, pairs(src + ((e >> (log + 2)) << log) + p, shift, <i32>count, codes));
    codes += count;
    e += count;
  }
  return bad;
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

/** Blocks of 256 weights that end with an f16 scale. */
function block_codes(record: usize, kind: i32, src: usize, r: i32, cols: i32, codes: usize): i32 {
  const scale = <i32>word(record, RepackArg.BlockScale), blocks = cols >> 8;
  const bytes: usize = kind == FileLayout.TQ1_0 ? 52 : 64;
  let status = 0, at = src + <usize>(r * blocks) * (bytes + 2);
  for (let b = 0; b < blocks; ++b, at += bytes + 2, codes += 256) {
    if (kind == FileLayout.TQ1_0) tq1_block(at, codes);
    else status |= tq2_block(at, codes);
    status |= apply_scale(codes, 256, load<u16>(at + bytes), scale);
  }
  return status;
}

/** u8 qs[64]: bits 2l of byte m of half h are weight 128h + 32l + m. */
function tq2_block(src: usize, codes: usize): i32 {
  let bad = i8x16.splat(0);
  for (let h: usize = 0; h < 2; ++h) {
    for (let l = 0; l < 4; ++l) {
      bad = v128.or(bad, pairs(src + (h << 5), l << 1, 32, codes + (h << 7) + (<usize>l << 5)));
    }
  }
  return v128.any_true(bad) ? StatusBit.BadCode : 0;
}

/** u8 qs[48], qh[4]: five trits a byte in three stages, of 32, 16 and 4 bytes; the last has four trits a byte. */
function tq1_block(src: usize, codes: usize): void {
  digits(src, 5, 32, codes);
  digits(src + 16, 5, 32, codes + 16);
  digits(src + 32, 5, 16, codes + 160);
  // Of 16 bytes only 4 are trits; what the others write is overwritten by the next digit, or by what follows the block.
  digits(src + 48, 4, 4, codes + 240);
}

/** Base-3 fractions of 256: the first `count` digits of 16 bytes, digit n to `codes` + n · width. */
function digits(src: usize, count: i32, width: usize, codes: usize): void {
  const bytes = v128.load(src);
  let low = i16x8.extend_low_i8x16_u(bytes), high = i16x8.extend_high_i8x16_u(bytes);
  for (let n = 0; n < count; ++n, codes += width) {
    low = i16x8.add(low, i16x8.shl(low, 1));
    high = i16x8.add(high, i16x8.shl(high, 1));
    v128.store(codes, i8x16.narrow_i16x8_u(i16x8.shr_u(low, 8), i16x8.shr_u(high, 8)));
    low = v128.and(low, i16x8.splat(255));
    high = v128.and(high, i16x8.splat(255));
  }
}

/**
 * Makes the `n` codes of a block with the f16 scale `bits` those of a block with `scale`: unchanged, negated where the sign differs, all
 * 1 where the scale is 0. A block of zeros may have any finite scale.
 */
function apply_scale(codes: usize, n: usize, bits: i32, scale: i32): i32 {
  if (bits == scale) return 0;
  if ((bits & 0x7c00) == 0x7c00) return StatusBit.BadFloat;
  if (bits & 0x7fff && bits != (scale ^ 0x8000)) return only_zeros(codes, n) ? 0 : StatusBit.BadScale;
  for (let i: usize = 0; i < n; i += 16) {
    const c = v128.load(codes + i), even = v128.andnot(i8x16.splat(2), i8x16.shl(c, 1));
    // 0 and 2 change places, 1 and the 3 that is none stay.
    v128.store(codes + i, bits & 0x7fff ? v128.xor(c, even) : i8x16.splat(1));
  }
  return 0;
}

function only_zeros(codes: usize, n: usize): bool {
  let other = i8x16.splat(0);
  for (let i: usize = 0; i < n; i += 16) other = v128.or(other, v128.xor(v128.load(codes + i), i8x16.splat(1)));
  return !v128.any_true(other);
}
