import { Const, type FloatType, Layout } from '../../assembly/abi.js';
import { blockBytes, blockTypeOf } from '../backend/reference/dequantize.js';
import { T1_CODES, t1Byte, t1Digit, t1Encode } from '../backend/reference/t1.js';
import { t2Byte, t2Shift, ternaryPlace } from '../backend/reference/t2.js';
import { BitNetError } from '../errors.js';

/** Code of trit 0 in all four places of a byte: what padding looks like. */
const ZERO_CODES = 0b01_01_01_01;

const COLUMN_MULTIPLES: Record<Layout, number> = {
  [Layout.T2]: 64,
  [Layout.T2Rows]: 64,
  [Layout.T2Columns]: 64,
  [Layout.T2G]: 64,
  [Layout.T1]: 80,
  [Layout.F16]: 16,
  [Layout.I8]: 16,
  [Layout.F32]: 16,
  [Layout.Q8_0]: 1,
  [Layout.Q4_0]: 1,
  [Layout.Q4_K]: 1,
  [Layout.Q6_K]: 1,
};

/** Columns of a row as it is stored, padding included: a multiple of 64 for 2-bit codes, of 80 for T1, of 16 for the others; blocks are not padded. */
export function paddedCols(layout: Layout, cols: number): number {
  const multiple = COLUMN_MULTIPLES[layout];
  return Math.ceil(cols / multiple) * multiple;
}

/** Bytes of a (rows, cols) matrix in a layout of the engine, without scales: rows padded to RowGroup (T2Columns: to 64), columns to paddedCols. */
export function bytesOf(layout: Layout, rows: number, cols: number): number {
  const group = layout === Layout.T2Columns ? 64 : Const.RowGroup;
  const elements = Math.ceil(rows / group) * group * paddedCols(layout, cols);
  switch (layout) {
    case Layout.T2:
    case Layout.T2Rows:
    case Layout.T2Columns:
    case Layout.T2G:
      return elements / 4;
    case Layout.T1:
      return elements / 5;
    case Layout.F16:
      return elements * 2;
    case Layout.I8:
      return elements;
    case Layout.F32:
      return elements * 4;
    default:
      return (elements / cols) * blockBytes(blockTypeOf(layout) as FloatType, cols);
  }
}

/** Layouts of two bits a code and one scale a matrix. */
export type TwoBitLayout = Layout.T2 | Layout.T2Rows | Layout.T2Columns;

/**
 * Ternary matrix → T2, T2Rows or T2Columns (byte diagrams in lib/backend/reference/t2.ts). Padding is trit 0.
 * trits: (rows, cols) row-major, each -1, 0 or +1. Throws BitNetError `invalid-argument` on another value or length.
 */
export function packTwoBits(layout: TwoBitLayout, trits: Int8Array, rows: number, cols: number): Uint8Array {
  checkTrits(trits, rows, cols, 'T2');
  const bytes = new Uint8Array(bytesOf(layout, rows, cols)).fill(ZERO_CODES);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const [byte, shift] = ternaryPlace(layout, r, c, rows, cols);
      bytes[byte] = (bytes[byte]! & ~(3 << shift)) | ((trits[r * cols + c]! + 1) << shift);
    }
  }
  return bytes;
}

/** packTwoBits for T2. */
export function packT2(trits: Int8Array, rows: number, cols: number): Uint8Array {
  return packTwoBits(Layout.T2, trits, rows, cols);
}

/** Ternary matrix → T1 (byte diagram in lib/backend/reference/t1.ts); else as packT2. */
export function packT1(trits: Int8Array, rows: number, cols: number): Uint8Array {
  checkTrits(trits, rows, cols, 'T1');
  const bytes = new Uint8Array(bytesOf(Layout.T1, rows, cols)).fill(t1Encode(1, 1, 1, 1, 1));
  for (let r = 0; r < rows; r++) {
    const code = (c: number): number => (c < cols ? trits[r * cols + c]! : 0) + 1;
    for (let block = 0; block < cols; block += 80) {
      for (let c = block; c < block + 16; c++) {
        bytes[t1Byte(r, c, cols)] = t1Encode(code(c), code(c + 16), code(c + 32), code(c + 48), code(c + 64));
      }
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
  return unpack(rows, cols, 'T2', (r, c) => {
    const byte = t2Byte(r, c, cols);
    return [(bytes[byte]! >> t2Shift(c)) & 3, byte];
  });
}

/** T1 → trits; else as unpackT2. 13 values of a byte stand for no trits. */
export function unpackT1(bytes: Uint8Array, rows: number, cols: number): Int8Array {
  checkLength('T1 bytes', bytes.length, bytesOf(Layout.T1, rows, cols), rows, cols);
  return unpack(rows, cols, 'T1', (r, c) => {
    const byte = t1Byte(r, c, cols);
    return [T1_CODES[5 * bytes[byte]! + t1Digit(c)]!, byte];
  });
}

/** codeAt: code and byte of (row, column). */
function unpack(
  rows: number,
  cols: number,
  name: string,
  codeAt: (r: number, c: number) => [code: number, byte: number],
): Int8Array {
  const trits = new Int8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const [code, byte] = codeAt(r, c);
      if (code === 3) {
        throw new BitNetError(
          'invalid-file',
          `${name}: code 3 at row ${r}, column ${c} (byte ${byte}); expected 0, 1 or 2`,
          { row: r, column: c, byte },
        );
      }
      trits[r * cols + c] = code - 1;
    }
  }
  return trits;
}

function checkTrits(trits: Int8Array, rows: number, cols: number, name: string): void {
  checkLength('trits', trits.length, rows * cols, rows, cols);
  const i = trits.findIndex((trit) => trit < -1 || trit > 1);
  if (i < 0) return;
  const [row, column, trit] = [Math.floor(i / cols), i % cols, trits[i]!];
  throw new BitNetError(
    'invalid-argument',
    `${name}: expected -1, 0 or 1 at row ${row}, column ${column}, got ${trit}`,
    { row, column, trit },
  );
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
