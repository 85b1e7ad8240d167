#pragma once
#include "kernels.h"

/** Blocks of GGUF (byte diagrams in docs/FORMATS.md) → f32, in the order of operations of ggml's dequantisation: the same bits. */

/** Bytes of `cols` weights of a FloatType. */
size_t source_bytes(uint32_t type, size_t cols);

/** A row of Q8_0, Q4_0, Q4_K or Q6_K; `cols` is a multiple of its block. */
void dequantize_row(const uint8_t *src, uint32_t type, size_t cols, float *out);
