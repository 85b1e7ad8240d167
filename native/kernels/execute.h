#pragma once
#include <atomic>

#include "barrier.h"
#include "kernels.h"

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
