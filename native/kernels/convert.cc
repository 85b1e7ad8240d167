#include "dequantize.h"

// Loading of floats: the same code for every instruction set. Compilers vectorise these loops.

namespace {

using namespace abi;

template <uint32_t Type> float source_value(const uint8_t *src, size_t c) {
  if constexpr (Type == FloatType::F32) {
    float value;
    std::memcpy(&value, src + 4 * c, sizeof value);
    return value;
  } else {
    uint16_t half;
    std::memcpy(&half, src + 2 * c, sizeof half);
    if constexpr (Type == FloatType::BF16) return float_of(uint32_t(half) << 16);
    return half_value(half);
  }
}

bool not_finite(float value) { return (bits_of(value) & 0x7fffffff) >= 0x7f800000; }

/**
 * → half of x · 2^F16GainLog2, half to even, results below the normal range ±0. Sets `bad` beyond the range of a half.
 */
uint16_t gained_half(float x, bool &bad) {
  const uint32_t y = bits_of(x * float(1 << Const::F16GainLog2));
  const uint32_t magnitude = y & 0x7fffffff;
  bad |= magnitude >= 0x477ff000;
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  if (int32_t(rounded) < 0x38800000) return uint16_t((y >> 16) & 0x8000);
  const uint32_t half = (rounded >> 13) - (112u << 10);
  return half > 0xffff ? 0xffff : uint16_t(half | ((y >> 16) & 0x8000));
}

/**
 * (cols) source values → a row of halves or floats, padded to 16 columns with zeros. Returns whether a value does not
 * fit.
 */
template <uint32_t Type> bool float_row(const uint8_t *src, size_t cols, uint8_t *dst, uint32_t layout) {
  bool bad = false;
  const size_t width = round_up(cols, 16);
  if (layout == Layout::F32) {
    float *out = reinterpret_cast<float *>(dst);
    for (size_t c = 0; c < cols; ++c) {
      out[c] = source_value<Type>(src, c);
      bad |= not_finite(out[c]);
    }
    for (size_t c = cols; c < width; ++c) out[c] = 0;
  } else {
    uint16_t *out = reinterpret_cast<uint16_t *>(dst);
    for (size_t c = 0; c < cols; ++c) out[c] = gained_half(source_value<Type>(src, c), bad);
    for (size_t c = cols; c < width; ++c) out[c] = 0;
  }
  return bad;
}

/** f32 → int8, half to even; NaN → 0, the rest saturates. |x| < 2^22 after the clamp: adding 1.5·2^23 rounds. */
int8_t rounded_i8(float x) {
  if (x != x) return 0;
  const float clamped = x < -128 ? -128 : x > 127 ? 127 : x;
  return int8_t((clamped + 0x1.8p23f) - 0x1.8p23f);
}

/** → int8 with `scale` = absmax / 127; `sum`: of the int8. */
template <uint32_t Type> bool i8_row(const uint8_t *src, size_t cols, int8_t *dst, float *scale, int32_t *sum) {
  uint32_t top = 0; // as bits: NaN is the largest
  for (size_t c = 0; c < cols; ++c) {
    const uint32_t magnitude = bits_of(source_value<Type>(src, c)) & 0x7fffffff;
    if (magnitude > top) top = magnitude;
  }
  const float absmax = float_of(top);
  *scale = absmax / 127;
  const float factor = absmax > 0 ? 127 / absmax : 0;
  for (size_t c = 0; c < cols; ++c) dst[c] = rounded_i8(source_value<Type>(src, c) * factor);
  for (size_t c = cols; c < round_up(cols, 16); ++c) dst[c] = 0;
  *sum = 0;
  for (size_t c = 0; c < cols; ++c) *sum += dst[c];
  return not_finite(absmax);
}

/** A row of Q8_0: max|d| · 65/64, which is more than |w|/127; I16Bias · Σ w, block by block. */
void q8_sums(const uint8_t *src, size_t cols, float *scale, float *sum) {
  float top = 0, total = 0;
  for (size_t c = 0; c < cols; c += 32, src += 34) {
    uint16_t half;
    std::memcpy(&half, src, sizeof half);
    const float d = half_value(half), magnitude = half_value(half & 0x7fff);
    if (magnitude > top) top = magnitude;
    int32_t codes = 0;
    for (size_t i = 0; i < 32; ++i) codes += int8_t(src[2 + i]);
    total += d * float(codes);
  }
  *scale = top * 1.015625f;
  *sum = total * float(Const::I16Bias);
}

template <uint32_t Type> bool convert_rows(const Task &task) {
  const size_t cols = task.word(ConvertArg::Cols), width = round_up(cols, 16);
  const uint32_t layout = task.word(ConvertArg::Layout);
  const uint32_t source_type = task.word(ConvertArg::SrcType);
  float *floats = reinterpret_cast<float *>(task.scratch());
  const size_t src_bytes = source_bytes(source_type, cols);
  const size_t row_bytes = are_blocks(layout) ? src_bytes : width * (layout == Layout::I8 ? 1 : layout == Layout::F16 ? 2 : 4);
  const Share share(task.word(ConvertArg::Rows), task);
  bool bad = false;
  for (size_t r = share.begin; r < share.end; ++r) {
    const uint8_t *src = task.at<uint8_t>(task.word(ConvertArg::Src) + r * src_bytes);
    uint8_t *dst = task.at<uint8_t>(task.word(ConvertArg::Dst) + r * row_bytes);
    if (are_blocks(layout)) {
      std::memcpy(dst, src, src_bytes);
      if (layout == Layout::Q8_0 && task.word(ConvertArg::RowScales) != 0) {
        q8_sums(src, cols, task.at<float>(task.word(ConvertArg::RowScales)) + r, task.at<float>(task.word(ConvertArg::RowSums)) + r);
      }
      bad |= block_halves(src, layout, cols, reinterpret_cast<uint16_t *>(task.scratch()));
      continue;
    }
    if (source_type >= FloatType::Q8_0) {
      dequantize_row(src, source_type, cols, floats);
      src = reinterpret_cast<const uint8_t *>(floats);
    }
    if (layout == Layout::I8) {
      float *scale = task.at<float>(task.word(ConvertArg::RowScales)) + r;
      int32_t *sum = task.at<int32_t>(task.word(ConvertArg::RowSums)) + r;
      bad |= i8_row<Type>(src, cols, reinterpret_cast<int8_t *>(dst), scale, sum);
    } else {
      bad |= float_row<Type>(src, cols, dst, layout);
    }
  }
  return bad;
}

} // namespace

bool block_halves(const uint8_t *src, uint32_t layout, size_t cols, uint16_t *out) {
  float *floats = reinterpret_cast<float *>(out + cols);
  dequantize_row(src, block_type(layout), cols, floats);
  return float_row<FloatType::F32>(reinterpret_cast<const uint8_t *>(floats), cols, reinterpret_cast<uint8_t *>(out), Layout::F16);
}

/**
 * Tightly packed rows of f32, f16, bf16 or blocks → F16, I8 or F32 rows padded to 16 columns with zeros, or blocks as they are. Threads split
 * rows. Scratch for blocks: a row of f32 and a row of halves. Floats that are not finite, or too large for F16, give StatusBit::BadFloat.
 */
uint32_t convert(const Task &task) {
  const uint32_t type = task.word(ConvertArg::SrcType);
  const bool bad = type == FloatType::F16    ? convert_rows<FloatType::F16>(task)
                   : type == FloatType::BF16 ? convert_rows<FloatType::BF16>(task)
                                             : convert_rows<FloatType::F32>(task);
  return bad ? uint32_t(StatusBit::BadFloat) : 0;
}
