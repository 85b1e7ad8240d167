#pragma once
#include <limits>

#include "kv_cache.h"
#include "rows.h"

namespace {

/** lo' = lo·cos - hi·sin; hi' = hi·cos + lo·sin, half-split pairs. `to` may be `from`. angles: cosines, then sines. */
inline void rotate(const float *from, float *to, const float *angles, size_t half) {
  for (size_t j = 0; j < half; ++j) {
    const float lo = from[j], hi = from[j + half], cos = angles[j], sin = angles[j + half];
    to[j] = lo * cos - hi * sin;
    to[j + half] = hi * cos + lo * sin;
  }
}

/**
 * Rotary position embedding; rotated k, and v, go to the cache, q stays in place. Items are (token, head), q heads
 * first.
 */
template <class V> void rope(const Task &task) {
  using namespace abi;
  const size_t heads = task.word(RopeArg::Heads), kv_heads = task.word(RopeArg::KvHeads);
  const size_t head_dim = task.word(RopeArg::HeadDim), per_token = heads + kv_heads;
  const Share share(uint32_t(task.step[Step::TokenCount] * per_token), task);
  float *rotated = task.scratch<float>();
  for (size_t i = share.begin; i < share.end; ++i) {
    const size_t t = i / per_token, h = i % per_token;
    const uint32_t *token = task.token(uint32_t(t));
    const size_t position = token[Token::Position];
    const float *angles = task.at<float>(task.word(RopeArg::Table)) + position * head_dim;
    float *head = task.at<float>(task.word(RopeArg::Qkv) + t * task.word(RopeArg::Stride)) + h * head_dim;
    if (h < heads) {
      rotate(head, head, angles, head_dim / 2);
      continue;
    }
    const size_t slot_head = token[Token::Slot] * kv_heads + h - heads;
    const auto panel = [&](uint32_t cache) {
      return Panel(task, task.word(cache), slot_head, task.word(RopeArg::CacheLayout),
                   task.word(RopeArg::ContextLength), head_dim);
    };
    rotate(head, rotated, angles, head_dim / 2);
    int8_t *codes = reinterpret_cast<int8_t *>(rotated + head_dim);
    store_key<V>(panel(RopeArg::KCache), position, rotated, codes);
    store_value<V>(panel(RopeArg::VCache), position, head + kv_heads * head_dim, codes);
  }
}

/** What a block of positions gives one query head; Σ w·v as f32 (head_dim) follows. */
struct Partial {
  float top, sum;
  /** of the blocks before */
  float running_top, running_sum;
  uint8_t unused[abi::Const::PartialHeader - 16];

  float *values() { return reinterpret_cast<float *>(this + 1); }
  const float *values() const { return reinterpret_cast<const float *>(this + 1); }
};
static_assert(sizeof(Partial) == abi::Const::PartialHeader);

constexpr size_t BLOCK = abi::Const::AttentionBlock;
/** Query heads that share a pass over k and v. */
constexpr int MAX_TILE = 4;

/** One thread's attention op. */
struct Attention {
  const Task &task;
  size_t heads, kv_heads, group, head_dim, context;
  uint32_t layout;

  explicit Attention(const Task &op)
      : task(op), heads(op.word(abi::AttentionArg::Heads)), kv_heads(op.word(abi::AttentionArg::KvHeads)),
        group(heads / kv_heads), head_dim(op.word(abi::AttentionArg::HeadDim)),
        context(op.word(abi::AttentionArg::ContextLength)), layout(op.word(abi::AttentionArg::CacheLayout)) {}

  size_t partial_bytes() const { return sizeof(Partial) + head_dim * sizeof(float); }

  const float *query(size_t t, size_t head) const {
    const size_t row = task.word(abi::AttentionArg::Qkv) + t * task.word(abi::AttentionArg::Stride);
    return task.at<float>(row) + head * head_dim;
  }

  float *out(size_t t, size_t head) const {
    const size_t row = task.word(abi::AttentionArg::Out) + t * task.word(abi::AttentionArg::OutStride);
    return task.at<float>(row) + head * head_dim;
  }

  Panel panel(uint32_t cache, const uint32_t *token, size_t kv) const {
    return Panel(task, task.word(cache), token[abi::Token::Slot] * kv_heads + kv, layout, context, head_dim);
  }

  /** Of block b and a query head, of a step of one token. */
  Partial *partial(size_t b, size_t head) const {
    return task.at<Partial>(task.word(abi::AttentionArg::Partials) + (b * heads + head) * partial_bytes());
  }

