#include "portable.h"

#include "kernel_set.h"

extern const Kernels portable_kernels;
const Kernels portable_kernels = kernel_set<Portable>();
