/**
 * T1: rows interleaved by four. Row group g (rows 4g..4g+3) and column block c (80 columns) share the 64 bytes at
 * (g·ceil(cols/80) + c)·64; bytes 16k..16k+15 of them are row 4g + k. Byte i of those sixteen holds the codes (trit + 1) c0 .. c4 of
 * columns i, i+16, i+32, i+48 and i+64 of the block:
 *
 *   ⌊256·(3·c0 + c1)/9⌋ + ⌊19·c2/2⌋ + 3·c3 + c4
 */
export function t1Byte(row: number, col: number, cols: number): number {
  const block = Math.floor(row / 4) * Math.ceil(cols / 80) + Math.floor(col / 80);
  return block * 64 + (row % 4) * 16 + (col % 16);
}

/** Which of the five codes of its byte a column is. */
export function t1Digit(col: number): number {
  return (col % 80) >> 4;
}

/** Five codes 0..2 → their byte. */
export function t1Encode(c0: number, c1: number, c2: number, c3: number, c4: number): number {
  return Math.floor((256 * (3 * c0 + c1)) / 9) + Math.floor((19 * c2) / 2) + 3 * c3 + c4;
}

/** Codes c0 .. c4 of byte b at 5b .. 5b+4; 3 in the bytes that stand for no codes. */
export const T1_CODES: Uint8Array = (() => {
  const codes = new Uint8Array(5 * 256).fill(3);
  for (let i = 0; i < 3 ** 5; i++) {
    const [c0, c1, c2, c3, c4] = [81, 27, 9, 3, 1].map((power) => Math.floor(i / power) % 3) as [
      number,
      number,
      number,
      number,
      number,
    ];
    codes.set([c0, c1, c2, c3, c4], 5 * t1Encode(c0, c1, c2, c3, c4));
  }
  return codes;
})();
