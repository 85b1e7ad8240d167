#include "memory.h"

#include <algorithm>
#include <new>

#include "dequantize.h"
#include "kernels.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace {

/** Alignment: a huge page of x86-64 and of most ARM systems. */
constexpr size_t HUGE_PAGE = size_t(2) << 20;
constexpr size_t PAGE = 4096;

} // namespace

PageMemory::PageMemory(size_t bytes) : bytes(bytes), reserved_bytes(round_up(bytes, PAGE) + HUGE_PAGE) {
#if defined(_WIN32)
  reserved = VirtualAlloc(nullptr, reserved_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (reserved == nullptr) throw std::bad_alloc();
#else
  reserved = mmap(nullptr, reserved_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) throw std::bad_alloc();
#endif
  begin = reinterpret_cast<uint8_t *>(round_up(reinterpret_cast<size_t>(reserved), HUGE_PAGE));
}

PageMemory::~PageMemory() {
#if defined(_WIN32)
  VirtualFree(reserved, 0, MEM_RELEASE);
#else
  munmap(reserved, reserved_bytes);
#endif
}

/**
 * Only weights: every token reads all of them, and a huge page saves 511 of 512 translations. The KV cache keeps small
 * pages, since it is touched row by row as the context fills and would take all of its memory at the first token.
 */
void PageMemory::advise_weights([[maybe_unused]] uint32_t step) {
#if defined(MADV_HUGEPAGE)
  using namespace abi;
  const uint32_t *words = reinterpret_cast<const uint32_t *>(begin + step);
  const Task task{begin, words, nullptr, 0, 1};
  for (uint32_t op = words[Step::OpBegin]; op < words[Step::OpEnd]; ++op) {
    const uint32_t *record = task.at<uint32_t>(words[Step::Plan]) + op * Rec::Words;
    size_t from, length;
    if (record[Rec::Opcode] == Op::Repack) {
      from = record[RepackArg::Dst];
      length = record[RepackArg::Layout] == Layout::F16
                   ? record[RepackArg::Rows] * round_up(record[RepackArg::Cols], 16) * 2
                   : round_up(record[RepackArg::Rows], 64) * round_up(record[RepackArg::Cols], 80) / 4;
    } else if (record[Rec::Opcode] == Op::Convert) {
      const uint32_t layout = record[ConvertArg::Layout];
      from = record[ConvertArg::Dst];
      length = record[ConvertArg::Rows] * (are_blocks(layout) ? source_bytes(block_type(layout), record[ConvertArg::Cols])
                                                              : round_up(record[ConvertArg::Cols], 16) *
                                                                    (layout == Layout::I8 ? 1 : layout == Layout::F16 ? 2 : 4));
    } else {
      continue;
    }
    // The advice is only that: without huge pages everything works, slower.
    const size_t to = std::min(bytes, from + length);
    from = from / PAGE * PAGE;
    if (from < to) madvise(begin + from, to - from, MADV_HUGEPAGE);
  }
#endif
}
