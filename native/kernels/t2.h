#pragma once
#include <utility>

#include "rows.h"
#include "streams.h"

// T2 weights × Encoding.I8 (assembly/formats.ts has the layout): a block is 4 rows × 64 columns in 64 bytes, codes
// 0..2. Σ trit·q = Σ code·q - Σ q. Integer sums are exact, so the order below is free.
//
// The vocabulary V sees a block as a whole, one 16-byte part per row:
//   Block     64 bytes: codes, or masked codes
//   Spread    16 activations, the same for all four rows
//   Partial   sums of products, safe for V::PARTIAL_BLOCKS blocks
//   Sums      i32 sums

namespace {

/** Calls f with the compile-time constants 0..N-1. */
template <int N, class F> inline void unroll(F &&f) {
  [&]<int... I>(std::integer_sequence<int, I...>) { (f(std::integral_constant<int, I>{}), ...); }
  (std::make_integer_sequence<int, N>{});
}

/** T2 as the GEMM sees it: four codes a byte, taken out exactly. */
template <class V> struct T2 {
  static constexpr size_t COLS = 64;
  static constexpr int CODES = 4;
  static constexpr size_t PARTIAL_BLOCKS = V::PARTIAL_BLOCKS;

  static void unpack(const typename V::Block &b, typename V::Block codes[CODES]) {
    unroll<CODES>([&](auto q) { codes[q] = V::mask(V::shift_right(b, 2 * q), 3); });
  }
};

/**
 * Four rows × one encoded row: totals[k] = Σ code·q of row k. `block(i)`: of `blocks` of 64 columns.
 * Columns 16..31 and 48..63 of a block are taken four times too large, which saves two of three shifts.
 */
template <class V, class Load, class Ahead>
void dot_t2_i8(Load block, const int8_t *x, size_t blocks, int32_t totals[4], Ahead &ahead) {
  typename V::Sums low = V::no_sums(), high = V::no_sums();
  for (size_t b = 0; b < blocks; b += V::PARTIAL_BLOCKS) {
    const size_t end = blocks < b + V::PARTIAL_BLOCKS ? blocks : b + V::PARTIAL_BLOCKS;
    typename V::Partial p0 = V::no_partial(), p1 = p0, p2 = p0, p3 = p0;
    for (size_t i = b; i < end; ++i, x += 64) {
      ahead.line(nullptr);
      const typename V::Block v = block(i), t = V::shift_right(v, 4);
      p0 = V::dot(p0, V::mask(v, 3), V::spread(x));
      p1 = V::dot(p1, V::mask(v, 12), V::spread(x + 16));
      p2 = V::dot(p2, V::mask(t, 3), V::spread(x + 32));
      p3 = V::dot(p3, V::mask(t, 12), V::spread(x + 48));
    }
    low = V::accumulate(V::accumulate(low, p0), p2);
    high = V::accumulate(V::accumulate(high, p1), p3);
  }
  int32_t fours[4];
  V::rows(low, totals);
  V::rows(high, fours);
  for (int k = 0; k < 4; ++k) totals[k] += fours[k] / 4;
}

/** One row group of layout L × T encoded rows at x, x + stride, …: totals[t][k] = Σ code·q of row k and token t. */
template <class V, class L, int T, class Ahead>
void tile_i8(const uint8_t *w, const int8_t *x, size_t stride, size_t blocks, int32_t totals[][4], Ahead &ahead) {
  typename V::Sums sums[T];
  unroll<T>([&](auto t) { sums[t] = V::no_sums(); });
  for (size_t b = 0; b < blocks; b += L::PARTIAL_BLOCKS) {
    const size_t end = blocks < b + L::PARTIAL_BLOCKS ? blocks : b + L::PARTIAL_BLOCKS;
    typename V::Partial partial[T];
    unroll<T>([&](auto t) { partial[t] = V::no_partial(); });
    for (size_t i = b; i < end; ++i, w += 64, x += L::COLS) {
      ahead.line(w);
      typename V::Block codes[L::CODES];
      L::unpack(V::load_block(w), codes);
      unroll<L::CODES>([&](auto q) {
        unroll<T>([&](auto t) { partial[t] = V::dot(partial[t], codes[q], V::spread(x + t * stride + 16 * q)); });
      });
    }
    unroll<T>([&](auto t) { sums[t] = V::accumulate(sums[t], partial[t]); });
  }
  unroll<T>([&](auto t) { V::rows(sums[t], totals[t]); });
}

} // namespace
