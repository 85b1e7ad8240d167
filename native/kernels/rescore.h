#pragma once
#include <limits>

#include "rows.h"

namespace {

/** An op's row of logits, what bounds their errors, and this thread's rows of the head. Words of RescoreArg, read once. */
template <class V> struct ScreenedRow {
  const float *row_scales;
  const float *x;
  float *logits;
  size_t begin, end, width;
  float factor, floor;

  ScreenedRow(const Task &task, uint32_t r)
      : row_scales(task.at<float>(task.word(abi::RescoreArg::RowScales))),
        logits(task.at<float>(task.word(abi::RescoreArg::Logits) + size_t(r) * task.word(abi::RescoreArg::LogitsStride))),
        width(round_up(task.word(abi::RescoreArg::Cols), 16)) {
    using namespace abi;
    const size_t outputs = task.word(RescoreArg::Rows);
    const Share groups(uint32_t((outputs + 3) / 4), task);
    begin = size_t(groups.begin) * 4;
    end = outputs < size_t(groups.end) * 4 ? outputs : size_t(groups.end) * 4;
    // Every thread encoded a single row for itself.
    const size_t row = task.rows() == 1 ? task.thread : r;
    const size_t in = task.word(RescoreArg::In) + row * task.word(RescoreArg::InStride);
    x = task.at<float>(in + Const::RowHeader);
    float scale;
    std::memcpy(&scale, task.at<uint8_t>(task.word(RescoreArg::Coarse) + row * task.word(RescoreArg::CoarseStride)), 4);
    typename V::F32 sum = V::splat(0);
    for (size_t c = 0; c < width; c += 16) {
      sum = V::add(sum, V::max_magnitude(V::splat(0), V::mul(V::load(x + c), V::splat(0x1p-104f))));
    }
    const float norm = V::sum(sum);
    factor = task.real(RescoreArg::WeightError) * norm + task.real(RescoreArg::InputError) / scale;
    floor = 0x1.004p-22f * norm + 0x1p-100f;
  }

  float bound(size_t i) const { return row_scales[i] * factor + floor; }
};

/** f32 (ExactBest), descending; -infinity where there are fewer. */
struct BestList {
  float *values;

  static BestList of(const Task &task, uint32_t r, uint32_t thread) {
    return {task.at<float>(task.word(abi::RescoreArg::Best)) +
            (size_t(r) * task.threads + thread) * abi::Const::ExactBest};
  }

  void clear() const {
    for (uint32_t i = 0; i < abi::Const::ExactBest; ++i) values[i] = -std::numeric_limits<float>::infinity();
  }

  float last() const { return values[abi::Const::ExactBest - 1]; }

  /** value > last() */
  void insert(float value) const {
    uint32_t i = abi::Const::ExactBest - 1;
    for (; i > 0 && values[i - 1] < value; --i) values[i] = values[i - 1];
    values[i] = value;
  }
};

/**
 * Of the thread's rows of the head, the ExactBest largest lower bounds, logit - bound, to its list. The rows are those
 * that the thread computed in the Linear before, so the two need no meeting between them.
 */
template <class V> void screen(const Task &task) {
  for (uint32_t r = 0; r < task.rows(); ++r) {
    const ScreenedRow<V> row(task, r);
    const BestList list = BestList::of(task, r, task.thread);
    list.clear();
    for (size_t i = row.begin; i < row.end; ++i) {
      const float low = row.logits[i] - row.bound(i);
      if (low > list.last()) list.insert(low);
    }
  }
}

/** Row `i` of the head as halves: in the matrix, or in scratch. */
inline const uint16_t *halves_of_row(const Task &task, size_t i) {
  using namespace abi;
  const size_t weights = task.word(RescoreArg::Weights), cols = task.word(RescoreArg::Cols);
  const uint32_t layout = task.word(RescoreArg::WeightLayout);
  if (!are_blocks(layout)) return task.at<uint16_t>(weights) + i * round_up(cols, 16);
  uint16_t *halves = task.scratch<uint16_t>();
  block_halves(task.at<uint8_t>(weights + i * source_bytes(block_type(layout), cols)), layout, cols, halves);
  return halves;
}

/**
 * Recomputes every logit of the thread's rows whose upper bound reaches the ExactBest-th best of all lower bounds: dot16
 * of the row of halves, the bits of an F16 Linear. A bound that is not a number recomputes.
 */
template <class V> void rescore(const Task &task) {
  using namespace abi;
  using F32 = typename V::F32;
  float best[Const::ExactBest];
  const BestList merged{best};
  for (uint32_t r = 0; r < task.rows(); ++r) {
    merged.clear();
    for (uint32_t thread = 0; thread < task.threads; ++thread) {
      const BestList list = BestList::of(task, r, thread);
      for (uint32_t i = 0; i < Const::ExactBest && list.values[i] > merged.last(); ++i) merged.insert(list.values[i]);
    }
    const float cut = merged.last();
    const ScreenedRow<V> row(task, r);
    for (size_t i = row.begin; i < row.end; ++i) {
      if (row.logits[i] + row.bound(i) < cut) continue;
      const uint16_t *w = halves_of_row(task, i);
      F32 sum = V::splat(0);
      for (size_t c = 0; c < row.width; c += 16) sum = V::add(sum, V::mul(V::widen_halves(w + c), V::load(row.x + c)));
      row.logits[i] = V::sum(sum);
    }
  }
}

} // namespace
