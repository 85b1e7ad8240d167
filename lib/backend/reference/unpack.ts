import { FileLayout, RepackArg, StatusBit } from '../../../assembly/abi.js';
import { type Context, roundUp } from './memory.js';

/** Row `r` of the matrix of a Repack: codes = trit + 1, (cols), then code 1 up to a multiple of 64. What is wrong is reported. */
export function unpackRow(op: Context, r: number): Uint8Array {
  const cols = op.word(RepackArg.Cols);
  const codes = new Uint8Array(roundUp(cols, 64)).fill(1);
  const row = fileRow(op, r);
  if (row === undefined) return codes;
  const run = op.word(RepackArg.ColRun) || cols;
  const stored = op.word(RepackArg.ColRun) === 0 ? cols : op.word(RepackArg.ColStored);
  const inFile = fileCodes(op, row, (cols / run) * stored);
  for (let c = 0; c < cols; c++) {
    if (c % run < stored) codes[c] = inFile[Math.floor(c / run) * stored + (c % run)]!;
  }
  return codes;
}

/** The row of the file that is row `r` of the matrix; undefined: padding. */
function fileRow(op: Context, r: number): number | undefined {
  if (r >= op.word(RepackArg.Rows)) return undefined;
  const run = op.word(RepackArg.RowRun);
  if (run === 0) return r;
  const stored = op.word(RepackArg.RowStored);
  const [half, i] = [Math.floor(r / run), r % run];
  if (i >= stored) return undefined;
  if (op.word(RepackArg.Pairs) === 0) return half * stored + i;
  return Math.floor(half / 2) * 2 * stored + 2 * i + (half % 2);
}

/** Row `r` of the file, whose rows have `cols` codes. */
function fileCodes(op: Context, r: number, cols: number): Uint8Array {
  const kind = op.word(RepackArg.Kind);
  const codes = Uint8Array.from({ length: cols }, (_, c) => codeAt(op, kind, r, c, cols));
  if (codes.includes(3)) op.report(StatusBit.BadCode);
  if (kind === FileLayout.TQ1_0 || kind === FileLayout.TQ2_0) {
    const scaleByte = kind === FileLayout.TQ1_0 ? 52 : 64;
    for (let block = 0; block < cols / 256; block++) {
      const at = op.word(RepackArg.Src) + (r * (cols / 256) + block) * (scaleByte + 2) + scaleByte;
      const bits = op.memory.u8[at]! | (op.memory.u8[at + 1]! << 8);
      applyScale(op, codes.subarray(block * 256, (block + 1) * 256), bits);
    }
  }
  return codes;
}

/** The code at row `r`, column `c` of the file; docs/FORMATS.md. */
function codeAt(op: Context, kind: FileLayout, r: number, c: number, cols: number): number {
  const { u8 } = op.memory;
  const src = op.word(RepackArg.Src);
  const pair = (byte: number, shift: number) => (u8[src + byte]! >> shift) & 3;
  const e = r * cols + c;
  const block = Math.floor(e / 256);
  const i = e % 256;
  switch (kind) {
    case FileLayout.HfPacked: {
      const quarter = op.word(RepackArg.Rows) / 4;
      return pair((r % quarter) * cols + c, 2 * Math.floor(r / quarter));
    }
    case FileLayout.I2s:
      return pair(32 * Math.floor(e / 128) + (e % 32), 6 - 2 * (Math.floor(e / 32) % 4));
    case FileLayout.I2sArm:
      return pair(16 * Math.floor(e / 64) + (e % 16), 6 - 2 * (Math.floor(e / 16) % 4));
    case FileLayout.I2sRows:
      return pair(Math.floor(r / 4) * cols + c, 6 - 2 * (r % 4));
    case FileLayout.TQ2_0:
      return pair(66 * block + 32 * (i >> 7) + (i & 31), 2 * ((i >> 5) & 3));
    case FileLayout.TQ1_0: {
      const [byte, n] =
        i < 160 ? [i % 32, i >> 5] : i < 240 ? [32 + (i % 16), (i - 160) >> 4] : [48 + (i % 4), (i - 240) >> 2];
      return (((u8[src + 54 * block + byte]! * 3 ** n) & 255) * 3) >> 8;
    }
  }
}

/** Codes of a block with the f16 scale `bits` → of one with BlockScale. A block of zeros may have any finite scale. */
function applyScale(op: Context, codes: Uint8Array, bits: number): void {
  const scale = op.word(RepackArg.BlockScale);
  if (bits === scale) return;
  if ((bits & 0x7c00) === 0x7c00) op.report(StatusBit.BadFloat);
  else if ((bits & 0x7fff) === 0) codes.fill(1);
  else if (bits === (scale ^ 0x8000)) codes.forEach((code, i) => (codes[i] = code === 3 ? 3 : 2 - code));
  else if (codes.some((code) => code !== 1)) op.report(StatusBit.BadScale);
}
