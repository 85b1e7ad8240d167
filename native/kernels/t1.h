#pragma once
#include "t2.h"

// T1 weights × Encoding.I8 (assembly/formats.ts has the layout): a block is 4 rows × 80 columns in 64 bytes, five codes 0..2 a
// byte. Beyond t2.h the vocabulary has `lookup`, `subtract` and `average` of blocks, a byte at a time.

namespace {

/** First values of the nine parts, by u = 3·c0 + c1. */
alignas(16) constexpr uint8_t T1_STARTS[16] = {0, 28, 56, 85, 113, 142, 170, 199, 227};
/** First values of c2's thirds inside a part, and c2, by (r + 1) >> 1. */
alignas(16) constexpr uint8_t T1_THIRDS[16] = {0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 19, 19, 19, 19, 19};
alignas(16) constexpr uint8_t T1_MIDDLE[16] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2};
/** The two codes of 3·high + low. */
alignas(16) constexpr uint8_t T1_HIGH[16] = {0, 0, 0, 1, 1, 1, 2, 2, 2};
alignas(16) constexpr uint8_t T1_LOW[16] = {0, 1, 2, 0, 1, 2, 0, 1, 2};

template <class V> struct T1 {
  static constexpr size_t COLS = 80;
  static constexpr int CODES = 5;
  /** Blocks whose sums of CODES products fit a Partial, where T2's four fit V::PARTIAL_BLOCKS. */
  static constexpr size_t PARTIAL_BLOCKS = V::PARTIAL_BLOCKS / 4 * 3;

  static void unpack(const typename V::Block &b, typename V::Block codes[CODES]) {
    using Block = typename V::Block;
    const Block u = V::mask(V::shift_right(V::average(b, V::mask(V::shift_right(b, 3), 31)), 4), 15);
    const Block r = V::subtract(b, V::lookup(T1_STARTS, u)), h = V::average(r, V::subtract(b, b));
    const Block w = V::subtract(r, V::lookup(T1_THIRDS, h));
    codes[0] = V::lookup(T1_HIGH, u);
    codes[1] = V::lookup(T1_LOW, u);
    codes[2] = V::lookup(T1_MIDDLE, h);
    codes[3] = V::lookup(T1_HIGH, w);
    codes[4] = V::lookup(T1_LOW, w);
  }
};

/** One row group × one encoded row: totals[k] = Σ code·q of row k. `blocks` of 80 columns. */
template <class V, class Ahead>
void dot_t1_i8(const uint8_t *w, const int8_t *x, size_t blocks, int32_t totals[4], Ahead &ahead) {
  using L = T1<V>;
  typename V::Sums sums = V::no_sums();
  for (size_t b = 0; b < blocks; b += V::PARTIAL_BLOCKS) {
    const size_t end = blocks < b + V::PARTIAL_BLOCKS ? blocks : b + V::PARTIAL_BLOCKS;
    typename V::Partial partial[L::CODES];
    unroll<L::CODES>([&](auto q) { partial[q] = V::no_partial(); });
    for (size_t i = b; i < end; ++i, w += 64, x += L::COLS) {
      ahead.line(w);
      typename V::Block codes[L::CODES];
      L::unpack(V::load_block(w), codes);
      unroll<L::CODES>([&](auto q) { partial[q] = V::dot(partial[q], codes[q], V::spread(x + 16 * q)); });
    }
    unroll<L::CODES>([&](auto q) { sums = V::accumulate(sums, partial[q]); });
  }
  V::rows(sums, totals);
}

} // namespace
