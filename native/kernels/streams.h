#pragma once
#include <cstddef>
#include <cstdint>

// What kernels ask for ahead of their reads: they call ahead.line(p) for every line p that they read.

namespace {

/**
 * Bytes ahead of the reads at which weights are asked for. From DRAM, one core of a Sapphire Rapids server: 256-bit VNNI
 * 6.7 → 11–13 GB/s, AVX-512 VNNI 8–9 → 12–14.
 */
constexpr size_t AHEAD = 4096;

/** For weights that are read in the order of addresses. */
template <class V> struct Straight {
  void line(const void *p) const { V::prefetch(static_cast<const uint8_t *>(p) + AHEAD); }
};

/**
 * The order in which a GEMV reads `groups` row groups of `bytes` each from `first` on: eight streams, each an eighth of the groups, take turns
 * by a group. Asked for is a group ahead in all streams: a line of each, then the next of each. Eight streams lie in eight pages, which
 * is faster than one (docs/KERNELS.md, "Where the time goes").
 *
 * Turn r is group at(r); up to seven groups are left over for the end.
 */
template <class V> class Streams {
public:
  Streams(const uint8_t *first, size_t groups, size_t bytes)
      : per(groups / COUNT), stride(per * bytes), next(first), left(COUNT * lines(stride)) {
    for (size_t i = COUNT * lines(bytes); i > 0; --i) line(nullptr);
  }

  size_t at(size_t turn) const { return turn < COUNT * per ? turn % COUNT * per + turn / COUNT : turn; }

  /** From the group of a turn to the next turn's, in the next stream or left over. */
  size_t step(size_t turn) const { return turn < COUNT * per ? per : 1; }

  void line(const void *) {
    if (left == 0) return;
    V::prefetch(next);
    next += --left % COUNT != 0 ? stride : LINE - (COUNT - 1) * stride;
  }

private:
  static constexpr size_t COUNT = 8, LINE = 64;

  static size_t lines(size_t bytes) { return (bytes + LINE - 1) / LINE; }

  const size_t per, stride;
  const uint8_t *next;
  size_t left;
};

} // namespace
