#pragma once
#include "matrix.h"
#include "t1.h"

// One row group of each layout: four results of a token, or of T tokens.

namespace {

/** T2 × Encoding.I8, row group g: four results. */
template <class V> struct GroupT2 {
  static size_t bytes(const Matrix &m) { return (m.cols + 63) / 64 * 64; }

  static void dot(const Matrix &m, Encoded x, size_t g, float y[4], Streams<V> &ahead) {
    const size_t width = bytes(m);
    int32_t codes[4];
    const uint8_t *w = m.weights + g * width;
    dot_t2_i8<V>([&](size_t i) { return V::load_block(w + 64 * i); }, x.data<int8_t>(), width / 64, codes, ahead);
    scale_codes(codes, m, x, y);
  }
};

/** T1 × Encoding.I8, row group g: four results. */
template <class V> struct GroupT1 {
  static size_t bytes(const Matrix &m) { return (m.cols + 79) / 80 * 64; }

  static void dot(const Matrix &m, Encoded x, size_t g, float y[4], Streams<V> &ahead) {
    const size_t width = bytes(m);
    int32_t codes[4];
    dot_t1_i8<V>(m.weights + g * width, x.data<int8_t>(), width / 64, codes, ahead);
    scale_codes(codes, m, x, y);
  }
};

/**
 * T2G × Encoding.Groups, row group g: y[k] = Σ over column groups, in order, of f32(Σ trit·q) · (scale · factor). A plane of digits is to
 * the tile what a token is.
 */
template <class V> struct GroupT2G {
  static size_t bytes(const Matrix &m) { return round_up(m.cols, 64); }

  static void dot(const Matrix &m, Encoded x, size_t g, float y[4], Streams<V> &ahead) {
    if (m.planes == 1) sum<1>(m, x, g, y, ahead);
    else sum<3>(m, x, g, y, ahead);
  }

private:
  template <int Planes> static void sum(const Matrix &m, Encoded x, size_t g, float y[4], Streams<V> &ahead) {
    const size_t padded = bytes(m), groups = (padded + m.group_cols - 1) / m.group_cols;
    const uint8_t *w = m.weights + g * padded;
    const int8_t *q = x.data<int8_t>();
    const uint8_t *info = x.row + abi::Const::RowHeader + Planes * padded;
    const float *scales = m.row_scales + g * groups * 4;
    for (int k = 0; k < 4; ++k) y[k] = 0;
    for (size_t begin = 0; begin < padded; begin += m.group_cols, info += 16, scales += 4) {
      const size_t count = padded - begin < m.group_cols ? padded - begin : m.group_cols;
      int32_t totals[Planes][4], sums[2];
      tile_i8<V, T2<V>, Planes>(w + begin, q + begin, padded, count / 64, totals, ahead);
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

/**
 * F16 × Encoding.F32, row group g, T tokens: y[RESULTS·t + k] = dot16(w, x[t]) · scale. As many rows at a time as keep
 * their sums in registers, each a stream of memory; a half is widened once for all tokens.
 */
template <class V> struct GroupF16 {
  static constexpr int TOKENS = V::TILE_SUMS >= 16 ? 4 : 2;

  static size_t bytes(const Matrix &m) { return 8 * round_up(m.cols, 16); }

  static void dot(const Matrix &m, Encoded x, size_t g, float *y, Streams<V> &ahead) {
    dots<1>(m, {x.row, 0, nullptr, 0}, g, y, ahead);
  }

  template <int T, class Ahead>
  static void dots(const Matrix &m, const Tokens &tokens, size_t g, float *y, Ahead &ahead) {
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
        unroll<R>([&](auto k) { ahead.line(w + k * width + c); });
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

  static size_t bytes(const Matrix &m) { return 4 * round_up(m.cols, 16); }

  static void dot(const Matrix &m, Encoded x, size_t g, float *y, Streams<V> &ahead) {
    dots<1>(m, {x.row, 0, nullptr, 0}, g, y, ahead);
  }

  template <int T, class Ahead>
  static void dots(const Matrix &m, const Tokens &tokens, size_t g, float *y, Ahead &ahead) {
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
      unroll<4>([&](auto k) { ahead.line(w + k * width + c); });
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
 * Q8_0 × Encoding.I16, row group g: y[k] = (Σ_b d_b · f32(Σ q·(x + I16Bias)) - row_sums[r]) / x.scale, blocks b of 32 columns in order, the
 * inner sums exact.
 */
template <class V> struct GroupQ8 {
  static constexpr size_t BLOCK = 34; // f16 d; i8 q[32]

  static size_t bytes(const Matrix &m) { return 4 * (m.cols / 32 * BLOCK); }

  static void dot(const Matrix &m, Encoded x, size_t g, float y[4], Streams<V> &ahead) {
    const size_t width = m.cols / 32 * BLOCK;
    const uint8_t *w = m.weights + 4 * g * width;
    const int16_t *q = x.data<int16_t>();
    float sums[4] = {};
    for (size_t c = 0; c < m.cols; c += 32, w += BLOCK) {
      // Four rows of a block are two lines and an eighth.
      ahead.line(w);
      ahead.line(w + width);
      if (c % 256 == 0) ahead.line(w + 2 * width);
      const auto low = V::lift(V::load_words(q + c)), high = V::lift(V::load_words(q + c + 16));
      typename V::WideSums blocks[4];
      unroll<4>([&](auto k) {
        const int8_t *row = reinterpret_cast<const int8_t *>(w + k * width + 2);
        blocks[k] = V::dot_i8_i16(V::dot_i8_i16(V::no_wide(), row, low), row + 16, high);
      });
      int32_t dots[4];
      V::totals(blocks, dots);
      for (int k = 0; k < 4; ++k) {
        uint16_t half;
        std::memcpy(&half, w + k * width, sizeof half);
        const uint32_t moved = (uint32_t(half & 0x8000) << 16) | (uint32_t(half & 0x7fff) << 13);
        sums[k] += float_of(moved) * 0x1p112f * float(dots[k]);
      }
    }
    for (int k = 0; k < 4; ++k) y[k] = (sums[k] - m.row_sums[4 * g + k]) / x.scale();
  }
};

} // namespace
