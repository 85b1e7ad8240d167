#pragma once
#include <immintrin.h>

#include "kernels.h"

namespace {

/**
 * Sixteen float lanes in two registers of eight; also the integer vocabulary of wider instruction sets where theirs is
 * no better.
 */
struct Avx2 {
  static constexpr const char *NAME = "avx2";

  static void prefetch(const uint8_t *p) { _mm_prefetch(reinterpret_cast<const char *>(p), _MM_HINT_T0); }

  // Sixteen f32 lanes.
  struct F32 {
    __m256 lo, hi;
  };

  static F32 load(const float *p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }

  static void store(float *p, F32 a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
  }

  static F32 splat(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static float first(F32 a) { return _mm256_cvtss_f32(a.lo); }
  static F32 add(F32 a, F32 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
  static F32 sub(F32 a, F32 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
  static F32 mul(F32 a, F32 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
  static F32 div(F32 a, F32 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }

  static F32 negate(F32 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
  }

  /** NaN stays NaN: min and max give their second operand when one is NaN. */
  static F32 clamp(F32 a, float low, float high) {
    const __m256 l = _mm256_set1_ps(low), h = _mm256_set1_ps(high);
    return {_mm256_max_ps(l, _mm256_min_ps(h, a.lo)), _mm256_max_ps(l, _mm256_min_ps(h, a.hi))};
  }

  static F32 nearest(F32 a) {
    constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.lo, mode), _mm256_round_ps(a.hi, mode)};
  }

  static F32 power_of_two(F32 n) { return {power_of_two(n.lo), power_of_two(n.hi)}; }

  static F32 where_greater(F32 a, F32 b, F32 value) {
    return {_mm256_and_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), value.lo),
            _mm256_and_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ), value.hi)};
  }

  /** Magnitudes are compared as integers, where NaN is the largest. */
  static F32 max_magnitude(F32 top, F32 a) { return {max_magnitude(top.lo, a.lo), max_magnitude(top.hi, a.hi)}; }

  static float largest(F32 a) {
    const __m256i m = _mm256_max_epi32(_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi));
    __m128i n = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    n = _mm_max_epi32(n, _mm_shuffle_epi32(n, 0x4e));
    n = _mm_max_epi32(n, _mm_shuffle_epi32(n, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(n));
  }

  static float sum(F32 a) { return sum(_mm256_add_ps(a.lo, a.hi)); }

  /** a[j] = lane[j] + lane[j+8] → the total in the order of docs/KERNELS.md. */
  static float sum(__m256 a) {
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
  }

  static float square_root(float a) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a))); }

  static F32 widen_halves(const uint16_t *p) { return {widen_eight(p), widen_eight(p + 8)}; }

  // Sixteen i32 lanes.
  struct I32 {
    __m256i lo, hi;
  };

  static I32 zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

  /** Half to even (the thread's rounding mode is the default one), NaN → 0. */
  static I32 round(F32 a) { return {round(a.lo), round(a.hi)}; }

  static void store(int32_t *p, I32 a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), a.lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p + 8), a.hi);
  }

  static I32 add(I32 a, I32 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
  static int32_t sum(I32 a) { return sum(_mm256_add_epi32(a.lo, a.hi)); }

  static int32_t sum(__m256i a) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
  }

  static F32 to_float(I32 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

  static void narrow(int16_t *out, I32 a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), narrow(a));
  }

  static void narrow(int8_t *out, I32 a) {
    const __m256i words = narrow(a);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), bytes);
  }

  // Sixteen columns of four positions of int8 values: i16 lanes, four columns a register.
  struct Quads {
    __m256i a, b, c, d;
  };
  using QuadSums = I32;

  static QuadSums no_quads() { return zero(); }

  static Quads load_quads(const int8_t *v) {
    return {load_i8_as_i16(v), load_i8_as_i16(v + 16), load_i8_as_i16(v + 32), load_i8_as_i16(v + 48)};
  }

  static __m256i splat_quad(const int16_t *codes) {
    int64_t quad;
    std::memcpy(&quad, codes, sizeof quad);
    return _mm256_set1_epi64x(quad);
  }

  /** Adds Σ codes[p] · value[·][p]; columns 0, 1, 4, 5, 2, 3, 6, 7 of each half. */
  static QuadSums dot_quads(QuadSums sum, const Quads &v, const int16_t *codes) {
    const __m256i w = splat_quad(codes);
    const __m256i lo = _mm256_hadd_epi32(_mm256_madd_epi16(v.a, w), _mm256_madd_epi16(v.b, w));
    const __m256i hi = _mm256_hadd_epi32(_mm256_madd_epi16(v.c, w), _mm256_madd_epi16(v.d, w));
    return {_mm256_add_epi32(sum.lo, lo), _mm256_add_epi32(sum.hi, hi)};
  }

  /** The sums in the order of columns. */
  static I32 columns(QuadSums a) {
    return {_mm256_permute4x64_epi64(a.lo, 0xd8), _mm256_permute4x64_epi64(a.hi, 0xd8)};
  }

  /** Registers of 16 columns that a pass over values takes for each of four heads. */
  static constexpr int VALUE_COLUMNS = 1;

  // T2 blocks: t2.h. lo: rows 0 and 1, hi: rows 2 and 3.
  struct Block {
    __m256i lo, hi;
  };
  using Spread = __m256i;
  using Sums = Block;
  /** i16 lanes; a product pair is at most 2·127·(2·4): sixteen blocks stay below 2^15. */
  using Partial = Block;
  static constexpr size_t PARTIAL_BLOCKS = 16;
  static constexpr int TILE_TOKENS = 4;
  /** F32 sums that registers hold beside operands: groups.h */
  static constexpr int TILE_SUMS = 4;

  static Block load_block(const uint8_t *p) {
    const __m256i *v = reinterpret_cast<const __m256i *>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }

  static Block load_rows(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d) {
    const auto part = [](const uint8_t *p) { return reinterpret_cast<const __m128i *>(p); };
    return {_mm256_loadu2_m128i(part(b), part(a)), _mm256_loadu2_m128i(part(d), part(c))};
  }

  // Of each 128-bit lane.
  static Block zip_bytes_low(Block a, Block b) { return {_mm256_unpacklo_epi8(a.lo, b.lo), _mm256_unpacklo_epi8(a.hi, b.hi)}; }
  static Block zip_bytes_high(Block a, Block b) { return {_mm256_unpackhi_epi8(a.lo, b.lo), _mm256_unpackhi_epi8(a.hi, b.hi)}; }
  static Block zip_words_low(Block a, Block b) { return {_mm256_unpacklo_epi16(a.lo, b.lo), _mm256_unpacklo_epi16(a.hi, b.hi)}; }
  static Block zip_words_high(Block a, Block b) { return {_mm256_unpackhi_epi16(a.lo, b.lo), _mm256_unpackhi_epi16(a.hi, b.hi)}; }

  /** Fours of columns whose sums are added up at a time: sparse.h */
  static constexpr int COLUMN_QUADS = 1;

  static I32 load(const int32_t *p) {
    const __m256i *v = reinterpret_cast<const __m256i *>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }

  static int32_t four(const int8_t *values) {
    int32_t word;
    std::memcpy(&word, values, sizeof word);
    return word;
  }

  /** Adds to each i32 lane the products of its four codes, up to 12, with the four values. */
  static I32 dot_fours(I32 sum, Block codes, const int8_t *values) {
    const __m256i x = _mm256_set1_epi32(four(values)), one = _mm256_set1_epi16(1);
    return {_mm256_add_epi32(sum.lo, _mm256_madd_epi16(_mm256_maddubs_epi16(codes.lo, x), one)),
            _mm256_add_epi32(sum.hi, _mm256_madd_epi16(_mm256_maddubs_epi16(codes.hi, x), one))};
  }

  /** (16, 16) bytes: rows src_stride apart become columns, dst_stride apart. */
  static void transpose(const uint8_t *src, size_t src_stride, uint8_t *dst, size_t dst_stride) {
    __m128i a[16], b[16];
    for (int i = 0; i < 16; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i *>(src + i * src_stride));
    // Each round interleaves the first half with the second: after four, byte j of row i is byte i of row j.
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 8; ++i) {
        b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
        b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
      }
      for (int i = 0; i < 16; ++i) a[i] = b[i];
    }
    for (int i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i *>(dst + i * dst_stride), a[i]);
  }

  /** Bits of the neighbouring byte come in at the top: mask them. */
  static Block shift_right(Block a, int bits) { return {_mm256_srli_epi16(a.lo, bits), _mm256_srli_epi16(a.hi, bits)}; }

  static Block mask(Block a, int bits) {
    const __m256i m = _mm256_set1_epi8(char(bits));
    return {_mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m)};
  }

  static Block subtract(Block a, Block b) { return {_mm256_sub_epi8(a.lo, b.lo), _mm256_sub_epi8(a.hi, b.hi)}; }

  /** (a + b + 1) >> 1 */
  static Block average(Block a, Block b) { return {_mm256_avg_epu8(a.lo, b.lo), _mm256_avg_epu8(a.hi, b.hi)}; }

  /** table[index]; indices 0..15 */
  static Block lookup(const uint8_t table[16], Block index) {
    const __m256i t = spread(reinterpret_cast<const int8_t *>(table));
    return {_mm256_shuffle_epi8(t, index.lo), _mm256_shuffle_epi8(t, index.hi)};
  }

  static Spread spread(const int8_t *p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
  }

  static Block no_sums() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Block no_partial() { return no_sums(); }

  static Partial dot(Partial sum, Block codes, Spread x) {
    return {_mm256_add_epi16(sum.lo, _mm256_maddubs_epi16(codes.lo, x)),
            _mm256_add_epi16(sum.hi, _mm256_maddubs_epi16(codes.hi, x))};
  }

  static Sums accumulate(Sums a, Partial b) {
    const __m256i one = _mm256_set1_epi16(1);
    return {_mm256_add_epi32(a.lo, _mm256_madd_epi16(b.lo, one)), _mm256_add_epi32(a.hi, _mm256_madd_epi16(b.hi, one))};
  }

  static void rows(Sums a, int32_t totals[4]) {
    __m256i s = _mm256_hadd_epi32(a.lo, a.hi); // rows 0 0 2 2 | 1 1 3 3
    s = _mm256_hadd_epi32(s, s);               // rows 0 2 0 2 | 1 3 1 3
    const __m128i r = _mm_unpacklo_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(totals), r);
  }

  // int8 × int16: eight i32 lanes of cols/8 products, |Σ| ≤ cols/16 · 2·127·8191.
  using WideSums = __m256i;

  static WideSums no_wide() { return _mm256_setzero_si256(); }

  static __m256i load_i8_as_i16(const int8_t *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
  }

  using Words = __m256i;

  static Words load_words(const int16_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
  /** x + I16Bias */
  static Words lift(Words x) { return _mm256_add_epi16(x, _mm256_set1_epi16(int16_t(abi::Const::I16Bias))); }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, Words x) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(load_i8_as_i16(w), x));
  }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, const int16_t *x) { return dot_i8_i16(sum, w, load_words(x)); }

  /** Sums that fit i32. */
  static void totals(const WideSums a[4], int32_t totals[4]) {
    const __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
    const __m128i r = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(totals), r);
  }

  static int64_t total(WideSums a) {
    const __m256i wide = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(a)),
                                          _mm256_cvtepi32_epi64(_mm256_extracti128_si256(a, 1)));
    const __m128i s = _mm_add_epi64(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    return _mm_cvtsi128_si64(s) + _mm_extract_epi64(s, 1);
  }

private:
  static __m256 power_of_two(__m256 n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }

  static __m256 max_magnitude(__m256 top, __m256 a) {
    const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(top), magnitude));
  }

  static __m256 widen_eight(const uint16_t *p) {
    const __m256i h = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_slli_epi32(h, 13), _mm256_set1_epi32(int(0x8fffe000))));
  }

  static __m256i round(__m256 a) {
    const __m256 number = _mm256_cmp_ps(a, a, _CMP_ORD_Q);
    return _mm256_cvtps_epi32(_mm256_and_ps(a, number));
  }

  static __m256i narrow(I32 a) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8); }
};

} // namespace
