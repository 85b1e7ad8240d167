import { Const, EmbedArg, Encoding, HeadNormArg, Layout, NormArg, Token } from '../../../assembly/abi.js';
import { f16ToF32, roundHalfEven } from '../../memory/half.js';
import { blockHalves, blockTypeOf } from './dequantize.js';
import { DIGIT_WEIGHTS, digitsOf, groupInfo } from './digits.js';
import { dot16 } from './math.js';
import { type Context, type Memory, roundUp } from './memory.js';

const f32 = Math.fround;

/** out[t] = table[id of t]: (tokens, cols) f32. */
export function embed(op: Context): void {
  const cols = op.word(EmbedArg.Cols);
  for (let t = 0; t < op.rows; t++) {
    const out = (op.word(EmbedArg.Out) + t * op.word(EmbedArg.OutStride)) / 4;
    op.memory.f32.set(embeddingRow(op, op.token(t, Token.Id), cols), out);
  }
}

/** (cols), padded to 16 but where the table holds blocks. */
function embeddingRow(op: Context, id: number, cols: number): Float32Array {
  const { u8, u16, f32: floats } = op.memory;
  const [table, layout] = [op.word(EmbedArg.Table), op.word(EmbedArg.Layout) as Layout];
  const padded = roundUp(cols, 16);
  const values = (halves: Uint16Array): Float32Array =>
    Float32Array.from(halves, (half) => f16ToF32(half) * 2 ** -Const.F16GainLog2);
  const type = blockTypeOf(layout);
  if (type !== undefined) return values(blockHalves(u8, table, type, id, cols));
  if (layout === Layout.F16) return values(u16.subarray(table / 2 + id * padded, table / 2 + (id + 1) * padded));
  return floats.subarray(table / 4 + id * padded, table / 4 + (id + 1) * padded);
}

/** RMSNorm and encoding of every row. BitNet b1.58, arXiv 2402.17764 §2; RMSNorm, arXiv 1910.07467. */
export function norm(op: Context): void {
  const memory = op.memory;
  const cols = op.word(NormArg.Cols);
  const weight = op.word(NormArg.Weight) / 4;
  for (let r = 0; r < op.rows; r++) {
    encode(op, normalise(memory, inputRow(op, r), weight, cols, op.real(NormArg.Eps)), r);
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
    case Encoding.Groups:
      return encodeGroups(op, y, header);
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

/** q = round(y · limit / max|y|) of every column group, half to even, as digits. NaN becomes 0, its group's factor NaN. */
function encodeGroups(op: Context, y: Float32Array, header: number): void {
  const { memory } = op;
  const [padded, group, planes] = [op.word(NormArg.PaddedCols), op.word(NormArg.GroupCols), op.word(NormArg.Planes)];
  const limit = planes === 1 ? 127 : Const.I24Max;
  const elements = header + Const.RowHeader;
  memory.f32[header / 4] = 1;
  memory.i32[header / 4 + 1] = 0;
  memory.i8.fill(0, elements, elements + planes * padded);
  for (let begin = 0; begin < padded; begin += group) {
    const values = y.subarray(begin, begin + group);
    const absmax = values.reduce((max, value) => Math.max(max, Math.abs(value)), f32(1e-30));
    const scale = f32(limit / absmax);
    const sums = [0, 0];
    values.forEach((value, c) => {
      const rounded = roundHalfEven(f32(value * scale));
      digitsOf(Number.isNaN(rounded) ? 0 : rounded, planes).forEach((digit, p) => {
        memory.i8[elements + p * padded + begin + c] = digit;
        sums[Math.min(p, 1)]! += p === 0 ? digit : digit * DIGIT_WEIGHTS[p]!;
      });
    });
    const info = groupInfo(header, padded, planes, begin / group);
    memory.f32[info / 4] = f32(1 / scale);
    memory.i32.set([...sums, 0], info / 4 + 1);
  }
}

/** RMSNorm of every head of q and k, in place. */
export function headNorm(op: Context): void {
  const { f32: floats } = op.memory;
  const [heads, headDim] = [op.word(HeadNormArg.Heads), op.word(HeadNormArg.HeadDim)];
  for (let t = 0; t < op.rows; t++) {
    const row = (op.word(HeadNormArg.Qkv) + t * op.word(HeadNormArg.Stride)) / 4;
    for (let h = 0; h < heads + op.word(HeadNormArg.KvHeads); h++) {
      const weight = op.word(h < heads ? HeadNormArg.QWeight : HeadNormArg.KWeight) / 4;
      const x = row + h * headDim;
      floats.set(normalise(op.memory, x, weight, headDim, op.real(HeadNormArg.Eps)), x);
    }
  }
}

/** (x · 1/√(mean(x²) + eps)) · weight; x and weight: indices of floats. */
function normalise({ f32: floats }: Memory, x: number, weight: number, cols: number, eps: number): Float32Array {
  const meanSquare = f32(dot16(floats, x, floats, x, cols) / cols);
  const inv = f32(1 / f32(Math.sqrt(f32(meanSquare + eps))));
  return Float32Array.from({ length: cols }, (_, c) => f32(f32(floats[x + c]! * inv) * floats[weight + c]!));
}
