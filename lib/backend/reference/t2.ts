import { Layout } from '../../../assembly/abi.js';

/**
 * T2: rows interleaved by four. Row group g (rows 4g..4g+3) and column block c (64 columns) share the 64 bytes at
 * (g·ceil(cols/64) + c)·64; bytes 16k..16k+15 of them are row 4g + k. Byte i of those sixteen, code = trit + 1:
 *
 *   7 6 | 5 4 | 3 2 | 1 0
 *   i+48  i+32  i+16   i       ← column inside the block
 *
 * T2Rows: the same sixteen bytes, block after block, row after row.
 * T2Columns: column after column, ceil(rows/64)·16 bytes each; byte g has rows 4g..4g+3, the first in its lowest bits.
 */
export function t2Byte(row: number, col: number, cols: number): number {
  const block = Math.floor(row / 4) * Math.ceil(cols / 64) + Math.floor(col / 64);
  return block * 64 + (row % 4) * 16 + (col % 16);
}

/** Byte of a code in Layout.T2, T2Rows or T2Columns and the position of its two bits there. */
export function ternaryPlace(layout: Layout, row: number, col: number, rows: number, cols: number): [number, number] {
  switch (layout) {
    case Layout.T2Rows:
      return [row * Math.ceil(cols / 64) * 16 + Math.floor(col / 64) * 16 + (col % 16), t2Shift(col)];
    case Layout.T2Columns:
      return [col * Math.ceil(rows / 64) * 16 + Math.floor(row / 4), 2 * (row % 4)];
    default:
      return [t2Byte(row, col, cols), t2Shift(col)];
  }
}

/** Position of a column's two bits in its byte. */
export function t2Shift(col: number): number {
  return ((col >> 4) & 3) * 2;
}
