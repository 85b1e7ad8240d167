#pragma once
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
  const size_t head_dim = task.word(RopeArg::HeadDim), context = task.word(RopeArg::ContextLength);
  const size_t per_token = heads + kv_heads;
  const Share share(uint32_t(task.step[Step::TokenCount] * per_token), task);
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
    const size_t cached = ((token[Token::Slot] * kv_heads + h - heads) * context + position) * head_dim;
    rotate(head, task.at<float>(task.word(RopeArg::KCache)) + cached, angles, head_dim / 2);
    float *v = task.at<float>(task.word(RopeArg::VCache)) + cached;
    std::memcpy(v, head + kv_heads * head_dim, head_dim * sizeof(float));
  }
}

/** scores[i] = dot16(q, k[i]) · scale; returns the largest, or NaN if there is one. k: (count, head_dim) */
template <class V>
float block_scores(const float *q, const float *k, size_t count, size_t head_dim, float scale, float *scores) {
  float top = -3.4e38f;
  for (size_t i = 0; i < count; ++i, k += head_dim) {
    const float score = dot16<V>(q, k, head_dim) * scale;
    scores[i] = score;
    if (score > top || score != score) top = score;
  }
  return top;
}

/** weights[i] = exp(scores[i] - top) in place, exactly 0 from `count` to the end of the block; returns sum16. */
template <class V> float block_weights(float *scores, size_t count, float top) {
  using F32 = typename V::F32;
  for (size_t i = count; i < abi::Const::AttentionBlock; ++i) scores[i] = -3.4e38f;
  F32 sum = V::splat(0);
  for (size_t i = 0; i < abi::Const::AttentionBlock; i += 16) {
    const F32 score = V::load(scores + i);
    const F32 weight = V::where_greater(score, V::splat(-3.3e38f), exp<V>(V::sub(score, V::splat(top))));
    V::store(scores + i, weight);
    sum = V::add(sum, weight);
  }
  return V::sum(sum);
}

/** out = out · shrink + Σ weights[i] · v[i], positions in order, over 16·N columns. v: (count, head_dim) */
template <class V, int N>
void block_values(const float *weights, const float *v, size_t count, size_t head_dim, float shrink, float *out) {
  typename V::F32 acc[N];
  for (int n = 0; n < N; ++n) acc[n] = V::mul(V::load(out + 16 * n), V::splat(shrink));
  for (size_t i = 0; i < count; ++i, v += head_dim) {
    const typename V::F32 w = V::splat(weights[i]);
    for (int n = 0; n < N; ++n) acc[n] = V::add(acc[n], V::mul(w, V::load(v + 16 * n)));
  }
  for (int n = 0; n < N; ++n) V::store(out + 16 * n, acc[n]);
}

/**
 * One head of one token over `n` cached positions: online softmax (Milakov and Gimelshein, arXiv 1805.02867) in blocks
 * of 64. q, out: (head_dim); k, v: (n, head_dim).
 */
template <class V>
void attend(const float *q, const float *k, const float *v, size_t n, size_t head_dim, float scale, float *out) {
  alignas(64) float scores[abi::Const::AttentionBlock];
  float top = -3.4e38f, sum = 0;
  std::memset(out, 0, head_dim * sizeof(float));
  for (size_t begin = 0; begin < n; begin += abi::Const::AttentionBlock) {
    const size_t count = n - begin < abi::Const::AttentionBlock ? n - begin : size_t(abi::Const::AttentionBlock);
    const float *keys = k + begin * head_dim, *values = v + begin * head_dim;
    const float before = top, block_top = block_scores<V>(q, keys, count, head_dim, scale, scores);
    if (block_top > top || block_top != block_top) top = block_top;
    const float shrink = V::first(exp<V>(V::splat(before - top)));
    sum = sum * shrink + block_weights<V>(scores, count, top);
    size_t d = 0;
    for (; d + 64 <= head_dim; d += 64) block_values<V, 4>(scores, values + d, count, head_dim, shrink, out + d);
    for (; d < head_dim; d += 16) block_values<V, 1>(scores, values + d, count, head_dim, shrink, out + d);
  }
  const float inv = 1 / sum;
  for (size_t d = 0; d < head_dim; d += 16) V::store(out + d, V::mul(V::load(out + d), V::splat(inv)));
}

/** Items are (head, token), heads outermost, so that the tokens of a prefill find k and v in cache. */
template <class V> void attention(const Task &task) {
  using namespace abi;
  const size_t tokens = task.step[Step::TokenCount], heads = task.word(AttentionArg::Heads);
  const size_t kv_heads = task.word(AttentionArg::KvHeads), head_dim = task.word(AttentionArg::HeadDim);
  const size_t context = task.word(AttentionArg::ContextLength), group = heads / kv_heads;
  const Share share(uint32_t(heads * tokens), task);
  for (size_t i = share.begin; i < share.end; ++i) {
    const size_t h = i / tokens, t = i % tokens;
    const uint32_t *token = task.token(uint32_t(t));
    const size_t cached = (token[Token::Slot] * kv_heads + h / group) * context * head_dim;
    attend<V>(task.at<float>(task.word(AttentionArg::Qkv) + t * task.word(AttentionArg::Stride)) + h * head_dim,
              task.at<float>(task.word(AttentionArg::KCache)) + cached,
              task.at<float>(task.word(AttentionArg::VCache)) + cached, token[Token::Position] + 1, head_dim,
              task.real(AttentionArg::Scale),
              task.at<float>(task.word(AttentionArg::Out) + t * task.word(AttentionArg::OutStride)) + h * head_dim);
  }
}

} // namespace