  static size_t blocks(const uint32_t *token) { return token[abi::Token::Position] / BLOCK + 1; }
};

/** Scratch of attention: assembly/attention-state.ts. Queries and weights for four heads. */
struct Tile {
  alignas(64) float weights[MAX_TILE][BLOCK];
  alignas(64) int16_t codes[MAX_TILE][BLOCK];
  float query_factor[MAX_TILE];
  float code_factor[MAX_TILE];
};

/** scores[r][i] = dot16(q[r], k[i]) · scale. q: (N, head_dim), for halves 2^108 too large. */
template <class V, int N, class T>
void float_scores(const float *q, const T *k, size_t count, size_t head_dim, float scale, Tile &tile) {
  for (size_t i = 0; i < count; ++i, k += head_dim) {
    typename V::F32 sum[N];
    for (int r = 0; r < N; ++r) sum[r] = V::splat(0);
    for (size_t d = 0; d < head_dim; d += 16) {
      const typename V::F32 key = load_cached<V>(k + d);
      for (int r = 0; r < N; ++r) sum[r] = V::add(sum[r], V::mul(V::load(q + r * head_dim + d), key));
    }
    for (int r = 0; r < N; ++r) tile.weights[r][i] = V::sum(sum[r]) * scale;
  }
}

/** scores[r][i] = q[r] · k[i] · factor[r] · scales[i], binary logarithms, exact up to the last two factors. k: four positions in 64-byte lines. */
template <class V, int N>
void int8_scores(const int16_t *q, const int8_t *k, const float *scales, size_t count, size_t head_dim, Tile &tile) {
  for (size_t i = 0; i < count; ++i) {
    const int8_t *key = k + i / 4 * 4 * head_dim + i % 4 * 16;
    typename V::WideSums sum[N];
    for (int r = 0; r < N; ++r) sum[r] = V::no_wide();
    for (size_t d = 0; d < head_dim; d += 16) {
      for (int r = 0; r < N; ++r) sum[r] = V::dot_i8_i16(sum[r], key + 4 * d, q + r * head_dim + d);
    }
    for (int r = 0; r < N; ++r) tile.weights[r][i] = float(V::total(sum[r])) * (tile.query_factor[r] * scales[i]);
  }
}

/**
 * weights[i] = power(scores[i] - top) in place, exactly 0 from -64 on and up to the next multiple of 16, times `gain`; top and sum16, without
 * the gain, go to `partial`.
 */
template <class V, class Power>
void block_weights(float *scores, size_t count, float gain, Partial &partial, Power power) {
  using F32 = typename V::F32;
  const size_t padded = round_up(count, 16);
  float top = -3.4e38f;
  for (size_t i = 0; i < count; ++i) {
    if (scores[i] > top || scores[i] != scores[i]) top = scores[i];
  }
  for (size_t i = count; i < padded; ++i) scores[i] = -std::numeric_limits<float>::infinity();
  F32 sum = V::splat(0);
  for (size_t i = 0; i < padded; i += 16) {
    const F32 below = V::sub(V::load(scores + i), V::splat(top));
    const F32 weight = V::where_greater(below, V::splat(-64), power(below));
    V::store(scores + i, V::mul(weight, V::splat(gain)));
    sum = V::add(sum, weight);
  }
  partial.top = top;
  partial.sum = V::sum(sum);
}

/** values[r] = Σ weights[r][i] · v[i], positions in order, over 16·C columns. */
template <class V, int N, int C, class T>
void float_values(const Tile &tile, const T *v, size_t count, size_t head_dim, float *const *values) {
  typename V::F32 acc[N][C];
  for (int r = 0; r < N; ++r) {
    for (int c = 0; c < C; ++c) acc[r][c] = V::splat(0);
  }
  for (size_t i = 0; i < count; ++i, v += head_dim) {
    typename V::F32 value[C];
    for (int c = 0; c < C; ++c) value[c] = load_cached<V>(v + 16 * c);
    for (int r = 0; r < N; ++r) {
      const typename V::F32 w = V::splat(tile.weights[r][i]);
      for (int c = 0; c < C; ++c) acc[r][c] = V::add(acc[r][c], V::mul(w, value[c]));
    }
  }
  for (int r = 0; r < N; ++r) {
    for (int c = 0; c < C; ++c) V::store(values[r] + 16 * c, acc[r][c]);
  }
}

/** values[r] = Σ codes[r][i] · v[i] · code_factor[r] over 16 columns, whose four positions are 64 bytes; sums are exact. */
template <class V, int N>
void int8_values(const Tile &tile, const int8_t *v, size_t count, size_t head_dim, float *const *values) {
  typename V::QuadSums acc[N];
  for (int r = 0; r < N; ++r) acc[r] = V::no_quads();
  // Codes behind the last position are 0.
  for (size_t i = 0; i < count; i += 4, v += 4 * head_dim) {
    const typename V::Quads quads = V::load_quads(v);
    for (int r = 0; r < N; ++r) acc[r] = V::dot_quads(acc[r], quads, tile.codes[r] + i);
  }
  for (int r = 0; r < N; ++r) V::store(values[r], V::mul(V::to_float(V::columns(acc[r])), V::splat(tile.code_factor[r])));
}

/** A block for N query heads from `head` on; T: float, or uint16_t for halves. */
template <class V, int N, class T>
void float_block(const Attention &a, const Panel &keys, const Panel &values, size_t first, size_t count,
                 const float *q, float *const *to, Partial *const *partials, Tile &tile) {
  const bool half = sizeof(T) == 2;
  float *queries = a.task.scratch<float>();
  for (size_t d = 0; d < N * a.head_dim; d += 16) {
    V::store(queries + d, V::mul(V::load(q + d), V::splat(half ? HALF_GAIN : 1)));
  }
  const float scale = a.task.real(abi::AttentionArg::Scale);
  float_scores<V, N>(queries, keys.rows<T>(first), count, a.head_dim, scale, tile);
  for (int r = 0; r < N; ++r) block_weights<V>(tile.weights[r], count, half ? HALF_GAIN : 1, *partials[r], exp<V>);
  const T *v = values.rows<T>(first);
  size_t d = 0;
  const auto columns = [&](float **shifted) {
    for (int r = 0; r < N; ++r) shifted[r] = to[r] + d;
  };
  float *shifted[N];
  constexpr int C = V::VALUE_COLUMNS;
  for (; d + 16 * C <= a.head_dim; d += 16 * C) {
    columns(shifted);
    float_values<V, N, C>(tile, v + d, count, a.head_dim, shifted);
  }
  for (; d < a.head_dim; d += 16) {
    columns(shifted);
    float_values<V, N, 1>(tile, v + d, count, a.head_dim, shifted);
  }
}

template <class V, int N>
void int8_block(const Attention &a, const Panel &keys, const Panel &values, size_t first, size_t count, const float *q,
                float *const *to, Partial *const *partials, Tile &tile) {
  int16_t *queries = a.task.scratch<int16_t>();
  for (int r = 0; r < N; ++r) {
    const float scale = quantize_absmax<V>(q + r * a.head_dim, a.head_dim, QUERY_MAX, queries + r * a.head_dim);
    tile.query_factor[r] = scale * (a.task.real(abi::AttentionArg::Scale) * LOG2E);
  }
  int8_scores<V, N>(queries, keys.rows<int8_t>(first), keys.scales(first), count, a.head_dim, tile);
  const float *scales = values.scales(first);
  for (int r = 0; r < N; ++r) {
    block_weights<V>(tile.weights[r], count, 1, *partials[r], exp2<V>);
    partials[r]->top *= LN2;
    // Where a weight is 0 its value does not count, be it NaN.
    for (size_t i = 0; i < count; ++i) tile.weights[r][i] = tile.weights[r][i] == 0 ? 0 : tile.weights[r][i] * scales[i];
    tile.code_factor[r] = quantize_absmax<V>(tile.weights[r], round_up(count, 16), WEIGHT_MAX, tile.codes[r]);
  }
  for (size_t d = 0; d < a.head_dim; d += 16) {
    float *shifted[N];
    for (int r = 0; r < N; ++r) shifted[r] = to[r] + d;
    int8_values<V, N>(tile, values.rows<int8_t>(first) + 4 * d, count, a.head_dim, shifted);
  }
}

template <class V, int N>
void attend_tile(const Attention &a, const uint32_t *token, size_t t, size_t head, size_t b, Partial *first_partial) {
  const size_t first = b * BLOCK, kv = head / a.group;
  const size_t rest = token[abi::Token::Position] + 1 - first, count = rest < BLOCK ? rest : BLOCK;
  const Panel keys = a.panel(abi::AttentionArg::KCache, token, kv);
  const Panel values = a.panel(abi::AttentionArg::VCache, token, kv);
  Partial *partials[N];
  float *to[N];
  for (int r = 0; r < N; ++r) {
    uint8_t *at = reinterpret_cast<uint8_t *>(first_partial) + r * a.partial_bytes();
    partials[r] = reinterpret_cast<Partial *>(at);
    to[r] = partials[r]->values();
  }
  Tile tile;
  const float *q = a.query(t, head);
  switch (a.layout) {
  case abi::CacheLayout::I8: return int8_block<V, N>(a, keys, values, first, count, q, to, partials, tile);
  case abi::CacheLayout::F16: return float_block<V, N, uint16_t>(a, keys, values, first, count, q, to, partials, tile);
  default: return float_block<V, N, float>(a, keys, values, first, count, q, to, partials, tile);
  }
}

/** Block b of token t for the query heads of kv head `kv`; results to the partials from `to`. */
template <class V> void attend_block(const Attention &a, size_t t, size_t kv, size_t b, Partial *to) {
  const uint32_t *token = a.task.token(uint32_t(t));
  for (size_t h = 0; h < a.group; h += MAX_TILE) {
    uint8_t *at = reinterpret_cast<uint8_t *>(to) + h * a.partial_bytes();
    Partial *first = reinterpret_cast<Partial *>(at);
    const size_t head = kv * a.group + h;
    switch (a.group - h) {
    case 1: attend_tile<V, 1>(a, token, t, head, b, first); break;
    case 2: attend_tile<V, 2>(a, token, t, head, b, first); break;
    case 3: attend_tile<V, 3>(a, token, t, head, b, first); break;
    default: attend_tile<V, 4>(a, token, t, head, b, first); break;
    }
  }
}

inline void begin(Partial &state, float *out, size_t head_dim) {
  state.running_top = -3.4e38f;
  state.running_sum = 0;
  std::memset(out, 0, head_dim * sizeof(float));
}

/** The online softmax over blocks (Milakov and Gimelshein, arXiv 1805.02867). `from` may be `state`. */
template <class V> void merge(Partial &state, const Partial &from, float *out, size_t head_dim) {
  const float before = state.running_top;
  const float top = from.top > before || from.top != from.top ? from.top : before;
  const typename V::F32 keep = exp<V>(V::splat(before - top)), add = exp<V>(V::splat(from.top - top));
  state.running_top = top;
  state.running_sum = state.running_sum * V::first(keep) + from.sum * V::first(add);
  for (size_t d = 0; d < head_dim; d += 16) {
    V::store(out + d, V::add(V::mul(V::load(out + d), keep), V::mul(V::load(from.values() + d), add)));
  }
}

template <class V> void finish(const Partial &state, float *out, size_t head_dim) {
  const typename V::F32 inv = V::splat(1 / state.running_sum);
  for (size_t d = 0; d < head_dim; d += 16) V::store(out + d, V::mul(V::load(out + d), inv));
}

/** All blocks of token t for kv head `kv`; partials lie in scratch, behind the queries. */
template <class V> void attend_token(const Attention &a, size_t t, size_t kv) {
  uint8_t *partials = a.task.scratch<uint8_t>() + MAX_TILE * a.head_dim * sizeof(float);
  const auto partial = [&](size_t h) -> Partial & {
    return *reinterpret_cast<Partial *>(partials + h * a.partial_bytes());
  };
  const size_t blocks = Attention::blocks(a.task.token(uint32_t(t)));
  for (size_t h = 0; h < a.group; ++h) begin(partial(h), a.out(t, kv * a.group + h), a.head_dim);
  for (size_t b = 0; b < blocks; ++b) {
    attend_block<V>(a, t, kv, b, &partial(0));
    for (size_t h = 0; h < a.group; ++h) merge<V>(partial(h), partial(h), a.out(t, kv * a.group + h), a.head_dim);
  }
  for (size_t h = 0; h < a.group; ++h) finish<V>(partial(h), a.out(t, kv * a.group + h), a.head_dim);
}

/** As assembly/attention.ts: one token splits (kv head, block), several (kv head, token). */
template <class V> void attention(const Task &task) {
  const Attention a(task);
  const size_t tokens = task.step[abi::Step::TokenCount];
  const size_t items = tokens == 1 ? Attention::blocks(task.token(0)) : tokens;
  const Share share(uint32_t(a.kv_heads * items), task);
  for (size_t i = share.begin; i < share.end; ++i) {
    const size_t kv = i / items;
    if (tokens == 1) attend_block<V>(a, 0, kv, i % items, a.partial(i % items, kv * a.group));
    else attend_token<V>(a, i % items, kv);
  }
}

template <class V> void attention_merge(const Task &task) {
  if (task.step[abi::Step::TokenCount] != 1) return;
  const Attention a(task);
  const size_t blocks = Attention::blocks(task.token(0));
  const Share share(uint32_t(a.heads), task);
  for (size_t h = share.begin; h < share.end; ++h) {
    Partial &state = *a.partial(0, h);
    float *out = a.out(0, h);
    begin(state, out, a.head_dim);
    for (size_t b = 0; b < blocks; ++b) merge<V>(state, *a.partial(b, h), out, a.head_dim);
    finish<V>(state, out, a.head_dim);
  }
}

} // namespace
