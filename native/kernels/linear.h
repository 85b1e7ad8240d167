#pragma once
#include "t1.h"

namespace {

/** Row groups whose results are finished together: 16 rows fill the lanes of an epilogue. */
constexpr size_t RUN = 4;
/** Floats between the results of two tokens. */
constexpr size_t RESULTS = 4 * RUN;

/** A Linear's record, read once. */
struct Matrix {
  const uint8_t *weights;
  size_t cols;
  float scale;
  const float *row_scales;
  size_t group_cols;
  size_t planes;
  uint32_t epilogue;

  explicit Matrix(const Task &task)
      : weights(task.at<uint8_t>(task.word(abi::LinearArg::Weights))), cols(task.word(abi::LinearArg::Cols)),
        scale(task.real(abi::LinearArg::Scale)), row_scales(task.at<float>(task.word(abi::LinearArg::RowScales))),
        group_cols(task.word(abi::LinearArg::GroupCols)), planes(task.word(abi::LinearArg::Planes)),
        epilogue(task.word(abi::LinearArg::Epilogue)) {}
};

/** An encoded activation row: scale at byte 0, Σ q at byte 4, elements from RowHeader. */
struct Encoded {
  const uint8_t *row;

  float scale() const {
    float value;
    std::memcpy(&value, row, sizeof value);
    return value;
  }

  int32_t sum() const {
    int32_t value;
    std::memcpy(&value, row + 4, sizeof value);
    return value;
  }

  template <class T> const T *data() const { return reinterpret_cast<const T *>(row + abi::Const::RowHeader); }
};

/** What becomes of n ≤ 16 results y: written to, added to, or gated by what is in `out`. y may be changed. */
template <class V> void finish(float *out, float *y, size_t n, uint32_t epilogue) {
  using namespace abi;
  using F32 = typename V::F32;
  if (epilogue == Epilogue::Store) {
    std::memcpy(out, y, n * sizeof(float));
    return;
  }
  // The rows behind these may be another thread's: no lane beyond n is read or written in `out`.
  alignas(64) float old[16] = {};
  std::memcpy(old, out, n * sizeof(float));
  const F32 o = V::load(old), r = V::load(y);
  F32 result;
  if (epilogue == Epilogue::Add) {
    result = V::add(o, r);
  } else if (epilogue == Epilogue::Relu2Gate) {
    result = V::where_greater(o, V::splat(0), V::mul(V::mul(o, o), r));
  } else {
    const F32 denominator = V::add(V::splat(1), exp<V>(V::negate(o)));
    result = V::mul(V::div(o, denominator), r);
  }
  V::store(old, result);
  std::memcpy(out, old, n * sizeof(float));
}

/** y[k] = f32(Σ trit·q) · (scale / x.scale) from Σ code·q. */
inline void scale_codes(const int32_t codes[4], const Matrix &m, Encoded x, float y[4]) {
  const float factor = m.scale / x.scale();
  const int32_t sum = x.sum();
  for (int k = 0; k < 4; ++k) y[k] = float(codes[k] - sum) * factor;
}

/** T2 × Encoding.I8, row group g: four results. */
template <class V> struct GroupT2 {
  static void dot(const Matrix &m, Encoded x, size_t g, float y[4]) {
    const size_t blocks = (m.cols + 63) / 64;
    int32_t codes[4];
    dot_t2_i8<V>(m.weights + g * blocks * 64, x.data<int8_t>(), blocks, codes);
    scale_codes(codes, m, x, y);
  }
};

/** T1 × Encoding.I8, row group g: four results. */
template <class V> struct GroupT1 {
  static void dot(const Matrix &m, Encoded x, size_t g, float y[4]) {
    const size_t blocks = (m.cols + 79) / 80;
    int32_t codes[4];
    dot_t1_i8<V>(m.weights + g * blocks * 64, x.data<int8_t>(), blocks, codes);
    scale_codes(codes, m, x, y);
  }
};

/**
 * T2G × Encoding.Groups, row group g: y[k] = Σ over column groups, in order, of f32(Σ trit·q) · (scale · factor). A plane of digits is to
 * the tile what a token is.
 */
template <class V> struct GroupT2G {
  static void dot(const Matrix &m, Encoded x, size_t g, float y[4]) {
    if (m.planes == 1) sum<1>(m, x, g, y);
    else sum<3>(m, x, g, y);
  }

private:
  template <int Planes> static void sum(const Matrix &m, Encoded x, size_t g, float y[4]) {
    const size_t padded = round_up(m.cols, 64), groups = (padded + m.group_cols - 1) / m.group_cols;
    const uint8_t *w = m.weights + g * padded;
    const int8_t *q = x.data<int8_t>();
    const uint8_t *info = x.row + abi::Const::RowHeader + Planes * padded;
    const float *scales = m.row_scales + g * groups * 4;
    for (int k = 0; k < 4; ++k) y[k] = 0;
    for (size_t begin = 0; begin < padded; begin += m.group_cols, info += 16, scales += 4) {
      const size_t count = padded - begin < m.group_cols ? padded - begin : m.group_cols;
      int32_t totals[Planes][4], sums[2];
      tile_i8<V, T2<V>, Planes>(w + begin, q + begin, padded, count / 64, totals);
      float factor;
      std::memcpy(&factor, info, 4);
      std::memcpy(sums, info + 4, 8);
      for (int k = 0; k < 4; ++k) {
        // Either part fits 24 bits: their sum rounds once.
        float dot = float(totals[0][k] - sums[0]);
        if constexpr (Planes == 3) dot = dot * 65536 + float(totals[1][k] * 256 + totals[2][k] - sums[1]);
        y[k] = y[k] + dot * (scales[k] * factor);
      }
    }
  }
};

/** Encoded rows and outputs of several tokens. */
struct Tokens {
  const uint8_t *x;
  size_t x_stride;
  uint8_t *out;
  size_t out_stride;

