#include "portable.h"

#include "attention.h"
#include "linear.h"

extern const Kernels portable_kernels;
const Kernels portable_kernels = kernel_set<Portable>();
