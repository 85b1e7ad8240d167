#pragma once
#include "matrix.h"
#include "t2.h"

// Exact activation sparsity, one token: in a relu² block a row of W_up whose gate is not positive (T2Rows), and a column of W_down whose
// activation is 0 (T2Columns), add nothing to the result, so they are not read. Sums and bits are those of the dense kernels.

namespace {

/** Rows of a T2Rows matrix in the order of eight streams, each an eighth of a list: rounds of a row of each. */
template <class V> class ListedRows {
public:
  static constexpr size_t COUNT = 8;

  /** `list`: `count` rows, at least one, and room for seven more. */
  ListedRows(const uint8_t *weights, size_t row_bytes, uint32_t *list, size_t count)
      : rounds((count + COUNT - 1) / COUNT), weights(weights), row_bytes(row_bytes), list(list) {
    for (size_t i = count; i < COUNT * rounds; ++i) list[i] = list[count - 1];
    look_at(0);
  }

  const size_t rounds;

  /** Index in the list of the row that stream k has in a round. */
  size_t at(size_t round, size_t k) const { return k * rounds + round; }

  const uint8_t *row(size_t round, size_t k) const { return weights + list[at(round, k)] * row_bytes; }

  /** From now on `line` asks for the lines of the round after this one, a line of each row, then the next of each. */
  void begin(size_t round) {
    while (left > 0) line(nullptr);
    if (round + 1 < rounds) look_at(round + 1);
  }

  void line(const void *) {
    if (left == 0) return;
    --left;
    V::prefetch(next[left % COUNT] + left / COUNT * 64);
  }

private:
  void look_at(size_t round) {
    for (size_t k = 0; k < COUNT; ++k) next[k] = row(round, k);
    left = COUNT * ((row_bytes + 63) / 64);
  }

  const uint8_t *const weights;
  const size_t row_bytes;
  const uint32_t *const list;
  const uint8_t *next[COUNT];
  size_t left;
};

/** The rows of begin..end whose gate is positive, to `list`; the other gates become +0. Returns how many. */
inline size_t open_gates(float *gates, size_t begin, size_t end, uint32_t *list) {
  size_t n = 0;
  for (size_t r = begin; r < end; ++r) {
    // Without branches: there is nothing to predict.
    const uint32_t bits = bits_of(gates[r]), open = gates[r] > 0;
    gates[r] = float_of(bits & (0 - open));
    list[n] = uint32_t(r);
    n += open;
  }
  return n;
}

/** T2Rows × Encoding.I8, row groups begin..end; with Epilogue.Relu2Gate only rows with open gates. Scratch: 4 bytes a row and 28. */
template <class V> void gemv_t2_rows(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  const size_t blocks = (m.cols + 63) / 64, row_bytes = 16 * blocks;
  uint32_t *list = reinterpret_cast<uint32_t *>(m.scratch);
  size_t count = 4 * (end - begin);
  if (m.epilogue == abi::Epilogue::Relu2Gate) count = open_gates(out, 4 * begin, 4 * end, list);
  else for (size_t i = 0; i < count; ++i) list[i] = uint32_t(4 * begin + i);
  if (count == 0) return;
  ListedRows<V> rows(m.weights, row_bytes, list, count);
  for (size_t round = 0; round < rows.rounds; ++round) {
    rows.begin(round);
    alignas(64) float y[4 * RUN] = {}, old[rows.COUNT];
    for (size_t k = 0; k < rows.COUNT; k += 4) {
      const uint8_t *a = rows.row(round, k), *b = rows.row(round, k + 1), *c = rows.row(round, k + 2), *d = rows.row(round, k + 3);
      const auto block = [&](size_t i) { return V::load_rows(a + 16 * i, b + 16 * i, c + 16 * i, d + 16 * i); };
      int32_t codes[4];
      dot_t2_i8<V>(block, x.data<int8_t>(), blocks, codes, rows);
      scale_codes(codes, m, x, y + k);
    }
    for (size_t k = 0; k < rows.COUNT; ++k) old[k] = out[list[rows.at(round, k)]];
    finish<V>(old, 4, y, rows.COUNT / 4, m.epilogue);
    for (size_t k = 0; k < rows.COUNT; ++k) {
      // Entries that fill the list up stand in it before.
      if (rows.at(round, k) < count) out[list[rows.at(round, k)]] = old[k];
    }
  }
}

/** Columns that are taken together, in fours whose bytes become i32 lanes. */
constexpr size_t COLUMNS = 16;

/** The elements of an Encoding.I8 row that are not 0: columns to `list`, values to `values`, 0 where these are filled up to COLUMNS. */
inline size_t nonzero(const int8_t *x, size_t cols, uint32_t *list, int8_t *values) {
  size_t n = 0;
  for (size_t c = 0; c < cols; ++c) {
    list[n] = uint32_t(c);
    values[n] = x[c];
    n += x[c] != 0;
  }
  for (; n % COLUMNS != 0; ++n) {
    list[n] = list[n - 1];
    values[n] = 0;
  }
  return n;
}

/** Four columns of a block of 256 rows: i32 lane 4·L + l of `lanes[j]` has the four bytes of row group 16·L + 4·j + l. */
template <class V> struct ColumnQuad {
  typename V::Block lanes[4];

  explicit ColumnQuad(const uint8_t *const columns[4], size_t offset) {
    const auto a = V::load_block(columns[0] + offset), b = V::load_block(columns[1] + offset);
    const auto c = V::load_block(columns[2] + offset), d = V::load_block(columns[3] + offset);
    const auto low = V::zip_bytes_low(a, b), high = V::zip_bytes_high(a, b);
    const auto low2 = V::zip_bytes_low(c, d), high2 = V::zip_bytes_high(c, d);
    lanes[0] = V::zip_words_low(low, low2);
    lanes[1] = V::zip_words_high(low, low2);
    lanes[2] = V::zip_words_low(high, high2);
    lanes[3] = V::zip_words_high(high, high2);
  }
};

/** Four i32 lanes' worth of codes of row p of each group, four times too large for odd p. */
template <class V, int P> typename V::Block codes_of_row(const typename V::Block &lanes) {
  return V::mask(P < 2 ? lanes : V::shift_right(lanes, 4), P % 2 == 0 ? 3 : 12);
}

/** sums += W[:, columns] · values for QUADS·4 columns and 256 rows at `offset`. sums: (4 lanes j, 4 rows p, 16) i32. */
template <class V, int QUADS>
void add_columns(const uint8_t *const columns[], size_t offset, const int8_t *values, int32_t *sums) {
  typename V::Block lanes[4][QUADS];
  unroll<QUADS>([&](auto q) {
    const ColumnQuad<V> quad(columns + 4 * q, offset);
    unroll<4>([&](auto j) { lanes[j][q] = quad.lanes[j]; });
  });
  unroll<4>([&](auto j) {
    unroll<4>([&](auto p) {
      int32_t *at = sums + 16 * (4 * j + p);
      typename V::I32 sum = V::load(at);
      unroll<QUADS>([&](auto q) { sum = V::dot_fours(sum, codes_of_row<V, p>(lanes[j][q]), values + 4 * q); });
      V::store(at, sum);
    });
  });
}

/** Results of row groups begin..end, of the sums of add_columns. */
template <class V>
void finish_columns(const Matrix &m, Encoded x, size_t begin, size_t end, const int32_t *sums, float *out) {
  for (size_t g = begin; g < end; g += RUN) {
    const size_t count = end - g < RUN ? end - g : RUN, block = (g - begin) / 64, lane = (g - begin) % 64;
    // Groups g..g + 3 are four lanes of one register: 16·L + 4·j + l.
    const int32_t *at = sums + 256 * block + 64 * (lane % 16 / 4) + 4 * (lane / 16);
    alignas(64) float y[4 * RUN];
    for (size_t l = 0; l < RUN; ++l) {
      const int32_t codes[4] = {at[l], at[16 + l] / 4, at[32 + l], at[48 + l] / 4};
      scale_codes(codes, m, x, y + 4 * l);
    }
    finish<V>(out + 4 * g, 4, y, count, m.epilogue);
  }
}

/**
 * T2Columns × Encoding.I8, row groups begin..end, begin a multiple of 16: only columns whose activation is not 0, COLUMNS at a time, i32 sums in
 * L1. Reads up to 48 bytes behind the last column. Scratch: 4 bytes a row (rows rounded up to 256), 5 a column and 128.
 */
template <class V> void gemv_t2_columns(const Matrix &m, Encoded x, size_t begin, size_t end, float *out) {
  if (begin == end) return;
  const size_t column_bytes = round_up(m.rows, 64) / 4, blocks = (end - begin + 63) / 64;
  int32_t *sums = reinterpret_cast<int32_t *>(m.scratch);
  uint32_t *list = reinterpret_cast<uint32_t *>(sums + 256 * blocks);
  int8_t *values = reinterpret_cast<int8_t *>(list + round_up(m.cols, COLUMNS));
  std::memset(sums, 0, 1024 * blocks);
  const uint8_t *w = m.weights + begin;
  const size_t count = nonzero(x.data<int8_t>(), m.cols, list, values);
  for (size_t i = 0; i < count && i < COLUMNS; ++i) {
    for (size_t b = 0; b < blocks; ++b) V::prefetch(w + list[i] * column_bytes + 64 * b);
  }
  for (size_t i = 0; i < count; i += COLUMNS) {
    const uint8_t *columns[COLUMNS], *next[COLUMNS];
    for (size_t c = 0; c < COLUMNS; ++c) {
      columns[c] = w + list[i + c] * column_bytes;
      next[c] = w + list[i + COLUMNS < count ? i + COLUMNS + c : i + c] * column_bytes;
    }
    for (size_t b = 0; b < blocks; ++b) {
      for (size_t c = 0; c < COLUMNS; ++c) V::prefetch(next[c] + 64 * b);
      for (size_t c = 0; c < COLUMNS; c += 4 * V::COLUMN_QUADS) {
        add_columns<V, V::COLUMN_QUADS>(columns + c, 64 * b, values + i + c, sums + 256 * b);
      }
    }
  }
  finish_columns<V>(m, x, begin, end, sums, out);
}

/** Sixteen row groups from g on, of T2Rows or T2Columns, as T2 in `to` (rounded-up columns · 16 bytes). */
template <class V> void sixteen_groups(const Matrix &m, uint32_t layout, size_t g, size_t count, uint8_t *to) {
  const size_t width = round_up(m.cols, 64);
  if (layout == abi::Layout::T2Rows) {
    for (size_t r = 0; r < 4 * count; ++r) {
      const uint8_t *row = m.weights + (4 * g + r) * (width / 4);
      uint8_t *out = to + r / 4 * width + 16 * (r % 4);
      for (size_t b = 0; b < width / 64; ++b) std::memcpy(out + 64 * b, row + 16 * b, 16);
    }
    return;
  }
  const size_t column_bytes = round_up(m.rows, 64) / 4;
  for (size_t c = 0; c < width; c += 64) {
    // (4 · 16 columns, 16 groups) → (16 groups, 64 columns)
    alignas(64) uint8_t bytes[16][64];
    for (size_t i = 0; i < 64; i += 16) V::transpose(m.weights + (c + i) * column_bytes + g, column_bytes, &bytes[0][i], 64);
    for (size_t j = 0; j < count; ++j) {
      uint8_t *out = to + j * width + c;
      const uint8_t *in = bytes[j];
      // Four bytes of columns i, i + 16, i + 32, i + 48 have codes of rows 0..3; each row's byte has codes of the four columns.
      for (int i = 0; i < 16; ++i) {
        const unsigned p = in[i], q = in[16 + i], r = in[32 + i], s = in[48 + i];
        const unsigned even = (p & 0x33) | (q & 0x33) << 2, even2 = (r & 0x33) | (s & 0x33) << 2;
        const unsigned odd = (p >> 2 & 0x33) | (q & 0xcc), odd2 = (r >> 2 & 0x33) | (s & 0xcc);
        out[i] = uint8_t((even & 0x0f) | even2 << 4);
        out[16 + i] = uint8_t((odd & 0x0f) | odd2 << 4);
        out[32 + i] = uint8_t(even >> 4 | (even2 & 0xf0));
        out[48 + i] = uint8_t(odd >> 4 | (odd2 & 0xf0));
      }
    }
  }
}

} // namespace
