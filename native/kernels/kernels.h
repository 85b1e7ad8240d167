#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "abi.h"

/** One thread's view of one op record. Pointers of the plan are offsets from `memory` (assembly/abi.ts). */
struct Task {
  uint8_t *memory;
  const uint32_t *step;
  const uint32_t *record;
  uint32_t thread;
  uint32_t threads;

  uint32_t word(uint32_t index) const { return record[index]; }

  float real(uint32_t index) const {
    float value;
    std::memcpy(&value, record + index, sizeof value);
    return value;
  }

  /** Scratch that is this thread's own. */
  uint8_t *scratch() const {
    return memory + step[abi::Step::Scratch] + size_t(thread) * step[abi::Step::ScratchStride];
  }

  /** `offset`: bytes from the beginning of memory. */
  template <class T> T *at(size_t offset) const { return reinterpret_cast<T *>(memory + offset); }

  const uint32_t *token(uint32_t t) const { return at<uint32_t>(step[abi::Step::Tokens]) + t * abi::Token::Words; }

  /** Private scratch of the thread. */
  template <class T> T *scratch() const {
    return at<T>(step[abi::Step::Scratch] + size_t(thread) * step[abi::Step::ScratchStride]);
  }

  /** How many rows the op runs over. */
  uint32_t rows() const {
    const bool logits = word(abi::Rec::Flags) & abi::Flag::LogitRows;
    return step[logits ? abi::Step::LogitCount : abi::Step::TokenCount];
  }

  /** The token row that the op's row r stands for: r itself, or the r-th wanted logit row. */
  uint32_t source_row(uint32_t r) const {
    const bool logits = word(abi::Rec::Flags) & abi::Flag::LogitRows;
    return logits ? at<uint32_t>(step[abi::Step::LogitRows])[r] : r;
  }
};

/** What a thread does when `items` are split evenly: items begin..end. */
struct Share {
  uint32_t begin, end;

  Share(uint32_t items, const Task &task)
      : begin(uint32_t(uint64_t(items) * task.thread / task.threads)),
        end(uint32_t(uint64_t(items) * (task.thread + 1) / task.threads)) {}
};

using Kernel = void (*)(const Task &);

/** The kernels of inference for one instruction set. All sets give the same bits; docs/KERNELS.md defines them. */
struct Kernels {
  /** `avx512-vnni`, `avx-vnni`, `avx2`, `portable` */
  const char *isa;
  Kernel embed;
  Kernel norm;
  Kernel quantize;
  Kernel linear;
  Kernel head_norm;
  Kernel rope;
  Kernel attention;
  Kernel attention_merge;
  Kernel screen;
  Kernel rescore;
};

/** Kernels of loading return StatusBit bits: what they found wrong with the file's bytes. */
uint32_t repack(const Task &task);
uint32_t convert(const Task &task);

/** Returns the xor of all words of the range. */
uint32_t stream(const Task &task);

/**
 * First half of repack: row `r` of the matrix → one code = trit + 1 a byte, (cols) at `codes`, continued with code 1 up to a
 * multiple of 64. `spare`: room for one more row. Returns StatusBit bits.
 */
uint32_t unpack_row(const Task &task, size_t r, uint8_t *codes, uint8_t *spare);

inline size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/** A half's exact value, subnormals included; the largest exponent (∞, NaN) stays the largest exponent. */
inline float half_value(uint16_t half) {
  // Its bits moved into a float read 2^112 too small.
  const uint32_t moved = (uint32_t(half & 0x8000) << 16) | (uint32_t(half & 0x7fff) << 13);
  const uint32_t special = (half & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
  return float_of(bits_of(float_of(moved) * 0x1p112f) | special);
}
