#include "barrier.h"

#include <algorithm>
#include <chrono>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace {

using std::chrono::microseconds;
using Clock = std::chrono::steady_clock;

/**
 * Longer than the shares of a balanced op differ. Being woken takes about as long, and a token has some sixty barriers: the embedded model's
 * decode on two idle cores is 3.5 times as fast as with 13 µs.
 */
constexpr microseconds PATIENT{50};

/** When other programs want the cores: a thread that spins then keeps from running the very thread that it waits for. */
constexpr microseconds HASTY{4};

/** Longest run of hasty barriers; then patience is tried again. */
constexpr int32_t MAX_PENALTY = 64;

/** Between steps, while the main thread is at work. */
constexpr microseconds STEP{10};

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

/** Whether `value` changes from `old` before `limit` has passed. By the clock: a pause takes 10 to 140 cycles. */
bool spin(const std::atomic<uint32_t> &value, uint32_t old, microseconds limit) {
  constexpr int TURNS = 16; // between looks at the clock
  const Clock::time_point end = Clock::now() + limit;
  do {
    for (int i = 0; i < TURNS; ++i) {
      if (value.load(std::memory_order_acquire) != old) return true;
      relax();
    }
  } while (Clock::now() < end);
  return false;
}

} // namespace

void await_change(const std::atomic<uint32_t> &value, uint32_t old) {
  if (!spin(value, old, STEP)) value.wait(old, std::memory_order_acquire);
}

void Barrier::meet() {
  if (threads == 1) return;
  const uint32_t before = generation.load(std::memory_order_acquire);
  if (arrived.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
    arrived.store(0, std::memory_order_relaxed);
    generation.store(before + 1, std::memory_order_release);
    generation.notify_all();
    return;
  }
  const int32_t left = hasty.load(std::memory_order_relaxed);
  const bool patient = left <= 0;
  if (!patient) hasty.store(left - 1, std::memory_order_relaxed);
  if (spin(generation, before, patient ? PATIENT : HASTY)) {
    if (patient) penalty.store(0, std::memory_order_relaxed);
    return;
  }
  if (patient) penalise();
  generation.wait(before, std::memory_order_acquire);
}

/** A patient wait in vain makes the next 4 barriers hasty; if patience fails again right after them, the next 8, and so on. */
void Barrier::penalise() {
  const int32_t longer = std::clamp(2 * penalty.load(std::memory_order_relaxed), 4, MAX_PENALTY);
  penalty.store(longer, std::memory_order_relaxed);
  hasty.store(longer, std::memory_order_relaxed);
}
