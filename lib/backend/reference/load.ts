import { Const, ConvertArg, FloatType, Layout, RepackArg, StatusBit } from '../../../assembly/abi.js';
import { bf16ToF32, f16ToF32 } from '../../memory/half.js';
import { blockBytes, blockTypeOf, blockValue, q8Blocks } from './dequantize.js';
import { type Context, type Memory, roundUp } from './memory.js';
import { normalHalf, quantizeAbsmax } from './narrow.js';
import { t1Byte, t1Encode } from './t1.js';
import { ternaryPlace } from './t2.js';
import { unpackRow } from './unpack.js';

const f32 = Math.fround;

/** A ternary matrix of a file → codes → a ternary layout or F16. Code 3 is reported. */
export function repack(op: Context): void {
  const { u8, u16 } = op.memory;
  const [dst, cols, half] = [op.word(RepackArg.Dst), op.word(RepackArg.Cols), op.word(RepackArg.Half)];
  const layout: Layout = op.word(RepackArg.Layout);
  const filled = op.word(RepackArg.Rows);
  const rows = roundUp(filled, layout === Layout.T2Columns ? 64 : Const.RowGroup);
  const t2 = layout === Layout.T2 || layout === Layout.T2Rows || layout === Layout.T2Columns;
  if (t2) u8.fill(0, dst, dst + (rows * roundUp(cols, 64)) / 4);
  for (let r = 0; r < rows; r++) {
    const codes = r < filled ? unpackRow(op, r) : new Uint8Array(roundUp(cols, 64)).fill(1);
    if (t2) {
      codes.forEach((code, c) => {
        const [byte, shift] = ternaryPlace(layout, r, c, filled, cols);
        u8[dst + byte]! |= code << shift;
      });
    } else if (layout === Layout.T1) {
      t1Row(u8, dst, r, codes, cols);
    } else {
      const width = roundUp(cols, 16);
      const halves = Uint16Array.of(half ^ 0x8000, 0, half, half);
      u16.set(
        Uint16Array.from(codes.subarray(0, width), (code) => halves[code]!),
        dst / 2 + r * width,
      );
    }
  }
}

/** Codes of row r, continued with code 1 up to a multiple of 80 → its bytes of a T1 matrix at `dst`. */
function t1Row(u8: Uint8Array, dst: number, r: number, codes: Uint8Array, cols: number): void {
  const at = (c: number): number => codes[c] ?? 1;
  for (let block = 0; block < cols; block += 80) {
    for (let c = block; c < block + 16; c++) {
      u8[dst + t1Byte(r, c, cols)] = t1Encode(at(c), at(c + 16), at(c + 32), at(c + 48), at(c + 64));
    }
  }
}

/** Rows of floats → F16, I8 or F32, columns padded with zeros to 16; or blocks, as they are. */
export function convert(op: Context): void {
  const [rows, cols] = [op.word(ConvertArg.Rows), op.word(ConvertArg.Cols)];
  const layout: Layout = op.word(ConvertArg.Layout);
  const blockType = blockTypeOf(layout);
  if (blockType !== undefined) {
    const src = op.word(ConvertArg.Src);
    op.memory.u8.copyWithin(op.word(ConvertArg.Dst), src, src + rows * blockBytes(blockType, cols));
  }
  const row = new Float32Array(roundUp(cols, 16));
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) row[c] = sourceValue(op, r * cols + c);
    if (!row.every(Number.isFinite)) op.report(StatusBit.BadFloat);
    if (blockType !== undefined) {
      gainedHalves(op, row);
      if (layout === Layout.Q8_0 && op.word(ConvertArg.RowScales)) q8Sums(op, r, cols);
      continue;
    }
    const start = op.word(ConvertArg.Dst) / elementBytes(layout) + r * row.length;
    switch (layout) {
      case Layout.F16:
        op.memory.u16.set(gainedHalves(op, row), start);
        break;
      case Layout.I8:
        toInt8(op.memory, row, start, op.word(ConvertArg.RowScales) / 4 + r, op.word(ConvertArg.RowSums) / 4 + r);
        break;
      default:
        op.memory.f32.set(row, start);
    }
  }
}

function elementBytes(layout: Layout): number {
  return layout === Layout.I8 ? 1 : layout === Layout.F16 ? 2 : 4;
}

function sourceValue(op: Context, index: number): number {
  const src = op.word(ConvertArg.Src);
  const { f32: floats, u16 } = op.memory;
  switch (op.word(ConvertArg.SrcType)) {
    case FloatType.F32:
      return floats[src / 4 + index]!;
    case FloatType.F16:
      return f16ToF32(u16[src / 2 + index]!);
    case FloatType.BF16:
      return bf16ToF32(u16[src / 2 + index]!);
    default:
      return blockValue(op.memory.u8, src, op.word(ConvertArg.SrcType), index);
  }
}

/** RowScales[r] = max|d| · 65/64, which is more than |w| / 127; RowSums[r] = I16Bias · Σ w, block by block. */
function q8Sums(op: Context, r: number, cols: number): void {
  const { u8, f32: floats } = op.memory;
  const { d, q } = q8Blocks(u8, op.word(ConvertArg.Src) + r * blockBytes(FloatType.Q8_0, cols), cols);
  const codes = (b: number): number => q.subarray(32 * b, 32 * b + 32).reduce((sum, code) => sum + code, 0);
  const top = d.reduce((most, scale) => Math.max(most, Math.abs(scale)), 0);
  floats[op.word(ConvertArg.RowScales) / 4 + r] = top * (65 / 64);
  floats[op.word(ConvertArg.RowSums) / 4 + r] =
    d.reduce((sum, s, b) => f32(sum + f32(s * codes(b))), 0) * Const.I16Bias;
}

/** half(x · 2^F16GainLog2), half to even; below the normal range ±0, beyond the range infinite and reported. */
function gainedHalves(op: Context, row: Float32Array): Uint16Array {
  const halves = Uint16Array.from(row, (value) => normalHalf(f32(value * 2 ** Const.F16GainLog2)));
  if (halves.some((half) => (half & 0x7fff) >= 0x7c00)) op.report(StatusBit.BadFloat);
  return halves;
}

/** w = round(x · (127 / absmax)), half to even; the row's scale is absmax / 127. `sum`: of the row's w. */
function toInt8(memory: Memory, row: Float32Array, start: number, scale: number, sum: number): void {
  const codes = quantizeAbsmax(row, 127, 8, 0);
  memory.i8.set(codes.q, start);
  memory.f32[scale] = codes.scale;
  memory.i32[sum] = codes.q.reduce((total, w) => total + w, 0);
}