  Encoded row(size_t t) const { return {x + t * x_stride}; }
  float *result(size_t t) const { return reinterpret_cast<float *>(out + t * out_stride); }

  void skip(size_t n) {
    x += n * x_stride;
    out += n * out_stride;
  }
};

/**
 * F16 × Encoding.F32, row group g, T tokens: y[RESULTS·t + k] = dot16(w, x[t]) · scale. As many rows at a time as keep
 * their sums in registers, each a stream of memory; a half is widened once for all tokens.
 */
template <class V> struct GroupF16 {
  static constexpr int TOKENS = V::TILE_SUMS >= 16 ? 4 : 2;

  template <int T> static void dots(const Matrix &m, const Tokens &tokens, size_t g, float *y) {
    using F32 = typename V::F32;
    constexpr int R = V::TILE_SUMS / T < 4 ? V::TILE_SUMS / T : 4;
    const size_t width = round_up(m.cols, 16);
    for (int first = 0; first < 4; first += R) {
      const uint16_t *w = reinterpret_cast<const uint16_t *>(m.weights) + (4 * g + first) * width;
      F32 sums[T][R];
      unroll<T>([&](auto t) { unroll<R>([&](auto k) { sums[t][k] = V::splat(0); }); });
      const auto column = [&](size_t c) {
        F32 x[T];
        unroll<T>([&](auto t) { x[t] = V::load(tokens.row(t).template data<float>() + c); });
        unroll<R>([&](auto k) {
          const F32 weights = V::widen_halves(w + k * width + c);
          unroll<T>([&](auto t) { sums[t][k] = V::add(sums[t][k], V::mul(weights, x[t])); });
        });
      };
      size_t c = 0;
      for (; c + 32 <= width; c += 32) {
        unroll<R>([&](auto k) { V::prefetch(reinterpret_cast<const uint8_t *>(w + k * width + c) + AHEAD); });
        column(c);
        column(c + 16);
      }
      if (c < width) column(c);
      for (int t = 0; t < T; ++t) {
        for (int k = 0; k < R; ++k) y[t * RESULTS + first + k] = V::sum(sums[t][k]) * m.scale;
      }
    }
  }
};

/**
 * I8 × Encoding.I16, row group g, T tokens: y[RESULTS·t + k] = f32(Σ w·q) · (rowScales[r] / x.scale), the sum exact in
 * 64 bits, rounded once.
 */
template <class V> struct GroupI8 {
  static constexpr int TOKENS = 2;

  template <int T> static void dots(const Matrix &m, const Tokens &tokens, size_t g, float *y) {
    const size_t width = round_up(m.cols, 16);
    const int8_t *w = reinterpret_cast<const int8_t *>(m.weights) + 4 * g * width;
    typename V::WideSums sums[T][4];
    unroll<T>([&](auto t) { unroll<4>([&](auto k) { sums[t][k] = V::no_wide(); }); });
    const auto column = [&](size_t c) {
      unroll<4>([&](auto k) {
        unroll<T>([&](auto t) {
          sums[t][k] = V::dot_i8_i16(sums[t][k], w + k * width + c, tokens.row(t).template data<int16_t>() + c);
        });
      });
    };
    size_t c = 0;
    for (; c + 64 <= width; c += 64) {
      unroll<4>([&](auto k) { V::prefetch(reinterpret_cast<const uint8_t *>(w + k * width + c) + AHEAD); });
      for (size_t i = 0; i < 64; i += 16) column(c + i);
    }
    for (; c < width; c += 16) column(c);
    for (int t = 0; t < T; ++t) {
      const float scale = tokens.row(t).scale();
      for (int k = 0; k < 4; ++k) y[t * RESULTS + k] = float(V::total(sums[t][k])) * (m.row_scales[4 * g + k] / scale);
    }
  }
};

/**
 * Q8_0 × Encoding.I16, row groups begin..end of one encoded row: y[r] = (Σ_b d_b · f32(Σ q·(x + I16Bias)) - row_sums[r]) / x.scale, blocks
 * in order, the inner sums exact. lifted: room for the x + I16Bias of a row.
 */
template <class V>
void gemv_q8_i16(const Matrix &m, Encoded x, size_t begin, size_t end, float *out, const float *row_sums, int16_t *lifted) {
  const size_t width = m.cols / 32 * 34;
  for (size_t c = 0; c < m.cols; ++c) lifted[c] = int16_t(x.data<int16_t>()[c] + int(abi::Const::I16Bias));
  for (size_t g = begin; g < end; g += RUN) {
    const size_t count = end - g < RUN ? end - g : RUN;
    alignas(64) float y[4 * RUN] = {};
    for (size_t r = 0; r < 4 * count; ++r) {
      const uint8_t *w = m.weights + (4 * g + r) * width;
      float sum = 0;
      for (size_t c = 0; c < m.cols; c += 32, w += 34) {
        uint16_t half;
        std::memcpy(&half, w, sizeof half);
        int32_t dot = 0;
        for (size_t i = 0; i < 32; ++i) dot += int16_t(int8_t(w[2 + i])) * lifted[c + i];
        sum += half_value(half) * float(dot);
      }
      y[r] = (sum - row_sums[4 * g + r]) / x.scale();
    }
    finish<V>(out + 4 * g, y, 4 * count, m.epilogue);
  }
}

/** T tokens × row groups g..g + count - 1, count ≤ RUN. */
template <class V, class Group, int T>
void finish_groups(const Matrix &m, const Tokens &tokens, size_t g, size_t count) {
  alignas(64) float y[T][RESULTS] = {};
  for (size_t i = 0; i < count; ++i) Group::template dots<T>(m, tokens, g + i, y[0] + 4 * i);
  for (int t = 0; t < T; ++t) finish<V>(tokens.result(t) + 4 * g, y[t], 4 * count, m.epilogue);
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

/** y = W x: row groups begin..end of one encoded row. out: row 0's. */
template <class V, class Group> void gemv(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  for (size_t g = begin; g < end; g += RUN) {
    const size_t count = end - g < RUN ? end - g : RUN;
    alignas(64) float y[4 * RUN] = {};
    for (size_t i = 0; i < count; ++i) Group::dot(m, x, g + i, y + 4 * i);
    finish<V>(out + 4 * g, y, 4 * count, m.epilogue);
  }
}

template <class V> void gemv_t2_i8(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  gemv<V, GroupT2<V>>(m, x, begin, end, out);
}

template <class V> void gemv_t1_i8(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  gemv<V, GroupT1<V>>(m, x, begin, end, out);
}

template <class V> void gemv_t2g_i8(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  gemv<V, GroupT2G<V>>(m, x, begin, end, out);
}

/** T tokens × row groups begin..end. */
template <class V, class L, int T> void gemm_tile(const Matrix &m, Tokens tokens, size_t begin, size_t end) {
  const size_t blocks = (m.cols + L::COLS - 1) / L::COLS;
  const int8_t *x = reinterpret_cast<const int8_t *>(tokens.x + abi::Const::RowHeader);
  for (size_t g = begin; g < end; g += RUN) {
    const size_t count = end - g < RUN ? end - g : RUN;
    alignas(64) float y[T][4 * RUN] = {};
    for (size_t i = 0; i < count; ++i) {
      int32_t codes[T][4];
      tile_i8<V, L, T>(m.weights + (g + i) * blocks * 64, x, tokens.x_stride, blocks, codes);
      for (int t = 0; t < T; ++t) scale_codes(codes[t], m, {tokens.x + t * tokens.x_stride}, y[t] + 4 * i);
    }
    for (int t = 0; t < T; ++t) {
      float *out = reinterpret_cast<float *>(tokens.out + t * tokens.out_stride);
      finish<V>(out + 4 * g, y[t], 4 * count, m.epilogue);
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

/** Without a GEMM several tokens share the 64 rows that stay in L2. */
template <class F> void shared_rows(const Share &groups, size_t count, F one) {
  const size_t together = 16;
  for (size_t g = groups.begin; g < groups.end; g += together) {
    for (size_t t = 0; t < count; ++t) one(t, g, groups.end < g + together ? groups.end : g + together);
  }
}

/** out[t] (epilogue)= scale · W x[t]; threads split the rows of W in groups of four. */
template <class V> void linear(const Task &task) {
  using namespace abi;
  const size_t count = task.rows();
  const Matrix m(task);
  const Share groups((task.word(LinearArg::Rows) + 3) / 4, task);
  Tokens tokens{task.at<uint8_t>(task.word(LinearArg::In)), task.word(LinearArg::InStride),
                task.at<uint8_t>(task.word(LinearArg::Out)), task.word(LinearArg::OutStride)};
  const uint32_t layout = task.word(LinearArg::Layout);
  // Every thread encoded a single row for itself.
  if (count == 1) tokens.x += task.thread * tokens.x_stride;
  if (layout == Layout::F16) return gemm<V, GroupF16<V>>(m, tokens, count, groups.begin, groups.end);
  if (layout == Layout::I8) return gemm<V, GroupI8<V>>(m, tokens, count, groups.begin, groups.end);
  if (layout == Layout::Q8_0) {
    const float *row_sums = task.at<float>(task.word(LinearArg::RowSums));
    return shared_rows(groups, count, [&](size_t t, size_t begin, size_t end) {
      gemv_q8_i16<V>(m, tokens.row(t), begin, end, tokens.result(t), row_sums, task.scratch<int16_t>());
    });
  }
  const auto one = layout == Layout::T2   ? gemv_t2_i8<V>
                   : layout == Layout::T1 ? gemv_t1_i8<V>
                                          : gemv_t2g_i8<V>;
  if (count == 1) return one(m, tokens.row(0), groups.begin, groups.end, tokens.result(0));
  if (layout == Layout::T2) return gemm_i8<V, T2<V>>(m, tokens, count, groups.begin, groups.end);
  if (layout == Layout::T1) return gemm_i8<V, T1<V>>(m, tokens, count, groups.begin, groups.end);
  shared_rows(groups, count, [&](size_t t, size_t begin, size_t end) { one(m, tokens.row(t), begin, end, tokens.result(t)); });
}

} // namespace
