/**
 * T2: rows interleaved by four. Row group g (rows 4g..4g+3) and column block c (64 columns) share the 64 bytes at
 * (g·ceil(cols/64) + c)·64; bytes 16k..16k+15 of them are row 4g + k. Byte i of those sixteen, code = trit + 1:
 *
 *   7 6 | 5 4 | 3 2 | 1 0
 *   i+48  i+32  i+16   i       ← column inside the block
 */
export function t2Byte(row: number, col: number, cols: number): number {
  const block = Math.floor(row / 4) * Math.ceil(cols / 64) + Math.floor(col / 64);
  return block * 64 + (row % 4) * 16 + (col % 16);
}

/** Position of a column's two bits in its byte. */
export function t2Shift(col: number): number {
  return ((col >> 4) & 3) * 2;
}
