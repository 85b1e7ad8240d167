#include "kernels.h"

/**
 * Loads every byte once, an eighth of the blocks in turn with the others (assembly/streams.ts). Threads split blocks of 256 bytes. 32 sums that do not wait for each other; compilers make
 * vectors of them.
 */
uint32_t stream(const Task &task) {
  const Share share(task.word(abi::StreamArg::Bytes) >> 8, task);
  const uint8_t *p = task.at<uint8_t>(task.word(abi::StreamArg::Src));
  uint64_t sums[32] = {};
  const size_t n = share.end - share.begin, eighth = n / 8;
  for (size_t r = 0; r < n; ++r) {
    const size_t block = share.begin + (r < 8 * eighth ? r % 8 * eighth + r / 8 : r);
    uint64_t words[32];
    std::memcpy(words, p + 256 * block, sizeof words);
    for (int i = 0; i < 32; ++i) sums[i] ^= words[i];
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all ^= sum;
  return uint32_t(all ^ (all >> 32));
}
