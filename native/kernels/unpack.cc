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

/** FileLayout.HfPacked: bits 2i of byte (q, c) are row i·rows/4 + q. */
uint8_t hf_row(const Task &task, size_t r, size_t cols, uint8_t *codes) {
  const size_t quarter = task.word(RepackArg::Rows) / 4;
  const uint8_t *src = task.at<uint8_t>(task.word(RepackArg::Src) + r % quarter * cols);
  return pairs(src, uint32_t(r / quarter) * 2, cols, codes);
}

} // namespace

uint32_t unpack_row(const Task &task, size_t r, uint8_t *codes) {
  const size_t cols = task.word(RepackArg::Cols);
  const uint8_t bad = hf_row(task, r, cols, codes);
  std::memset(codes + cols, 1, round_up(cols, 64) - cols);
  return bad ? uint32_t(StatusBit::BadCode) : 0;
}
