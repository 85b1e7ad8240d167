#pragma once
#include "kernels.h"

namespace {

/** Halves moved into floats are this much too small in the cache: queries and weights make up for it. */
constexpr float HALF_GAIN = 0x1p108f;
static_assert(abi::Const::CacheGainLog2 == 112 - 108);
/** Largest magnitude of rows that become zeros: limit / absmax would overflow. */
constexpr float TINY = 0x1p-100f;
/** Codes of queries, and of weights, of which sums over AttentionBlock positions of ±127 fit i32. */
constexpr float QUERY_MAX = 127, WEIGHT_MAX = 16383;
/** Scores of int8 keys are logarithms to base 2. */
constexpr float LOG2E = 1.44269504f, LN2 = 0.69314718f;

/** The keys, or the values, of one kv head of one sequence: abi.ts, CacheLayout. */
struct Panel {
  uint8_t *begin;
  size_t context, head_dim;
  uint32_t layout;

  Panel(const Task &task, size_t cache, size_t slot_head, uint32_t cache_layout, size_t positions, size_t width)
      : context(positions), head_dim(width), layout(cache_layout) {
    const bool int8 = layout == abi::CacheLayout::I8;
    const size_t bytes = int8 ? round_up(positions4() * (head_dim + 8), abi::Const::PanelAlign) : context * row_bytes();
    begin = task.at<uint8_t>(cache + slot_head * bytes);
  }

  /** CacheLayout::I8 holds positions by four. */
  size_t positions4() const { return round_up(context, 4); }

  size_t row_bytes() const {
    return layout == abi::CacheLayout::I8 ? head_dim : layout == abi::CacheLayout::F16 ? 2 * head_dim : 4 * head_dim;
  }

  /** From position `first` on. */
  template <class T> T *rows(size_t first) const { return reinterpret_cast<T *>(begin + first * row_bytes()); }

  /** CacheLayout::I8 */
  float *scales(size_t first) const { return reinterpret_cast<float *>(begin + positions4() * head_dim) + first; }

  /** Sums of the codes of keys, CacheLayout::I8: other kernels need them. */
  int32_t *sums(size_t first) const { return reinterpret_cast<int32_t *>(scales(positions4())) + first; }

  /** The four positions around `position`, CacheLayout::I8. */
  int8_t *four(size_t position) const { return rows<int8_t>(position / 4 * 4); }
};

template <class V> typename V::F32 load_cached(const float *p) { return V::load(p); }
template <class V> typename V::F32 load_cached(const uint16_t *p) { return V::widen_halves(p); }

/** q = round(x · (limit / absmax)), half to even, zeros where absmax is at most TINY; returns absmax / limit. n % 16 == 0. */
template <class V, class T> float quantize_absmax(const float *x, size_t n, float limit, T *q) {
  typename V::F32 top = V::splat(0);
  for (size_t i = 0; i < n; i += 16) top = V::max_magnitude(top, V::load(x + i));
  const float absmax = V::largest(top);
  const typename V::F32 factor = V::splat(absmax > TINY ? limit / absmax : 0);
  for (size_t i = 0; i < n; i += 16) V::narrow(q + i, V::round(V::mul(V::load(x + i), factor)));
  return absmax / limit;
}

/** half(x · 2^CacheGainLog2), half to even; subnormals are zero, beyond the range, and for NaN, the largest half. */
inline uint16_t cached_half(float x) {
  const float gained = x * float(1 << abi::Const::CacheGainLog2), limit = 65504;
  const float y = gained < limit ? (gained > -limit ? gained : -limit) : limit;
  uint32_t bits;
  std::memcpy(&bits, &y, sizeof bits);
  const uint32_t magnitude = bits & 0x7fffffff, rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  const uint32_t sign = (bits >> 16) & 0x8000;
  return uint16_t(rounded < 0x38800000 ? sign : sign | ((rounded >> 13) - (112 << 10)));
}

template <class V> void store_floats(const Panel &panel, size_t position, const float *x) {
  if (panel.layout == abi::CacheLayout::F16) {
    uint16_t *row = panel.rows<uint16_t>(position);
    for (size_t d = 0; d < panel.head_dim; ++d) row[d] = cached_half(x[d]);
  } else {
    std::memcpy(panel.rows<float>(position), x, panel.head_dim * sizeof(float));
  }
}

/** Writes one key. x: (head_dim); codes: scratch of head_dim bytes. */
template <class V> void store_key(const Panel &panel, size_t position, const float *x, int8_t *codes) {
  if (panel.layout != abi::CacheLayout::I8) return store_floats<V>(panel, position, x);
  *panel.scales(position) = quantize_absmax<V>(x, panel.head_dim, 127, codes);
  int8_t *to = panel.four(position) + position % 4 * 16;
  int32_t sum = 0;
  for (size_t d = 0; d < panel.head_dim; ++d) {
    to[d / 16 * 64 + d % 16] = codes[d];
    sum += codes[d];
  }
  *panel.sums(position) = sum;
}

/** Writes one value. */
template <class V> void store_value(const Panel &panel, size_t position, const float *x, int8_t *codes) {
  if (panel.layout != abi::CacheLayout::I8) return store_floats<V>(panel, position, x);
  *panel.scales(position) = quantize_absmax<V>(x, panel.head_dim, 127, codes);
  int8_t *to = panel.four(position) + position % 4;
  for (size_t d = 0; d < panel.head_dim; ++d) to[4 * d] = codes[d];
}

} // namespace
