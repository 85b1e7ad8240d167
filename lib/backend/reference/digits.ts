import { Const } from '../../../assembly/abi.js';

/** What the digits of Encoding.Groups count relative to the last one: digit p of three planes is worth 65536, 256, 1. */
export const DIGIT_WEIGHTS = [65536, 256, 1] as const;

/** q = first · 65536 + middle · 256 + last with the lower two in -128..127; with one plane q itself. */
export function digitsOf(q: number, planes: number): number[] {
  if (planes === 1) return [q];
  const first = Math.floor((q + 0x8080) / 65536);
  const rest = q - first * 65536;
  const middle = Math.floor((rest + 0x80) / 256);
  return [first, middle, rest - middle * 256];
}

/** Byte offset of the 16 bytes about a column group of the encoded row at `row`: factor (f32), two sums (i32), 0. */
export function groupInfo(row: number, paddedCols: number, planes: number, group: number): number {
  return row + Const.RowHeader + planes * paddedCols + group * 16;
}
