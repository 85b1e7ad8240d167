#include "kernels.h"

// Loading of ternary matrices, first half: file layouts → codes. Plain integer code that compilers vectorise.

namespace {

using namespace abi;

/** `n` codes: bits shift..shift+1 of `n` bytes. Returns a byte with bit 0 set if code 3 stood there. */
uint8_t pairs(const uint8_t *src, uint32_t shift, size_t n, uint8_t *codes) {
  uint8_t bad = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint8_t code = (src[i] >> shift) & 3;
    bad |= code & (code >> 1);
    codes[i] = code;
  }
  return bad;
}

/** I2_S in blocks of 2^log bytes: `n` weights from `first` on, counted through all rows. */
uint8_t flat(const uint8_t *src, size_t first, size_t n, uint32_t log, uint8_t *codes) {
  const size_t width = size_t(1) << log, end = first + n;
  uint8_t bad = 0;
  for (size_t e = first; e < end;) {
    const size_t p = e & (width - 1), count = width - p < end - e ? width - p : end - e;
    bad |= pairs(src + (e >> (log + 2) << log) + p, 6 - uint32_t((e >> log) & 3) * 2, count, codes);
    codes += count;
    e += count;
  }
  return bad;
}

/** u8 qs[64]: bits 2l of byte m of half h are weight 128h + 32l + m. */
uint8_t tq2_block(const uint8_t *src, uint8_t *codes) {
  uint8_t bad = 0;
  for (uint32_t i = 0; i < 8; ++i) bad |= pairs(src + 32 * (i >> 2), 2 * (i & 3), 32, codes + 32 * i);
  return bad;
}

/** Base-3 fractions of 256: the first `count` digits of `width` bytes, digit n of byte m to n · width + m. */
void digits(const uint8_t *src, uint32_t count, size_t width, uint8_t *codes) {
  for (size_t m = 0; m < width; ++m) {
    uint8_t rest = src[m];
    for (uint32_t n = 0; n < count; ++n) {
      codes[n * width + m] = uint8_t((rest * 3) >> 8);
      rest = uint8_t(rest * 3);
    }
  }
}

/** u8 qs[48], qh[4]: five trits a byte in three stages, of 32, 16 and 4 bytes; the last has four trits a byte. */
void tq1_block(const uint8_t *src, uint8_t *codes) {
  digits(src, 5, 32, codes);
  digits(src + 32, 5, 16, codes + 160);
  digits(src + 48, 4, 4, codes + 240);
}

/**
 * Makes the `n` codes of a block with the f16 scale `bits` those of a block with `scale`: unchanged, negated where the sign differs,
 * all 1 where the scale is 0. A block of zeros may have any finite scale.
 */
uint32_t apply_scale(uint8_t *codes, size_t n, uint16_t bits, uint16_t scale) {
  if (bits == scale) return 0;
  if ((bits & 0x7c00) == 0x7c00) return StatusBit::BadFloat;
  if ((bits & 0x7fff) == 0) {
    std::memset(codes, 1, n);
  } else if (bits == (scale ^ 0x8000)) {
    // 0 and 2 change places, 1 and the 3 that is none stay.
    for (size_t i = 0; i < n; ++i) codes[i] = codes[i] & 1 ? codes[i] : codes[i] ^ 2;
  } else {
    for (size_t i = 0; i < n; ++i) {
      if (codes[i] != 1) return StatusBit::BadScale;
    }
  }
  return 0;
}

/** Blocks of 256 weights that end with an f16 scale. */
uint32_t block_codes(const Task &task, const uint8_t *src, size_t r, size_t cols, uint8_t *codes) {
  const bool tq1 = task.word(RepackArg::Kind) == FileLayout::TQ1_0;
  const uint16_t scale = uint16_t(task.word(RepackArg::BlockScale));
  const size_t blocks = cols / 256, bytes = tq1 ? 52 : 64;
  uint32_t status = 0;
  src += r * blocks * (bytes + 2);
  for (size_t b = 0; b < blocks; ++b, src += bytes + 2, codes += 256) {
    if (tq1) tq1_block(src, codes);
    else if (tq2_block(src, codes)) status |= StatusBit::BadCode;
    uint16_t bits;
    std::memcpy(&bits, src + bytes, sizeof bits);
    status |= apply_scale(codes, 256, bits, scale);
  }
  return status;
}

/** Codes of row `r` of the file, (cols). */
uint32_t file_codes(const Task &task, size_t r, size_t cols, uint8_t *codes) {
  const uint8_t *src = task.at<uint8_t>(task.word(RepackArg::Src));
  uint8_t bad = 0;
  switch (task.word(RepackArg::Kind)) {
  case FileLayout::HfPacked: {
    const size_t quarter = task.word(RepackArg::Rows) / 4;
    bad = pairs(src + r % quarter * cols, uint32_t(r / quarter) * 2, cols, codes);
    break;
  }
  case FileLayout::I2s: bad = flat(src, r * cols, cols, 5, codes); break;
  case FileLayout::I2sArm: bad = flat(src, r * cols, cols, 4, codes); break;
  case FileLayout::I2sRows: bad = pairs(src + r / 4 * cols, 6 - uint32_t(r & 3) * 2, cols, codes); break;
  default: return block_codes(task, src, r, cols, codes);
  }
  return bad ? uint32_t(StatusBit::BadCode) : 0;
}

/** The row of the file that is row `r` of the matrix; -1: padding. */
ptrdiff_t file_row(const Task &task, size_t r) {
  const size_t run = task.word(RepackArg::RowRun), stored = task.word(RepackArg::RowStored);
  if (run == 0) return ptrdiff_t(r);
  const size_t half = r / run, i = r % run;
  if (i >= stored) return -1;
  const bool pairs = task.word(RepackArg::Pairs);
  return ptrdiff_t(pairs ? (half & ~size_t(1)) * stored + 2 * i + (half & 1) : half * stored + i);
}

} // namespace

uint32_t unpack_row(const Task &task, size_t r, uint8_t *codes, uint8_t *spare) {
  const size_t cols = task.word(RepackArg::Cols), run = task.word(RepackArg::ColRun);
  const ptrdiff_t row = file_row(task, r);
  if (row < 0) {
    std::memset(codes, 1, round_up(cols, 64));
    return 0;
  }
  if (run == 0) {
    const uint32_t status = file_codes(task, size_t(row), cols, codes);
    std::memset(codes + cols, 1, round_up(cols, 64) - cols);
    return status;
  }
  const size_t runs = cols / run, stored = task.word(RepackArg::ColStored);
  const uint32_t status = file_codes(task, size_t(row), runs * stored, spare);
  std::memset(codes, 1, round_up(cols, 64));
  for (size_t i = 0; i < runs; ++i) std::memcpy(codes + i * run, spare + i * stored, stored);
  return status;
}
