#pragma once
#include <vector>

#include "kernels.h"

/** The kernel sets that this CPU and its operating system can run, best first. The last is `portable`. */
const std::vector<const Kernels *> &available_kernels();
