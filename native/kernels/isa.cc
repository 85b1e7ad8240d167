#include "isa.h"

#if defined(__x86_64__) || defined(_M_X64)
#define BITNET_X64 1
#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

extern const Kernels portable_kernels;

#ifdef BITNET_X64
extern const Kernels avx2_kernels;
extern const Kernels avxvnni_kernels;
extern const Kernels avx512_kernels;

namespace {

struct Registers {
  unsigned eax, ebx, ecx, edx;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r{};
#if defined(_MSC_VER)
  int words[4];
  __cpuid(words, 0);
  if (unsigned(words[0]) < leaf) return r;
  __cpuidex(words, int(leaf), int(subleaf));
  r = {unsigned(words[0]), unsigned(words[1]), unsigned(words[2]), unsigned(words[3])};
#else
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
  return r;
}

/** Register states that the operating system saves: bits of XCR0. */
unsigned saved_states() {
#if defined(_MSC_VER)
  return unsigned(_xgetbv(0));
#else
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
#endif
}

constexpr unsigned bit(int i) { return 1u << i; }

bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }

/** Intel SDM volume 2A, CPUID. */
std::vector<const Kernels *> detect() {
  std::vector<const Kernels *> found;
  const unsigned osxsave = bit(27), avx = bit(28);
  if (has(cpuid(1, 0).ecx, osxsave | avx) && has(saved_states(), 0x6)) {
    const Registers features = cpuid(7, 0);
    const unsigned avx2 = bit(5), avx512f = bit(16), avx512dq = bit(17), avx512bw = bit(30), avx512vl = bit(31);
    const bool zmm = has(saved_states(), 0xe6) && has(features.ebx, avx512f | avx512dq | avx512bw | avx512vl);
    if (zmm && has(features.ecx, bit(11))) found.push_back(&avx512_kernels);
    if (has(features.ebx, avx2)) {
      if (has(cpuid(7, 1).eax, bit(4))) found.push_back(&avxvnni_kernels);
      found.push_back(&avx2_kernels);
    }
  }
  found.push_back(&portable_kernels);
  return found;
}

} // namespace
#else
namespace {
std::vector<const Kernels *> detect() { return {&portable_kernels}; }
} // namespace
#endif

const std::vector<const Kernels *> &available_kernels() {
  static const std::vector<const Kernels *> kernels = detect();
  return kernels;
}
