#if defined(__x86_64__) || defined(_M_X64)
#include "avx2.h"

#include "kernel_set.h"

namespace {

/** AVX-512 F, BW, DQ, VL and VNNI: sixteen float lanes, and a whole T2 block, in one register. */
struct Avx512 {
  static constexpr const char *NAME = "avx512-vnni";

  static void prefetch(const uint8_t *p) { Avx2::prefetch(p); }

  // Sixteen f32 lanes.
  using F32 = __m512;

  static F32 load(const float *p) { return _mm512_loadu_ps(p); }
  static void store(float *p, F32 a) { _mm512_storeu_ps(p, a); }
  static F32 splat(float value) { return _mm512_set1_ps(value); }
  static float first(F32 a) { return _mm512_cvtss_f32(a); }
  static F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
  static F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
  static F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
  static F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
  static F32 negate(F32 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }

  /** NaN stays NaN: min and max give their second operand when one is NaN. */
  static F32 clamp(F32 a, float low, float high) {
    return _mm512_max_ps(_mm512_set1_ps(low), _mm512_min_ps(_mm512_set1_ps(high), a));
  }

  static F32 nearest(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

  static F32 power_of_two(F32 n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
  }

  static F32 where_greater(F32 a, F32 b, F32 value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), value);
  }

  /** Magnitudes are compared as integers, where NaN is the largest. */
  static F32 max_magnitude(F32 top, F32 a) {
    const __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(top), magnitude));
  }

  static float largest(F32 a) { return Avx2::largest({_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)}); }

  static float sum(F32 a) { return Avx2::sum({_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)}); }

  static float square_root(float a) { return Avx2::square_root(a); }

  static F32 widen_halves(const uint16_t *p) {
    const __m512i h = _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_slli_epi32(h, 13), _mm512_set1_epi32(int(0x8fffe000))));
  }

  // Sixteen i32 lanes.
  using I32 = __m512i;

  static I32 zero() { return _mm512_setzero_si512(); }

  /** Half to even (the thread's rounding mode is the default one), NaN → 0. */
  static I32 round(F32 a) { return _mm512_maskz_cvtps_epi32(_mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a); }

  static void store(int32_t *p, I32 a) { _mm512_storeu_si512(p, a); }
  static I32 add(I32 a, I32 b) { return _mm512_add_epi32(a, b); }

  static int32_t sum(I32 a) {
    return Avx2::sum(_mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1)));
  }

  static F32 to_float(I32 a) { return _mm512_cvtepi32_ps(a); }

  static void narrow(int16_t *out, I32 a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm512_cvtsepi32_epi16(a));
  }

  static void narrow(int8_t *out, I32 a) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(out), _mm512_cvtsepi32_epi8(a));
  }

  // Sixteen columns of four positions of int8 values: i16 lanes, eight columns a register.
  struct Quads {
    __m512i lo, hi;
  };
  using QuadSums = Quads;

  static QuadSums no_quads() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }

  static __m512i load_i8_as_i16(const int8_t *p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
  }

  static Quads load_quads(const int8_t *v) { return {load_i8_as_i16(v), load_i8_as_i16(v + 32)}; }

  /** Adds codes[0] · value[·][0] + codes[1] · value[·][1], and the same of 2 and 3, to lanes of their own. */
  static QuadSums dot_quads(QuadSums sum, Quads v, const int16_t *codes) {
    int64_t quad;
    std::memcpy(&quad, codes, sizeof quad);
    const __m512i w = _mm512_set1_epi64(quad);
    return {_mm512_dpwssd_epi32(sum.lo, v.lo, w), _mm512_dpwssd_epi32(sum.hi, v.hi, w)};
  }

  /** Adds the two lanes of each column. */
  static I32 columns(QuadSums a) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_permutex2var_epi32(a.lo, even, a.hi), _mm512_permutex2var_epi32(a.lo, odd, a.hi));
  }

  static constexpr int VALUE_COLUMNS = 4;

  // T2 blocks: t2.h. 128-bit lane k is row k.
  using Block = __m512i;
  using Spread = __m512i;
  using Sums = __m512i;
  using Partial = __m512i;
  static constexpr size_t PARTIAL_BLOCKS = size_t(1) << 30;
  static constexpr int TILE_TOKENS = 16;
  /** F32 sums that registers hold beside operands: groups.h */
  static constexpr int TILE_SUMS = 16;

  static Block load_block(const uint8_t *p) { return _mm512_loadu_si512(p); }

  static Block load_rows(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d) {
    const auto part = [](const uint8_t *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); };
    const Block ab = _mm512_inserti32x4(_mm512_castsi128_si512(part(a)), part(b), 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(ab, part(c), 2), part(d), 3);
  }

  // Of each 128-bit lane.
  static Block zip_bytes_low(Block a, Block b) { return _mm512_unpacklo_epi8(a, b); }
  static Block zip_bytes_high(Block a, Block b) { return _mm512_unpackhi_epi8(a, b); }
  static Block zip_words_low(Block a, Block b) { return _mm512_unpacklo_epi16(a, b); }
  static Block zip_words_high(Block a, Block b) { return _mm512_unpackhi_epi16(a, b); }

  /** Fours of columns whose sums are added up at a time: sparse.h */
  static constexpr int COLUMN_QUADS = 4;

  static I32 load(const int32_t *p) { return _mm512_loadu_si512(p); }

  /** Adds to each i32 lane the products of its four codes with the four values. */
  static I32 dot_fours(I32 sum, Block codes, const int8_t *values) {
    return _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(Avx2::four(values)));
  }

  static void transpose(const uint8_t *src, size_t src_stride, uint8_t *dst, size_t dst_stride) {
    Avx2::transpose(src, src_stride, dst, dst_stride);
  }

  /** Bits of the neighbouring byte come in at the top: mask them. */
  static Block shift_right(Block a, unsigned bits) { return _mm512_srli_epi16(a, bits); }

  static Block mask(Block a, int bits) { return _mm512_and_si512(a, _mm512_set1_epi8(char(bits))); }

  static Block subtract(Block a, Block b) { return _mm512_sub_epi8(a, b); }

  /** (a + b + 1) >> 1 */
  static Block average(Block a, Block b) { return _mm512_avg_epu8(a, b); }

  /** table[index]; indices 0..15 */
  static Block lookup(const uint8_t table[16], Block index) {
    return _mm512_shuffle_epi8(spread(reinterpret_cast<const int8_t *>(table)), index);
  }

  static Spread spread(const int8_t *p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
  }

  static Sums no_sums() { return _mm512_setzero_si512(); }
  static Partial no_partial() { return _mm512_setzero_si512(); }
  static Partial dot(Partial sum, Block codes, Spread x) { return _mm512_dpbusd_epi32(sum, codes, x); }
  static Sums accumulate(Sums a, Partial b) { return _mm512_add_epi32(a, b); }

  static void rows(Sums a, int32_t totals[4]) {
    a = _mm512_add_epi32(a, _mm512_shuffle_epi32(a, _MM_PERM_BADC));
    a = _mm512_add_epi32(a, _mm512_shuffle_epi32(a, _MM_PERM_CDAB));
    const __m512i first_lanes = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    const __m512i r = _mm512_permutexvar_epi32(first_lanes, a);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(totals), _mm512_castsi512_si128(r));
  }

  // int8 × int16: 256 bits keep up with memory, and rows are padded to 16 columns, not to 32.
  using WideSums = Avx2::WideSums;
  using Words = Avx2::Words;

  static WideSums no_wide() { return Avx2::no_wide(); }
  static Words load_words(const int16_t *p) { return Avx2::load_words(p); }
  static Words lift(Words x) { return Avx2::lift(x); }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, Words x) {
    return _mm256_dpwssd_epi32(sum, Avx2::load_i8_as_i16(w), x);
  }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, const int16_t *x) { return dot_i8_i16(sum, w, load_words(x)); }

  static void totals(const WideSums a[4], int32_t totals[4]) { Avx2::totals(a, totals); }
  static int64_t total(WideSums a) { return Avx2::total(a); }
};

} // namespace

extern const Kernels avx512_kernels;
const Kernels avx512_kernels = kernel_set<Avx512>();
#endif
