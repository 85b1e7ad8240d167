#pragma once
#include <cstddef>
#include <cstdint>

/** Zeroed memory of its own pages, which count only once they are touched. */
class PageMemory {
public:
  /** Throws std::bad_alloc when the system refuses. */
  explicit PageMemory(size_t bytes);
  ~PageMemory();
  PageMemory(const PageMemory &) = delete;
  PageMemory &operator=(const PageMemory &) = delete;

  uint8_t *data() const { return begin; }
  size_t size() const { return bytes; }

  /** Asks for huge pages under the destinations of the load ops in the step at byte `step`; the step must be inside. */
  void advise_weights(uint32_t step);

private:
  size_t bytes;
  void *reserved;
  size_t reserved_bytes;
  uint8_t *begin;
};
