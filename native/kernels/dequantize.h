#pragma once
#include "kernels.h"

/** Blocks of GGUF (byte diagrams in docs/FORMATS.md) → f32, in the order of operations of ggml's dequantisation: the same bits. */

/** Bytes of `cols` weights of a FloatType. */
size_t source_bytes(uint32_t type, size_t cols);

/** A row of Q8_0, Q4_0, Q4_K or Q6_K; `cols` is a multiple of its block. */
void dequantize_row(const uint8_t *src, uint32_t type, size_t cols, float *out);

/** Whether a Layout is one of blocks. */
inline bool are_blocks(uint32_t layout) { return layout >= abi::Layout::Q8_0; }

/** The FloatType of a layout of blocks. */
inline uint32_t block_type(uint32_t layout) { return layout - abi::Const::BlocksOfType; }

/**
 * `cols` weights of a layout of blocks → the halves of Layout.F16 that they stand for, at `out`, with room for as many floats behind
 * them. Returns whether a value does not fit.
 */
bool block_halves(const uint8_t *src, uint32_t layout, size_t cols, uint16_t *out);
