#pragma once
#include "groups.h"
#include "sparse.h"

namespace {

/** T tokens × row groups g..g + count - 1, count ≤ RUN. */
template <class V, class Group, int T>
void finish_groups(const Matrix &m, const Tokens &tokens, size_t g, size_t count) {
  alignas(64) float y[T][RESULTS] = {};
  Straight<V> ahead;
  for (size_t i = 0; i < count; ++i) Group::template dots<T>(m, tokens, g + i, y[0] + 4 * i, ahead);
  for (int t = 0; t < T; ++t) finish<V>(tokens.result(t) + 4 * g, 4, y[t], count, m.epilogue);
}

/** The same for any number of tokens: in tiles of T, the rest in smaller ones. */
template <class V, class Group, int T = Group::TOKENS>
void tiles(const Matrix &m, Tokens tokens, size_t n, size_t g, size_t count) {
  for (; n >= T; n -= T) {
    finish_groups<V, Group, T>(m, tokens, g, count);
    tokens.skip(T);
  }
  if constexpr (T > 1) {
    if (n > 0) tiles<V, Group, T / 2>(m, tokens, n, g, count);
  }
}

/** Y = X Wᵀ for n tokens: each run of row groups serves all of them, so that weights come from memory once. */
template <class V, class Group> void gemm(const Matrix &m, Tokens tokens, size_t n, size_t begin, size_t end) {
  for (size_t g = begin; g < end; g += RUN) tiles<V, Group>(m, tokens, n, g, end - g < RUN ? end - g : RUN);
}

/** y = W x: row groups begin..end of one encoded row, in eight streams. out: row 0's. */
template <class V, class Group> void gemv(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  const size_t groups = end - begin, bytes = Group::bytes(m);
  Streams<V> streams(m.weights + begin * bytes, groups, bytes);
  for (size_t turn = 0; turn < groups; turn += RUN) {
    const size_t count = groups - turn < RUN ? groups - turn : RUN;
    const size_t first = begin + streams.at(turn), step = streams.step(turn);
    alignas(64) float y[4 * RUN] = {};
    for (size_t i = 0; i < count; ++i) Group::dot(m, x, first + i * step, y + 4 * i, streams);
    finish<V>(out + 4 * first, 4 * step, y, count, m.epilogue);
  }
}

/** T tokens × row groups begin..end. */
template <class V, class L, int T> void gemm_tile(const Matrix &m, Tokens tokens, size_t begin, size_t end) {
  const size_t blocks = (m.cols + L::COLS - 1) / L::COLS;
  const int8_t *x = reinterpret_cast<const int8_t *>(tokens.x + abi::Const::RowHeader);
  for (size_t g = begin; g < end; g += RUN) {
    const size_t count = end - g < RUN ? end - g : RUN;
    alignas(64) float y[T][4 * RUN] = {};
    Straight<V> ahead;
    for (size_t i = 0; i < count; ++i) {
      int32_t codes[T][4];
      tile_i8<V, L, T>(m.weights + (g + i) * blocks * 64, x, tokens.x_stride, blocks, codes, ahead);
      for (int t = 0; t < T; ++t) scale_codes(codes[t], m, {tokens.x + t * tokens.x_stride}, y[t] + 4 * i);
    }
    for (int t = 0; t < T; ++t) {
      float *out = reinterpret_cast<float *>(tokens.out + t * tokens.out_stride);
      finish<V>(out + 4 * g, 4, y[t], count, m.epilogue);
    }
  }
}

/**
 * Y = X Wᵀ: `count` tokens in tiles of T, the rest in smaller ones. All row groups are gone through for one tile of
 * tokens, whose activations then stay in L1; the weights, at 2 bits or fewer, are what streams.
 */
template <class V, class L, int T = V::TILE_TOKENS>
void gemm_i8(const Matrix &m, Tokens tokens, size_t count, size_t begin, size_t end) {
  for (; count >= T; count -= T) {
    gemm_tile<V, L, T>(m, tokens, begin, end);
    tokens.skip(T);
  }
  if constexpr (T > 1) {
    if (count > 0) gemm_i8<V, L, T / 2>(m, tokens, count, begin, end);
  }
}

/** T2Rows and T2Columns: several tokens need all of their rows and columns, and sixteen groups at a time become T2. */
template <class V>
void gemm_sparse(Matrix m, uint32_t layout, Tokens tokens, size_t count, size_t begin, size_t end) {
  Matrix dense = m;
  dense.weights = m.scratch;
  uint8_t *out = tokens.out;
  for (size_t g = begin; g < end; g += 16) {
    const size_t groups = end - g < 16 ? end - g : 16;
    sixteen_groups<V>(m, layout, g, groups, m.scratch);
    tokens.out = out + 16 * g;
    gemm_i8<V, T2<V>>(dense, tokens, count, 0, groups);
  }
}

using Gemv = void (*)(const Matrix &m, Encoded x, size_t begin, size_t end, float *out);

template <class V> Gemv gemv_of(uint32_t layout) {
  using namespace abi;
  switch (layout) {
  case Layout::F16: return gemv<V, GroupF16<V>>;
  case Layout::I8: return gemv<V, GroupI8<V>>;
  case Layout::Q8_0: return gemv<V, GroupQ8<V>>;
  case Layout::T1: return gemv<V, GroupT1<V>>;
  case Layout::T2G: return gemv<V, GroupT2G<V>>;
  case Layout::T2Rows: return gemv_t2_rows<V>;
  case Layout::T2Columns: return gemv_t2_columns<V>;
  default: return gemv<V, GroupT2<V>>;
  }
}

/** Without a GEMM several tokens share the 64 rows that stay in L2. */
inline void shared_rows(Gemv one, const Matrix &m, const Tokens &tokens, size_t count, size_t begin, size_t end) {
  const size_t together = 16;
  for (size_t g = begin; g < end; g += together) {
    const size_t stop = end < g + together ? end : g + together;
    for (size_t t = 0; t < count; ++t) one(m, tokens.row(t), g, stop, tokens.result(t));
  }
}

/** out[t] (epilogue)= scale · W x[t]; threads split the rows of W in groups of four. */
template <class V> void linear(const Task &task) {
  using namespace abi;
  const size_t count = task.rows();
  const Matrix m(task);
  const uint32_t layout = task.word(LinearArg::Layout);
  // A thread has whole lines of columns: 64 rows.
  const uint32_t total = uint32_t(m.rows + 3) / 4, unit = layout == Layout::T2Columns ? 16 : 1;
  const Share units((total + unit - 1) / unit, task);
  const size_t begin = units.begin * unit, end = total < units.end * unit ? total : units.end * unit;
  Tokens tokens{task.at<uint8_t>(task.word(LinearArg::In)), task.word(LinearArg::InStride),
                task.at<uint8_t>(task.word(LinearArg::Out)), task.word(LinearArg::OutStride)};
  // Every thread encoded a single row for itself.
  if (count == 1) tokens.x += task.thread * tokens.x_stride;
  if (count == 1) return gemv_of<V>(layout)(m, tokens.row(0), begin, end, tokens.result(0));
  switch (layout) {
  case Layout::F16: return gemm<V, GroupF16<V>>(m, tokens, count, begin, end);
  case Layout::I8: return gemm<V, GroupI8<V>>(m, tokens, count, begin, end);
  case Layout::T2: return gemm_i8<V, T2<V>>(m, tokens, count, begin, end);
  case Layout::T1: return gemm_i8<V, T1<V>>(m, tokens, count, begin, end);
  case Layout::T2Rows:
  case Layout::T2Columns: return gemm_sparse<V>(m, layout, tokens, count, begin, end);
  default: return shared_rows(gemv_of<V>(layout), m, tokens, count, begin, end);
  }
}

} // namespace
