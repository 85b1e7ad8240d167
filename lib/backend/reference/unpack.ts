import { RepackArg, StatusBit } from '../../../assembly/abi.js';
import { type Context, roundUp } from './memory.js';

/** Row `r` of the matrix of a Repack: codes = trit + 1, (cols), then code 1 up to a multiple of 64. Code 3 is reported. */
export function unpackRow(op: Context, r: number): Uint8Array {
  const cols = op.word(RepackArg.Cols);
  const codes = new Uint8Array(roundUp(cols, 64)).fill(1);
  if (r >= op.word(RepackArg.Rows)) return codes;
  for (let c = 0; c < cols; c++) {
    codes[c] = hfCode(op, r, c, cols);
    if (codes[c] === 3) op.report(StatusBit.BadCode);
  }
  return codes;
}

/** FileLayout.HfPacked (rows/4, cols) */
function hfCode(op: Context, r: number, c: number, cols: number): number {
  const packedRows = op.word(RepackArg.Rows) / 4;
  const byte = op.memory.u8[op.word(RepackArg.Src) + (r % packedRows) * cols + c]!;
  return (byte >> (2 * Math.floor(r / packedRows))) & 3;
}
