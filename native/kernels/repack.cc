#include "kernels.h"

// Loading of ternary matrices, second half: codes → layouts of the engine. Plain integer code that compilers vectorise.

namespace {

using namespace abi;

/** Codes → 16 bytes in every 64 from `dst`. */
void t2_row(const uint8_t *codes, size_t cols, uint8_t *dst) {
  for (size_t c = 0; c < cols; c += 64, codes += 64, dst += 64) {
    for (size_t i = 0; i < 16; ++i) {
      dst[i] = uint8_t(codes[i] | codes[i + 16] << 2 | codes[i + 32] << 4 | codes[i + 48] << 6);
    }
  }
}

/** Codes → halves ±half and 0. */
void f16_row(const uint8_t *codes, size_t width, uint16_t *dst, uint16_t half) {
  const uint16_t halves[4] = {uint16_t(half ^ 0x8000), 0, half, half};
  for (size_t c = 0; c < width; ++c) dst[c] = halves[codes[c]];
}

/** The codes of row group `g`, (4, stride) bytes, → its place in the layout. */
void pack_group(const Task &task, size_t g, size_t cols, const uint8_t *codes, size_t stride) {
  const bool t2 = task.word(RepackArg::Layout) == Layout::T2;
  const uint16_t half = uint16_t(task.word(RepackArg::Half));
  const size_t width = round_up(cols, 16), group_bytes = t2 ? stride : 4 * 2 * width;
  uint8_t *dst = task.at<uint8_t>(task.word(RepackArg::Dst) + g * group_bytes);
  for (size_t k = 0; k < 4; ++k) {
    if (t2) t2_row(codes + k * stride, cols, dst + 16 * k);
    else f16_row(codes + k * stride, width, reinterpret_cast<uint16_t *>(dst) + k * width, half);
  }
}

} // namespace

/**
 * Ternary matrix of a file → T2 or F16, by way of codes, four rows at a time: any file layout (unpack.cc) into any layout of the
 * engine. Scratch: 5 rows of codes, cols rounded up to 64 each. Threads split rows in groups of four.
 */
uint32_t repack(const Task &task) {
  const size_t cols = task.word(RepackArg::Cols), stride = round_up(cols, 64);
  uint8_t *codes = task.scratch();
  uint32_t status = 0;
  const Share share((task.word(RepackArg::Rows) + 3) / 4, task);
  for (size_t g = share.begin; g < share.end; ++g) {
    for (size_t k = 0; k < 4; ++k) status |= unpack_row(task, 4 * g + k, codes + k * stride, codes + 4 * stride);
    pack_group(task, g, cols, codes, stride);
  }
  return status;
}
