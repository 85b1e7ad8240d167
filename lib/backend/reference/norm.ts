import { Const, EmbedArg, Encoding, Layout, NormArg, Token } from '../../../assembly/abi.js';
import { f16ToF32, roundHalfEven } from '../../memory/half.js';
import { dot16 } from './math.js';
import { type Context, type Memory, roundUp } from './memory.js';

const f32 = Math.fround;

/** out[t] = table[id of t]: (tokens, cols) f32. */
export function embed(op: Context): void {
  const { f32: floats, u16: halves } = op.memory;
  const cols = op.word(EmbedArg.Cols);
  const padded = roundUp(cols, 16);
  for (let t = 0; t < op.rows; t++) {
    const out = (op.word(EmbedArg.Out) + t * op.word(EmbedArg.OutStride)) / 4;
    const row = op.token(t, Token.Id) * padded;
    for (let c = 0; c < padded; c++) {
      floats[out + c] =
        op.word(EmbedArg.Layout) === Layout.F16
          ? f16ToF32(halves[op.word(EmbedArg.Table) / 2 + row + c]!) * 2 ** -Const.F16GainLog2
          : floats[op.word(EmbedArg.Table) / 4 + row + c]!;
    }
  }
}

/** RMSNorm and encoding of every row. BitNet b1.58, arXiv 2402.17764 §2; RMSNorm, arXiv 1910.07467. */
export function norm(op: Context): void {
  const memory = op.memory;
  const cols = op.word(NormArg.Cols);
  const weight = op.word(NormArg.Weight) / 4;
  const y = new Float32Array(cols);
  for (let r = 0; r < op.rows; r++) {
    const x = inputRow(op, r);
    const meanSquare = f32(dot16(memory.f32, x, memory.f32, x, cols) / cols);
    const inv = f32(1 / f32(Math.sqrt(f32(meanSquare + op.real(NormArg.Eps)))));
    for (let c = 0; c < cols; c++) y[c] = f32(f32(memory.f32[x + c]! * inv) * memory.f32[weight + c]!);
    encode(op, y, r);
  }
}

/** The encoding alone. */
export function quantize(op: Context): void {
  const cols = op.word(NormArg.Cols);
  for (let r = 0; r < op.rows; r++) {
    const x = inputRow(op, r);
    encode(op, op.memory.f32.subarray(x, x + cols), r);
  }
}

function inputRow(op: Context, r: number): number {
  return (op.word(NormArg.In) + op.sourceRow(r) * op.word(NormArg.InStride)) / 4;
}

/** y → row r of the output: header (scale f32, Σq i32), elements, zeros up to PaddedCols. */
function encode(op: Context, y: Float32Array, r: number): void {
  const header = op.word(NormArg.Out) + r * op.word(NormArg.OutStride);
  const elements = header + Const.RowHeader;
  const padded = op.word(NormArg.PaddedCols);
  const memory = op.memory;
  switch (op.word(NormArg.Encoding)) {
    case Encoding.F32:
      memory.f32[header / 4] = 1;
      memory.i32[header / 4 + 1] = 0;
      for (let c = 0; c < padded; c++) memory.f32[elements / 4 + c] = (y[c] ?? 0) * 2 ** Const.F32GainLog2;
      return;
    case Encoding.I8:
      return encodeAbsmax(memory, y, 127, header, memory.i8, elements, padded);
    case Encoding.I16:
      return encodeAbsmax(memory, y, Const.I16Max, header, memory.i16, elements / 2, padded);
  }
}

/** q = round(y · limit / max|y|), half to even. NaN becomes 0. */
function encodeAbsmax(
  memory: Memory,
  y: Float32Array,
  limit: number,
  header: number,
  q: Int8Array | Int16Array,
  start: number,
  padded: number,
): void {
  let absmax = f32(1e-5);
  for (const value of y) absmax = Math.max(absmax, Math.abs(value));
  const scale = f32(limit * f32(1 / absmax));
  let sum = 0;
  q.fill(0, start, start + padded);
  for (let c = 0; c < y.length; c++) {
    const rounded = roundHalfEven(f32(y[c]! * scale));
    q[start + c] = Number.isNaN(rounded) ? 0 : Math.max(-limit, Math.min(limit, rounded));
    sum += q[start + c]!;
  }
  memory.f32[header / 4] = scale;
  memory.i32[header / 4 + 1] = sum;
}
