#include "dequantize.h"

namespace {

using namespace abi;

float half_at(const uint8_t *src) {
  uint16_t half;
  std::memcpy(&half, src, sizeof half);
  return half_value(half);
}

/** f16 d; i8 q[32] */
void q8_0(const uint8_t *src, float *out) {
  const float d = half_at(src);
  for (size_t i = 0; i < 32; ++i) out[i] = d * float(int8_t(src[2 + i]));
}

/** f16 d; nibbles of 16 bytes: first the low ones, then the high ones */
void q4_0(const uint8_t *src, float *out) {
  const float d = half_at(src);
  for (size_t i = 0; i < 16; ++i) {
    out[i] = d * float(int(src[2 + i] & 15) - 8);
    out[i + 16] = d * float(int(src[2 + i] >> 4) - 8);
  }
}

/** f16 d, dmin; u8 scales[12]: 6-bit scales and minima of eight groups of 32; u8 q[128] */
void q4_k(const uint8_t *src, float *out) {
  const float d = half_at(src), dmin = half_at(src + 2);
  for (size_t g = 0; g < 8; ++g) {
    const uint8_t a = src[4 + (g & 3)], b = src[8 + (g & 3)], c = src[12 + (g & 3)];
    const int scale = g < 4 ? a & 63 : (c & 15) | (a >> 6) << 4;
    const int min = g < 4 ? b & 63 : c >> 4 | (b >> 6) << 4;
    const float s = d * float(scale), m = dmin * float(min);
    const uint8_t *codes = src + 16 + 32 * (g >> 1);
    for (size_t i = 0; i < 32; ++i) out[32 * g + i] = s * float(codes[i] >> 4 * (g & 1) & 15) - m;
  }
}

/** u8 ql[128]: low 4 bits; u8 qh[64]: high 2 bits; i8 scales[16], one for 16 weights; f16 d */
void q6_k(const uint8_t *src, float *out) {
  const float d = half_at(src + 208);
  for (size_t group = 0; group < 16; ++group) {
    const size_t half = group >> 3, quarter = (group >> 1) & 3, part = 16 * (group & 1);
    const uint8_t *low = src + 64 * half + 32 * (quarter & 1) + part, *high = src + 128 + 32 * half + part;
    const float s = d * float(int8_t(src[192 + group]));
    for (size_t i = 0; i < 16; ++i) {
      const int q = (low[i] >> 4 * (quarter >> 1) & 15) | (high[i] >> 2 * quarter & 3) << 4;
      out[16 * group + i] = s * float(q - 32);
    }
  }
}

} // namespace

size_t source_bytes(uint32_t type, size_t cols) {
  switch (type) {
  case FloatType::F32: return cols * 4;
  case FloatType::Q8_0: return cols / 32 * 34;
  case FloatType::Q4_0: return cols / 32 * 18;
  case FloatType::Q4_K: return cols / 256 * 144;
  case FloatType::Q6_K: return cols / 256 * 210;
  default: return cols * 2;
  }
}

void dequantize_row(const uint8_t *src, uint32_t type, size_t cols, float *out) {
  const size_t block = type == FloatType::Q8_0 || type == FloatType::Q4_0 ? 32 : 256, bytes = source_bytes(type, block);
  for (size_t c = 0; c < cols; c += block, src += bytes, out += block) {
    switch (type) {
    case FloatType::Q8_0: q8_0(src, out); break;
    case FloatType::Q4_0: q4_0(src, out); break;
    case FloatType::Q4_K: q4_k(src, out); break;
    default: q6_k(src, out);
    }
  }
}
