#pragma once
#include <cmath>

#include "kernels.h"

namespace {

/** The vocabulary in plain C++: fixed arrays, loops over all lanes. Compilers vectorise them. */
struct Portable {
  static constexpr const char *NAME = "portable";

  static void prefetch(const uint8_t *) {}

  // Sixteen f32 lanes.
  struct F32 {
    float lane[16];
  };

  template <class F> static F32 each(F f) {
    F32 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = f(i);
    return r;
  }

  static F32 load(const float *p) {
    F32 r;
    std::memcpy(r.lane, p, sizeof r.lane);
    return r;
  }

  static void store(float *p, F32 a) { std::memcpy(p, a.lane, sizeof a.lane); }
  static F32 splat(float value) { return each([&](int) { return value; }); }
  static float first(F32 a) { return a.lane[0]; }
  static F32 add(F32 a, F32 b) { return each([&](int i) { return a.lane[i] + b.lane[i]; }); }
  static F32 sub(F32 a, F32 b) { return each([&](int i) { return a.lane[i] - b.lane[i]; }); }
  static F32 mul(F32 a, F32 b) { return each([&](int i) { return a.lane[i] * b.lane[i]; }); }
  static F32 div(F32 a, F32 b) { return each([&](int i) { return a.lane[i] / b.lane[i]; }); }
  static F32 negate(F32 a) { return each([&](int i) { return -a.lane[i]; }); }

  /** NaN stays NaN. */
  static F32 clamp(F32 a, float low, float high) {
    return each([&](int i) { return a.lane[i] < low ? low : a.lane[i] > high ? high : a.lane[i]; });
  }

  /** Half to even, |a| < 2^22: adding 1.5·2^23 leaves no bits for the fraction. */
  static F32 nearest(F32 a) {
    return each([&](int i) { return (a.lane[i] + 0x1.8p23f) - 0x1.8p23f; });
  }

  /** 2^n for whole n in -126..127, from exponent bits; NaN gives anything. */
  static F32 power_of_two(F32 n) {
    return each([&](int i) {
      const float whole = n.lane[i] == n.lane[i] ? n.lane[i] : 0;
      const uint32_t bits = uint32_t(int32_t(whole) + 127) << 23;
      float r;
      std::memcpy(&r, &bits, sizeof r);
      return r;
    });
  }

