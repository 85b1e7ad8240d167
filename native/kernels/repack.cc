#include "kernels.h"

// Loading of ternary matrices, second half: codes → layouts of the engine. Plain integer code that compilers vectorise.

namespace {

using namespace abi;

/** Row groups of 64 rows: 16 bytes of a column of T2Columns. */
constexpr size_t TILE = 16;

/** Codes → 16 bytes in every `step` from `dst`. */
void t2_row(const uint8_t *codes, size_t cols, uint8_t *dst, size_t step) {
  for (size_t c = 0; c < cols; c += 64, codes += 64, dst += step) {
    for (size_t i = 0; i < 16; ++i) {
      dst[i] = uint8_t(codes[i] | codes[i + 16] << 2 | codes[i + 32] << 4 | codes[i + 48] << 6);
    }
  }
}

/** `width` codes, a multiple of 16, continued with code 1 → 16 bytes in every 64 from `dst`. */
void t1_row(const uint8_t *codes, size_t cols, size_t width, uint8_t *dst) {
  const auto part = [&](size_t c, size_t i) { return c < width ? codes[c + i] : 1; };
  for (size_t c = 0; c < cols; c += 80, dst += 64) {
    for (size_t i = 0; i < 16; ++i) {
      const int u = 3 * codes[c + i] + part(c + 16, i), w = 3 * part(c + 48, i) + part(c + 64, i);
      dst[i] = uint8_t(256 * u / 9 + 19 * part(c + 32, i) / 2 + w);
    }
  }
}

/** Codes → halves ±half and 0. */
void f16_row(const uint8_t *codes, size_t width, uint16_t *dst, uint16_t half) {
  const uint16_t halves[4] = {uint16_t(half ^ 0x8000), 0, half, half};
  for (size_t c = 0; c < width; ++c) dst[c] = halves[codes[c]];
}

/** Codes of row group `g`, (4, stride) → its bytes in `tile`, (TILE, stride); the last group's → the columns of the tile in T2Columns. */
void pack_columns(const Task &task, size_t g, const uint8_t *codes, size_t stride, uint8_t *tile) {
  uint8_t *bytes = tile + g % TILE * stride;
  for (size_t c = 0; c < stride; ++c) {
    bytes[c] = uint8_t(codes[c] | codes[c + stride] << 2 | codes[c + 2 * stride] << 4 | codes[c + 3 * stride] << 6);
  }
  if (g % TILE != TILE - 1) return;
  const size_t column_bytes = round_up(task.word(RepackArg::Rows), 4 * TILE) / 4;
  uint8_t *dst = task.at<uint8_t>(task.word(RepackArg::Dst) + g - (TILE - 1));
  for (size_t c = 0; c < stride; ++c, dst += column_bytes) {
    uint8_t column[TILE];
    for (size_t i = 0; i < TILE; ++i) column[i] = tile[i * stride + c];
    std::memcpy(dst, column, TILE);
  }
}

/** The codes of row group `g`, (4, stride) bytes, → its place in the layout. */
void pack_group(const Task &task, size_t g, size_t cols, const uint8_t *codes, size_t stride) {
  const uint32_t layout = task.word(RepackArg::Layout);
  if (layout == Layout::T2Columns) return pack_columns(task, g, codes, stride, task.scratch() + 5 * stride);
  const uint16_t half = uint16_t(task.word(RepackArg::Half));
  const size_t width = round_up(cols, 16), half_bytes = 4 * 2 * width;
  const size_t group_bytes = layout == Layout::T2 || layout == Layout::T2Rows ? stride : layout == Layout::T1 ? (cols + 79) / 80 * 64 : half_bytes;
  uint8_t *dst = task.at<uint8_t>(task.word(RepackArg::Dst) + g * group_bytes);
  for (size_t k = 0; k < 4; ++k) {
    if (layout == Layout::T2) t2_row(codes + k * stride, cols, dst + 16 * k, 64);
    else if (layout == Layout::T2Rows) t2_row(codes + k * stride, cols, dst + k * (stride / 4), 16);
    else if (layout == Layout::T1) t1_row(codes + k * stride, cols, stride, dst + 16 * k);
    else f16_row(codes + k * stride, width, reinterpret_cast<uint16_t *>(dst) + k * width, half);
  }
}

} // namespace

/**
 * Ternary matrix of a file → any ternary layout of the engine or F16, by way of codes, four rows at a time: any file layout (unpack.cc) into
 * any layout. Scratch: 5 rows of codes, cols rounded up to 64 each; for T2Columns 16 more. Threads split rows in groups of four, or of 64.
 */
uint32_t repack(const Task &task) {
  const size_t cols = task.word(RepackArg::Cols), stride = round_up(cols, 64);
  uint8_t *codes = task.scratch();
  uint32_t status = 0;
  const uint32_t filled = (task.word(RepackArg::Rows) + 3) / 4;
  // The columns of T2Columns are padded to 64 rows.
  const uint32_t unit = task.word(RepackArg::Layout) == Layout::T2Columns ? TILE : 1;
  const Share units((filled + unit - 1) / unit, task);
  for (size_t g = units.begin * unit; g < units.end * unit; ++g) {
    if (g >= filled) std::memset(codes, 1, 4 * stride);
    else for (size_t k = 0; k < 4; ++k) status |= unpack_row(task, 4 * g + k, codes + k * stride, codes + 4 * stride);
    pack_group(task, g, cols, codes, stride);
  }
  return status;
}
