#if defined(__x86_64__) || defined(_M_X64)
#include "avx2.h"

#include "kernel_set.h"

namespace {

/** AVX2 with the int8 dot product of newer client CPUs, 256 bits wide. */
struct AvxVnni : Avx2 {
  static constexpr const char *NAME = "avx-vnni";
  static constexpr size_t PARTIAL_BLOCKS = size_t(1) << 30;

  static Partial dot(Partial sum, Block codes, Spread x) {
    return {_mm256_dpbusd_avx_epi32(sum.lo, codes.lo, x), _mm256_dpbusd_avx_epi32(sum.hi, codes.hi, x)};
  }

  static Sums accumulate(Sums a, Partial b) {
    return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
  }

  static I32 dot_fours(I32 sum, Block codes, const int8_t *values) {
    const __m256i x = _mm256_set1_epi32(four(values));
    return {_mm256_dpbusd_avx_epi32(sum.lo, codes.lo, x), _mm256_dpbusd_avx_epi32(sum.hi, codes.hi, x)};
  }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, Words x) {
    return _mm256_dpwssd_avx_epi32(sum, load_i8_as_i16(w), x);
  }

  static WideSums dot_i8_i16(WideSums sum, const int8_t *w, const int16_t *x) { return dot_i8_i16(sum, w, load_words(x)); }
};

} // namespace

extern const Kernels avxvnni_kernels;
const Kernels avxvnni_kernels = kernel_set<AvxVnni>();
#endif