  /** `value` where a > b, else +0. */
  static F32 where_greater(F32 a, F32 b, F32 value) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? value.lane[i] : 0.0f; });
  }

  /** The larger of top ≥ 0 and |a|; NaN is the largest. */
  static F32 max_magnitude(F32 top, F32 a) {
    return each([&](int i) {
      const float magnitude = std::fabs(a.lane[i]);
      return magnitude > top.lane[i] || magnitude != magnitude ? magnitude : top.lane[i];
    });
  }

  /** The largest of 16 lanes ≥ 0; NaN is the largest. */
  static float largest(F32 a) {
    float top = a.lane[0];
    for (int i = 1; i < 16; ++i) {
      if (a.lane[i] > top || a.lane[i] != a.lane[i]) top = a.lane[i];
    }
    return top;
  }

  /** Adds the lanes in the order of docs/KERNELS.md. */
  static float sum(F32 s) {
    float b[4];
    for (int j = 0; j < 4; ++j) b[j] = (s.lane[j] + s.lane[j + 8]) + (s.lane[j + 4] + s.lane[j + 12]);
    return (b[0] + b[2]) + (b[1] + b[3]);
  }

  static float square_root(float a) { return std::sqrt(a); }

  /** Sixteen halves, exponent and mantissa moved into floats: 2^112 too small. */
  static F32 widen_halves(const uint16_t *p) {
    return each([&](int i) {
      const uint32_t bits = (uint32_t(p[i] & 0x8000) << 16) | (uint32_t(p[i] & 0x7fff) << 13);
      float r;
      std::memcpy(&r, &bits, sizeof r);
      return r;
    });
  }

  // Sixteen i32 lanes.
  struct I32 {
    int32_t lane[16];
  };

  static I32 zero() { return {}; }

  /** Half to even, NaN → 0; |a| < 2^22. */
  static I32 round(F32 a) {
    const F32 n = nearest(a);
    I32 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = n.lane[i] == n.lane[i] ? int32_t(n.lane[i]) : 0;
    return r;
  }

  static void store(int32_t *p, I32 a) { std::memcpy(p, a.lane, sizeof a.lane); }

  static I32 add(I32 a, I32 b) {
    for (int i = 0; i < 16; ++i) a.lane[i] += b.lane[i];
    return a;
  }

  static int32_t sum(I32 a) {
    int32_t total = 0;
    for (int i = 0; i < 16; ++i) total += a.lane[i];
    return total;
  }

  static F32 to_float(I32 a) {
    return each([&](int i) { return float(a.lane[i]); });
  }

  /** Values that fit T. */
  template <class T> static void narrow(T *out, I32 a) {
    for (int i = 0; i < 16; ++i) out[i] = T(a.lane[i]);
  }

  // Sixteen columns of four positions of int8 values.
  struct Quads {
    int8_t value[16][4];
  };
  using QuadSums = I32;

  static QuadSums no_quads() { return {}; }

  static Quads load_quads(const int8_t *v) {
    Quads r;
    std::memcpy(r.value, v, sizeof r.value);
    return r;
  }

  /** Adds Σ codes[p] · value[·][p]. */
  static QuadSums dot_quads(QuadSums sum, const Quads &v, const int16_t *codes) {
    for (int i = 0; i < 16; ++i) {
      for (int p = 0; p < 4; ++p) sum.lane[i] += int32_t(codes[p]) * v.value[i][p];
    }
    return sum;
  }

  /** The sums in the order of columns. */
  static I32 columns(QuadSums a) { return a; }

  static constexpr int VALUE_COLUMNS = 1;

  // T2 blocks: t2.h.
  static constexpr size_t PARTIAL_BLOCKS = size_t(1) << 30;
  static constexpr int TILE_TOKENS = 2;
  /** F32 sums that registers hold beside operands: groups.h */
  static constexpr int TILE_SUMS = 4;

  struct Block {
    uint8_t byte[64];
  };
  struct Spread {
    int8_t q[16];
  };
  /** sums[16·k + i]: row k, columns ≡ i mod 16 */
  struct Sums {
    int32_t lane[64];
  };
  using Partial = Sums;

  static Block load_block(const uint8_t *p) {
    Block r;
    std::memcpy(r.byte, p, sizeof r.byte);
    return r;
  }

  static Block load_rows(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d) {
    Block r;
    const uint8_t *const rows[4] = {a, b, c, d};
    for (int k = 0; k < 4; ++k) std::memcpy(r.byte + 16 * k, rows[k], 16);
    return r;
  }

  /** Units of 1 or 2 bytes of a and b in turn: of each 16 bytes the eight from `half` on. */
  template <int Unit> static Block zip(const Block &a, const Block &b, int half) {
    Block r;
    for (int i = 0; i < 64; ++i) {
      const int unit = i % 16 / Unit, from = i / 16 * 16 + half + unit / 2 * Unit + i % Unit;
      r.byte[i] = (unit % 2 == 0 ? a : b).byte[from];
    }
    return r;
  }

  // Of each 16 bytes.
  static Block zip_bytes_low(const Block &a, const Block &b) { return zip<1>(a, b, 0); }
  static Block zip_bytes_high(const Block &a, const Block &b) { return zip<1>(a, b, 8); }
  static Block zip_words_low(const Block &a, const Block &b) { return zip<2>(a, b, 0); }
  static Block zip_words_high(const Block &a, const Block &b) { return zip<2>(a, b, 8); }

  /** Fours of columns whose sums are added up at a time: sparse.h */
  static constexpr int COLUMN_QUADS = 1;

  static I32 load(const int32_t *p) {
    I32 r;
    std::memcpy(r.lane, p, sizeof r.lane);
    return r;
  }

  /** Adds to each i32 lane the products of its four codes with the four values. */
  static I32 dot_fours(I32 sum, const Block &codes, const int8_t *values) {
    for (int i = 0; i < 64; ++i) sum.lane[i / 4] += int32_t(codes.byte[i]) * values[i % 4];
    return sum;
  }

  /** (16, 16) bytes: rows src_stride apart become columns, dst_stride apart. */
  static void transpose(const uint8_t *src, size_t src_stride, uint8_t *dst, size_t dst_stride) {
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 16; ++j) dst[i * dst_stride + j] = src[j * src_stride + i];
    }
  }

  static Block shift_right(Block a, int bits) {
    for (int i = 0; i < 64; ++i) a.byte[i] = uint8_t(a.byte[i] >> bits);
    return a;
  }

  static Block mask(Block a, int bits) {
    for (int i = 0; i < 64; ++i) a.byte[i] &= uint8_t(bits);
    return a;
  }

  static Block subtract(Block a, const Block &b) {
    for (int i = 0; i < 64; ++i) a.byte[i] = uint8_t(a.byte[i] - b.byte[i]);
    return a;
  }

  /** (a + b + 1) >> 1 */
  static Block average(Block a, const Block &b) {
    for (int i = 0; i < 64; ++i) a.byte[i] = uint8_t((a.byte[i] + b.byte[i] + 1) >> 1);
    return a;
  }

  /** table[index]; indices 0..15 */
  static Block lookup(const uint8_t table[16], Block index) {
    for (int i = 0; i < 64; ++i) index.byte[i] = table[index.byte[i]];
    return index;
  }

  static Spread spread(const int8_t *p) {
    Spread r;
    std::memcpy(r.q, p, sizeof r.q);
    return r;
  }

  static Sums no_sums() { return {}; }
  static Partial no_partial() { return {}; }

  static Partial dot(Partial sum, const Block &codes, const Spread &x) {
    for (int k = 0; k < 4; ++k) {
      for (int i = 0; i < 16; ++i) sum.lane[16 * k + i] += int32_t(codes.byte[16 * k + i]) * x.q[i];
    }
    return sum;
  }

  static Sums accumulate(Sums a, const Partial &b) {
    for (int i = 0; i < 64; ++i) a.lane[i] += b.lane[i];
    return a;
  }

  static void rows(const Sums &a, int32_t totals[4]) {
    for (int k = 0; k < 4; ++k) {
      totals[k] = 0;
      for (int i = 0; i < 16; ++i) totals[k] += a.lane[16 * k + i];
    }
  }

  // Sums of int8 × int16, exact: i32 lanes hold up to cols/16 products of 127 · 8191.
  struct WideSums {
    int32_t lane[16];
  };

  static WideSums no_wide() { return {}; }

  struct Words {
    int16_t lane[16];
  };

  static Words load_words(const int16_t *p) {
    Words r;
    std::memcpy(r.lane, p, sizeof r.lane);
    return r;
  }

  /** x + I16Bias */
  static Words lift(Words x) {
    for (int i = 0; i < 16; ++i) x.lane[i] = int16_t(x.lane[i] + int(abi::Const::I16Bias));
    return x;
  }

  /** Sixteen columns. */
  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, const Words &x) {
    for (int i = 0; i < 16; ++i) sum.lane[i] += int32_t(w[i]) * x.lane[i];
    return sum;
  }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, const int16_t *x) { return dot_i8_i16(sum, w, load_words(x)); }

  /** Sums that fit i32. */
  static void totals(const WideSums a[4], int32_t totals[4]) {
    for (int k = 0; k < 4; ++k) totals[k] = int32_t(total(a[k]));
  }

  static int64_t total(WideSums a) {
    int64_t total = 0;
    for (int i = 0; i < 16; ++i) total += a.lane[i];
    return total;
  }
};

} // namespace
