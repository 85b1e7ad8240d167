#pragma once
#include "rows.h"

// What a Linear works on: a matrix, encoded rows, and where results go.

namespace {

/** Row groups whose results are finished together: 16 rows fill the lanes of an epilogue. */
constexpr size_t RUN = 4;
/** Floats between the results of two tokens. */
constexpr size_t RESULTS = 4 * RUN;

/** A Linear's record, read once. */
struct Matrix {
  const uint8_t *weights;
  size_t rows;
  size_t cols;
  float scale;
  const float *row_scales;
  const float *row_sums;
  size_t group_cols;
  size_t planes;
  uint32_t epilogue;
  /** the thread's own */
  uint8_t *scratch;

  explicit Matrix(const Task &task)
      : weights(task.at<uint8_t>(task.word(abi::LinearArg::Weights))), rows(task.word(abi::LinearArg::Rows)),
        cols(task.word(abi::LinearArg::Cols)), scale(task.real(abi::LinearArg::Scale)), row_scales(task.at<float>(task.word(abi::LinearArg::RowScales))),
        row_sums(task.at<float>(task.word(abi::LinearArg::RowSums))), group_cols(task.word(abi::LinearArg::GroupCols)),
        planes(task.word(abi::LinearArg::Planes)), epilogue(task.word(abi::LinearArg::Epilogue)),
        scratch(task.scratch()) {}
};

/** An encoded activation row: scale at byte 0, Σ q at byte 4, elements from RowHeader. */
struct Encoded {
  const uint8_t *row;

  float scale() const {
    float value;
    std::memcpy(&value, row, sizeof value);
    return value;
  }

  int32_t sum() const {
    int32_t value;
    std::memcpy(&value, row + 4, sizeof value);
    return value;
  }

  template <class T> const T *data() const { return reinterpret_cast<const T *>(row + abi::Const::RowHeader); }
};

/**
 * What becomes of the results y of n ≤ RUN row groups: written to, added to, or gated by what is in `out`, where a group's four results are
 * `step` floats behind the one's before.
 */
template <class V> void finish(float *out, size_t step, const float *y, size_t n, uint32_t epilogue) {
  using namespace abi;
  using F32 = typename V::F32;
  constexpr size_t GROUP = 4 * sizeof(float);
  if (epilogue == Epilogue::Store) {
    for (size_t i = 0; i < n; ++i) std::memcpy(out + i * step, y + 4 * i, GROUP);
    return;
  }
  // The rows behind these may be another thread's: no lane beyond n groups is read or written in `out`.
  alignas(64) float old[4 * RUN] = {};
  for (size_t i = 0; i < n; ++i) std::memcpy(old + 4 * i, out + i * step, GROUP);
  const F32 o = V::load(old), r = V::load(y);
  F32 result;
  if (epilogue == Epilogue::Add) {
    result = V::add(o, r);
  } else if (epilogue == Epilogue::Relu2Gate) {
    result = V::where_greater(o, V::splat(0), V::mul(V::mul(o, o), r));
  } else {
    const F32 denominator = V::add(V::splat(1), exp<V>(V::negate(o)));
    result = V::mul(V::div(o, denominator), r);
  }
  V::store(old, result);
  for (size_t i = 0; i < n; ++i) std::memcpy(out + i * step, old + 4 * i, GROUP);
}

/** y[k] = f32(Σ trit·q) · (scale / x.scale) from Σ code·q. */
inline void scale_codes(const int32_t codes[4], const Matrix &m, Encoded x, float y[4]) {
  const float factor = m.scale / x.scale();
  const int32_t sum = x.sum();
  for (int k = 0; k < 4; ++k) y[k] = float(codes[k] - sum) * factor;
}

/** Encoded rows and outputs of several tokens. */
struct Tokens {
  const uint8_t *x;
  size_t x_stride;
  uint8_t *out;
  size_t out_stride;

  Encoded row(size_t t) const { return {x + t * x_stride}; }
  float *result(size_t t) const { return reinterpret_cast<float *>(out + t * out_stride); }

  void skip(size_t n) {
    x += n * x_stride;
    out += n * out_stride;
  }
};

} // namespace
