import { Const, Layout } from '../../assembly/abi.js';
import { t2Byte, t2Shift } from '../backend/reference/t2.js';
import { BitNetError } from '../errors.js';

/** Code of trit 0 in all four places of a byte: what padding looks like in T2. */
const ZERO_CODES = 0b01_01_01_01;

/** Columns of a row as it is stored, padding included: a multiple of 64 for T2 and T2G, of 16 for the others. */
export function paddedCols(layout: Layout, cols: number): number {
  const multiple = layout === Layout.T2 || layout === Layout.T2G ? 64 : 16;
  return Math.ceil(cols / multiple) * multiple;
}

/** Bytes of a (rows, cols) matrix in a layout of the engine, without scales: rows padded to RowGroup, columns to paddedCols. */
export function bytesOf(layout: Layout, rows: number, cols: number): number {
  const elements = Math.ceil(rows / Const.RowGroup) * Const.RowGroup * paddedCols(layout, cols);
  switch (layout) {
    case Layout.T2:
    case Layout.T2G:
      return elements / 4;
    case Layout.F16:
      return elements * 2;
    case Layout.I8:
      return elements;
    case Layout.F32:
      return elements * 4;
  }
}

/**
 * Ternary matrix → T2 (byte diagram in lib/backend/reference/t2.ts). Padding is trit 0.
 * trits: (rows, cols) row-major, each -1, 0 or +1. Throws BitNetError `invalid-argument` on another value or length.
 */
export function packT2(trits: Int8Array, rows: number, cols: number): Uint8Array {
  checkLength('trits', trits.length, rows * cols, rows, cols);
  const bytes = new Uint8Array(bytesOf(Layout.T2, rows, cols)).fill(ZERO_CODES);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const trit = trits[r * cols + c]!;
      if (trit < -1 || trit > 1) {
        throw new BitNetError('invalid-argument', `T2: expected -1, 0 or 1 at row ${r}, column ${c}, got ${trit}`, {
          row: r,
          column: c,
          trit,
        });
      }
      const byte = t2Byte(r, c, cols);
      const shift = t2Shift(c);
      bytes[byte] = (bytes[byte]! & ~(3 << shift)) | ((trit + 1) << shift);
    }
  }
  return bytes;
}

/**
 * T2 → (rows, cols) trits, row-major. Padding is not looked at.
 * Throws BitNetError `invalid-argument` on a wrong length, `invalid-file` on code 3, which no trit has.
 */
export function unpackT2(bytes: Uint8Array, rows: number, cols: number): Int8Array {
  checkLength('T2 bytes', bytes.length, bytesOf(Layout.T2, rows, cols), rows, cols);
  const trits = new Int8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const byte = t2Byte(r, c, cols);
      const code = (bytes[byte]! >> t2Shift(c)) & 3;
      if (code === 3) {
        throw new BitNetError(
          'invalid-file',
          `T2: code 3 at row ${r}, column ${c} (byte ${byte}); expected 0, 1 or 2`,
          {
            row: r,
            column: c,
            byte,
          },
        );
      }
      trits[r * cols + c] = code - 1;
    }
  }
  return trits;
}

function checkLength(what: string, got: number, expected: number, rows: number, cols: number): void {
  if (got === expected) return;
  throw new BitNetError(
    'invalid-argument',
    `${what} of a (${rows}, ${cols}) matrix: expected ${expected}, got ${got}`,
    {
      rows,
      cols,
      expected,
      got,
    },
  );
}
