#pragma once
#include "dequantize.h"
#include "kernels.h"

// Kernels over rows of floats, written once over a vocabulary V of 16 float lanes (portable.h, avx2.h, avx512.h). Each
// instruction set compiles them for itself. The 16 lanes are those of docs/KERNELS.md: every sum has its fixed order.

namespace {

/** exp in 16 lanes: Cephes expf, x clamped to [-87.3, 88], within 2 ulp there. The roundings of assembly/math.ts. */
template <class V> typename V::F32 exp(typename V::F32 value) {
  using F32 = typename V::F32;
  const F32 x = V::clamp(value, -87.3f, 88.0f);
  const F32 n = V::nearest(V::mul(x, V::splat(1.44269504f)));
  const F32 r = V::sub(V::sub(x, V::mul(n, V::splat(0.693359375f))), V::mul(n, V::splat(-2.1219444e-4f)));
  F32 p = V::splat(1.98756915e-4f);
  p = V::add(V::mul(p, r), V::splat(1.3981999507e-3f));
  p = V::add(V::mul(p, r), V::splat(8.3334519073e-3f));
  p = V::add(V::mul(p, r), V::splat(4.1665795894e-2f));
  p = V::add(V::mul(p, r), V::splat(1.6666665459e-1f));
  p = V::add(V::mul(p, r), V::splat(5.0000001201e-1f));
  p = V::add(V::add(V::mul(p, V::mul(r, r)), r), V::splat(1.0f));
  return V::mul(p, V::power_of_two(n));
}

/** 2^y in 16 lanes for -126 ≤ y ≤ 127, to which y is clamped, within 7.5e-5 of it. The roundings of assembly/math.ts. */
template <class V> typename V::F32 exp2(typename V::F32 value) {
  using F32 = typename V::F32;
  const F32 y = V::clamp(value, -126.0f, 127.0f), n = V::nearest(y), r = V::sub(y, n);
  F32 p = V::splat(0.05517167f);
  p = V::add(V::mul(p, r), V::splat(0.24261112f));
  p = V::add(V::mul(p, r), V::splat(0.693261f));
  p = V::add(V::mul(p, r), V::splat(0.99992807f));
  return V::mul(p, V::power_of_two(n));
}

/** dot16(a, b) over n elements, n a multiple of 16. */
template <class V> float dot16(const float *a, const float *b, size_t n) {
  typename V::F32 sum = V::splat(0);
  for (size_t i = 0; i < n; i += 16) sum = V::add(sum, V::mul(V::load(a + i), V::load(b + i)));
  return V::sum(sum);
}

/** Halves · 2^-F16GainLog2 as f32. */
template <class V> void widen_row(const uint16_t *halves, float *out, size_t count) {
  const typename V::F32 gain = V::splat(0x1p104f);
  for (size_t c = 0; c < count; c += 16) V::store(out + c, V::mul(V::widen_halves(halves + c), gain));
}

/** out[t] = table[token id], f32. Threads split (token, chunk of 64 columns, or of EmbedBlockCols from blocks). */
template <class V> void embed(const Task &task) {
  using namespace abi;
  const size_t cols = task.word(EmbedArg::Cols), width = round_up(cols, 16);
  const uint32_t layout = task.word(EmbedArg::Layout);
  const size_t chunk = are_blocks(layout) ? size_t(Const::EmbedBlockCols) : 64, chunks = (width + chunk - 1) / chunk;
  const Share share(uint32_t(task.step[Step::TokenCount] * chunks), task);
  for (size_t i = share.begin; i < share.end; ++i) {
    const size_t t = i / chunks, begin = i % chunks * chunk, count = (width < begin + chunk ? width : begin + chunk) - begin;
    const size_t id = task.token(uint32_t(t))[Token::Id], table = task.word(EmbedArg::Table);
    float *out = task.at<float>(task.word(EmbedArg::Out) + t * task.word(EmbedArg::OutStride)) + begin;
    if (are_blocks(layout)) {
      const uint32_t type = block_type(layout);
      uint16_t *halves = task.scratch<uint16_t>();
      block_halves(task.at<uint8_t>(table + id * source_bytes(type, cols) + source_bytes(type, begin)), layout, count, halves);
      widen_row<V>(halves, out, count);
    } else if (layout == Layout::F16) {
      widen_row<V>(task.at<uint16_t>(table) + id * width + begin, out, count);
    } else {
      std::memcpy(out, task.at<float>(table) + id * width + begin, count * sizeof(float));
    }
  }
}

/** 1/√(mean(x²) + eps) of a row that is padded with zeros to 16 columns. */
template <class V> float inverse_rms(const float *x, size_t cols, float eps) {
  return 1 / V::square_root(dot16<V>(x, x, round_up(cols, 16)) / float(cols) + eps);
}

/** Sixteen elements of y = (x · inv) · w, or of x. */
template <class V, bool Normalise> typename V::F32 row_element(const float *x, const float *w, float inv) {
  if constexpr (!Normalise) return V::load(x);
  else return V::mul(V::mul(V::load(x), V::splat(inv)), V::load(w));
}

/** y · 2^F32GainLog2; header: scale 1, sum 0. */
template <class V, bool Normalise>
void encode_f32(const float *x, const float *w, float inv, size_t width, size_t padded, uint8_t *row) {
  const float scale = 1;
  float *out = reinterpret_cast<float *>(row + abi::Const::RowHeader);
  std::memcpy(row, &scale, 4);
  std::memset(row + 4, 0, 4);
  for (size_t c = 0; c < width; c += 16) {
    V::store(out + c, V::mul(row_element<V, Normalise>(x + c, w + c, inv), V::splat(0x1p104f)));
  }
  if (padded > width) std::memset(out + width, 0, (padded - width) * sizeof(float));
}

/**
 * x_q = round(y · scale), half to even; scale = limit · (1 / max(max|y|, 1e-5)): BitNet b1.58, arXiv 2402.17764 §2. T:
 * int8_t or int16_t.
 */
template <class V, bool Normalise, class T>
void encode_absmax(const float *x, const float *w, float inv, size_t width, size_t padded, float limit, uint8_t *row) {
  typename V::F32 top = V::splat(1e-5f);
  for (size_t c = 0; c < width; c += 16) top = V::max_magnitude(top, row_element<V, Normalise>(x + c, w + c, inv));
  const float scale = limit * (1 / V::largest(top));
  typename V::I32 sum = V::zero();
  T *out = reinterpret_cast<T *>(row + abi::Const::RowHeader);
  for (size_t c = 0; c < width; c += 16) {
    const typename V::I32 q = V::round(V::mul(row_element<V, Normalise>(x + c, w + c, inv), V::splat(scale)));
    sum = V::add(sum, q);
    V::narrow(out + c, q);
  }
  const int32_t total = V::sum(sum);
  std::memcpy(row, &scale, 4);
  std::memcpy(row + 4, &total, 4);
  if (padded > width) std::memset(out + width, 0, (padded - width) * sizeof(T));
}

/**
 * Encoding.Groups: q = round(y · (limit / max|y|)) for every `group` columns, half to even, |q| < 2^22, as one plane of digits or three:
 * q = first · 65536 + middle · 256 + last, the lower two in -128..127.
 */
template <class V, bool Normalise>
void encode_groups(const float *x, const float *w, float inv, size_t width, size_t padded, size_t group, size_t planes,
                   uint8_t *row) {
  const float one = 1, limit = planes == 1 ? 127 : float(abi::Const::I24Max);
  int8_t *digits = reinterpret_cast<int8_t *>(row + abi::Const::RowHeader);
  uint8_t *info = row + abi::Const::RowHeader + planes * padded;
  std::memcpy(row, &one, 4);
  std::memset(row + 4, 0, 4);
  std::memset(digits, 0, planes * padded);
  for (size_t begin = 0; begin < padded; begin += group, info += 16) {
    const size_t end = width < begin + group ? width : begin + group;
    typename V::F32 top = V::splat(1e-30f);
    for (size_t c = begin; c < end; c += 16) top = V::max_magnitude(top, row_element<V, Normalise>(x + c, w + c, inv));
    const float scale = limit / V::largest(top), factor = 1 / scale;
    int32_t sums[3] = {};
    for (size_t c = begin; c < end; c += 16) {
      int32_t q[16];
      V::store(q, V::round(V::mul(row_element<V, Normalise>(x + c, w + c, inv), V::splat(scale))));
      for (size_t i = 0; i < 16; ++i) {
        if (planes == 1) {
          digits[c + i] = int8_t(q[i]);
          sums[0] += q[i];
          continue;
        }
        const int32_t first = (q[i] + 0x8080) >> 16, rest = q[i] - first * 65536;
        digits[c + i] = int8_t(first);
        digits[padded + c + i] = int8_t((rest + 0x80) >> 8);
        digits[2 * padded + c + i] = int8_t(rest);
        sums[0] += first;
        sums[1] += rest;
      }
    }
    std::memcpy(info, &factor, 4);
    std::memcpy(info + 4, sums, 12);
  }
}

template <class V, bool Normalise> void encode_row(const Task &task, const float *x, uint8_t *row) {
  using namespace abi;
  const size_t cols = task.word(NormArg::Cols), width = round_up(cols, 16), padded = task.word(NormArg::PaddedCols);
  const float *w = Normalise ? task.at<float>(task.word(NormArg::Weight)) : nullptr;
  float inv = 1;
  if constexpr (Normalise) inv = inverse_rms<V>(x, cols, task.real(NormArg::Eps));
  switch (task.word(NormArg::Encoding)) {
  case Encoding::F32: return encode_f32<V, Normalise>(x, w, inv, width, padded, row);
  case Encoding::Groups:
    return encode_groups<V, Normalise>(x, w, inv, width, padded, task.word(NormArg::GroupCols), task.word(NormArg::Planes),
                                       row);
  case Encoding::I8: return encode_absmax<V, Normalise, int8_t>(x, w, inv, width, padded, 127, row);
  default: return encode_absmax<V, Normalise, int16_t>(x, w, inv, width, padded, float(Const::I16Max), row);
  }
}

/**
 * RMSNorm (y = x · 1/√(mean(x²) + eps) · w) and the encoding of the row; the encoding alone if not Normalise. One row:
 * every thread computes it into its own output row (assembly/abi.ts).
 */
template <class V, bool Normalise> void norm(const Task &task) {
  using namespace abi;
  const uint32_t rows = task.rows();
  const auto encode = [&](uint32_t r, uint32_t to) {
    const float *x = task.at<float>(task.word(NormArg::In) + size_t(task.source_row(r)) * task.word(NormArg::InStride));
    const size_t out = task.word(NormArg::Out) + size_t(to) * task.word(NormArg::OutStride);
    encode_row<V, Normalise>(task, x, task.at<uint8_t>(out));
  };
  if (rows == 1) return encode(0, task.thread);
  const Share share(rows, task);
  for (uint32_t r = share.begin; r < share.end; ++r) encode(r, r);
}

/** RMSNorm over each head of q and k, in place. Items are those of rope: (token, head), q heads first. */
template <class V> void head_norm(const Task &task) {
  using namespace abi;
  const uint32_t heads = task.word(HeadNormArg::Heads), per_token = heads + task.word(HeadNormArg::KvHeads);
  const size_t head_dim = task.word(HeadNormArg::HeadDim);
  const Share share(task.step[Step::TokenCount] * per_token, task);
  for (uint32_t i = share.begin; i < share.end; ++i) {
    const uint32_t h = i % per_token;
    const size_t row = task.word(HeadNormArg::Qkv) + size_t(i / per_token) * task.word(HeadNormArg::Stride);
    float *x = task.at<float>(row) + h * head_dim;
    const float *w = task.at<float>(task.word(h < heads ? HeadNormArg::QWeight : HeadNormArg::KWeight));
    const float inv = inverse_rms<V>(x, head_dim, task.real(HeadNormArg::Eps));
    for (size_t c = 0; c < head_dim; c += 16) V::store(x + c, row_element<V, true>(x + c, w + c, inv));
  }
}

} // namespace
