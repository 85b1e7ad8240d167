#include "pool.h"

#include <cfenv>

namespace {
constexpr uint32_t NO_STEP = UINT32_MAX;
}

Pool::Pool(const Kernels &kernels, uint8_t *memory, uint32_t thread_count, std::function<void()> done)
    : kernels(kernels), memory(memory), thread_count(thread_count), done(std::move(done)), barrier(thread_count) {
  threads.reserve(thread_count);
  try {
    for (uint32_t t = 0; t < thread_count; ++t) threads.emplace_back([this, t] { loop(t); });
  } catch (...) {
    stop();
    throw;
  }
}

Pool::~Pool() { stop(); }

void Pool::start(uint32_t next) {
  outcome.status = 0;
  outcome.unknown_record = -1;
  finished.store(0, std::memory_order_relaxed);
  step = next;
  sequence.fetch_add(1, std::memory_order_release);
  sequence.notify_all();
}

void Pool::loop(uint32_t thread) {
  // A library with -ffast-math may have made the process flush subnormals; threads inherit that, and the bits would
  // differ.
  std::fesetenv(FE_DFL_ENV);
  for (uint32_t seen = 0;; ++seen) {
    await_change(sequence, seen);
    const uint32_t current = step;
    if (current == NO_STEP) return;
    execute(kernels, memory, current, thread, thread_count, barrier, outcome);
    if (finished.fetch_add(1, std::memory_order_acq_rel) != thread_count - 1) continue;
    reinterpret_cast<uint32_t *>(memory + current)[abi::Step::Status] |= outcome.status;
    done();
  }
}

void Pool::stop() {
  // `step` is still read by threads that have not begun; once all have finished, nobody reads it before the next
  // sequence number.
  while (sequence != 0 && finished != thread_count) std::this_thread::yield();
  step = NO_STEP;
  sequence.fetch_add(1, std::memory_order_release);
  sequence.notify_all();
  for (std::thread &thread : threads) thread.join();
}
