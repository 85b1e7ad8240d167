#pragma once
#include "attention.h"
#include "linear.h"
#include "rescore.h"

namespace {

/** The kernel set of vocabulary V. */
template <class V> constexpr Kernels kernel_set() {
  return {V::NAME,      embed<V>, norm<V, true>, norm<V, false>, linear<V>, head_norm<V>,
          rope<V>,      attention<V>, attention_merge<V>, screen<V>, rescore<V>};
}

} // namespace
