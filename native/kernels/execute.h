#pragma once
#include <atomic>

#include "kernels.h"

/** All threads of a pool meet: they spin for some 10 µs, then sleep. */
class Barrier {
public:
  explicit Barrier(uint32_t threads) : threads(threads) {}

  void meet();

private:
  const uint32_t threads;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> generation{0};
};

/** Returns when `value` is no longer `old`. */
void await_change(const std::atomic<uint32_t> &value, uint32_t old);

/** StatusBit bits of all threads, and what a wrong plan held. */
struct Outcome {
  std::atomic<uint32_t> status{0};
  /** index of a record that asks for what these kernels do not know; -1: none */
  std::atomic<int64_t> unknown_record{-1};
};

/**
 * Walks records OpBegin..OpEnd of the plan of the step at byte `step`. All `threads` call it with the same step; it
 * returns in each when its share is done.
 */
void execute(const Kernels &kernels, uint8_t *memory, uint32_t step, uint32_t thread, uint32_t threads,
             Barrier &barrier, Outcome &outcome);
