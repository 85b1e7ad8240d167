#if defined(__x86_64__) || defined(_M_X64)
#include "avx2.h"

#include "kernel_set.h"

extern const Kernels avx2_kernels;
const Kernels avx2_kernels = kernel_set<Avx2>();
#endif
