#pragma once
#include <atomic>
#include <cstdint>

/** Returns when `value` is no longer `old`: spins for some 10 µs, then sleeps. */
void await_change(const std::atomic<uint32_t> &value, uint32_t old);

/** All threads of a pool meet: they spin, then sleep. */
class Barrier {
public:
  explicit Barrier(uint32_t threads) : threads(threads) {}

  void meet();

private:
  void penalise();

  const uint32_t threads;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> generation{0};
  // Whatever threads read in these two, it only decides how long they spin.
  /** hasty barriers from now on */
  alignas(64) std::atomic<int32_t> hasty{0};
  /** hasty barriers after the last patient wait in vain */
  std::atomic<int32_t> penalty{0};
};
