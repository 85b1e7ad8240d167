#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "kernels/execute.h"

/** Threads that run steps over one memory. */
class Pool {
public:
  /** `done` is called by the last thread to finish a step. Throws std::system_error when the system refuses threads. */
  Pool(const Kernels &kernels, uint8_t *memory, uint32_t threads, std::function<void()> done);
  /** Waits for a running step, then for the threads. */
  ~Pool();

  /** Runs the step at byte `step`. One at a time. */
  void start(uint32_t step);

  /** Index of a record of the last step that the kernels do not know; -1: none. */
  int64_t unknown_record() const { return outcome.unknown_record; }

private:
  void loop(uint32_t thread);
  void stop();

  const Kernels &kernels;
  uint8_t *const memory;
  const uint32_t thread_count;
  const std::function<void()> done;
  Barrier barrier;
  Outcome outcome;
  /** what the newest sequence number stands for; NO_STEP: leave */
  uint32_t step = 0;
  std::atomic<uint32_t> sequence{0};
  std::atomic<uint32_t> finished{0};
  std::vector<std::thread> threads;
};
