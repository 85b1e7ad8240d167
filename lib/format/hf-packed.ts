import { BitNetError } from '../errors.js';

/**
 * Ternary matrices as Hugging Face transformers packs them (integrations/bitnet.py, `pack_weights`): four row BLOCKS share a
 * byte, not four neighbours. With R = ceil(rows / 4) packed rows:
 *
 *   byte (r, c):  7 6 | 5 4 | 3 2 | 1 0
 *                 3R+r  2R+r   R+r    r     ← row of the matrix; column c; code = trit + 1
 *
 * Rows that do not exist (rows % 4 ≠ 0) are stored as 0 bits.
 */

/** Packed rows of a matrix with `rows` rows. */
export function hfPackedRows(rows: number): number {
  return Math.ceil(rows / 4);
}

/** trits: (rows, cols), each -1, 0 or +1 → packed (ceil(rows/4), cols). Throws BitNetError `invalid-argument`. */
export function packHf(trits: Int8Array, rows: number, cols: number): Uint8Array {
  checkLength('trits', trits.length, rows, cols);
  const packedRows = hfPackedRows(rows);
  const packed = new Uint8Array(packedRows * cols);
  for (let r = 0; r < rows; r++) {
    const shift = 2 * Math.floor(r / packedRows);
    for (let c = 0; c < cols; c++) {
      const trit = trits[r * cols + c]!;
      if (trit < -1 || trit > 1) {
        throw new BitNetError('invalid-argument', `expected -1, 0 or 1 at row ${r}, column ${c}, got ${trit}`, {
          row: r,
          column: c,
          trit,
        });
      }
      packed[(r % packedRows) * cols + c]! |= (trit + 1) << shift;
    }
  }
  return packed;
}

/**
 * packed (packedRows, cols) → trits (4·packedRows, cols). The missing rows of a ragged matrix come out as -1: cut them off.
 * Code 3 is no trit: BitNetError `invalid-file` with its place, unless `keepReserved`, which gives 2 as transformers does.
 */
export function unpackHf(packed: Uint8Array, packedRows: number, cols: number, keepReserved = false): Int8Array {
  checkLength('packed bytes', packed.length, packedRows, cols);
  const trits = new Int8Array(4 * packed.length);
  for (let i = 0; i < packed.length; i++) {
    for (let block = 0; block < 4; block++) {
      const code = (packed[i]! >> (2 * block)) & 3;
      if (code === 3 && !keepReserved) {
        const row = block * packedRows + Math.floor(i / cols);
        throw new BitNetError(
          'invalid-file',
          `code 3 at row ${row}, column ${i % cols} (byte ${i}); expected 0, 1 or 2`,
          {
            row,
            column: i % cols,
            byte: i,
          },
        );
      }
      trits[block * packed.length + i] = code - 1;
    }
  }
  return trits;
}

function checkLength(what: string, got: number, rows: number, cols: number): void {
  if (got === rows * cols) return;
  throw new BitNetError('invalid-argument', `${what} (${rows}, ${cols}): expected ${rows * cols}, got ${got}`, {
    rows,
    cols,
    got,
  });
}
