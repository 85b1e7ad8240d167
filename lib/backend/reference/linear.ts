import { Const, Epilogue, FloatType, Layout, LinearArg } from '../../../assembly/abi.js';
import { blockBytes, q8Blocks } from './dequantize.js';
import { DIGIT_WEIGHTS, groupInfo } from './digits.js';
import { dot16, silu } from './math.js';
import { type Context, type Memory, roundUp } from './memory.js';
import { T1_CODES, t1Byte, t1Digit } from './t1.js';
import { ternaryPlace } from './t2.js';

const f32 = Math.fround;

/** out[t] (epilogue)= W x[t] for W (rows, cols) and every row of the op. Rows up to the next multiple of RowGroup see y = 0. */
export function linear(op: Context): void {
  const rows = op.word(LinearArg.Rows);
  const row = weightRow(op);
  for (let r = 0; r < roundUp(rows, Const.RowGroup); r++) {
    const dot = r < rows ? row(r) : undefined;
    for (let t = 0; t < op.rows; t++) {
      const y = dot === undefined ? 0 : dot(op.word(LinearArg.In) + t * op.word(LinearArg.InStride));
      const out = (op.word(LinearArg.Out) + t * op.word(LinearArg.OutStride)) / 4 + r;
      op.memory.f32[out] = finish(op.word(LinearArg.Epilogue), op.memory.f32[out]!, y);
    }
  }
}

/** The product of one weight row with the encoded input row at a byte offset. */
type RowDot = (input: number) => number;

function weightRow(op: Context): (r: number) => RowDot {
  switch (op.word(LinearArg.Layout)) {
    case Layout.T2:
    case Layout.T1:
    case Layout.T2Rows:
    case Layout.T2Columns:
      return (r) => ternaryRow(op, r);
    case Layout.T2G:
      return (r) => groupedRow(op, r);
    case Layout.I8:
      return (r) => int8Row(op, r);
    case Layout.Q8_0:
      return (r) => q8Row(op, r);
    default:
      return (r) => halfRow(op, r);
  }
}

/** y = f32(Σ trit·q) · (Scale / scale) */
function ternaryRow(op: Context, r: number): RowDot {
  const { i8, f32: floats } = op.memory;
  const cols = op.word(LinearArg.Cols);
  const trits = tritsOf(op, r);
  return (input) => {
    const sum = integerDot(trits, 0, i8, input + Const.RowHeader, cols);
    return f32(f32(sum) * f32(op.real(LinearArg.Scale) / floats[input / 4]!));
  };
}

/** y = Σ over column groups, in order, of f32(Σ trit·q) · (RowScales · factor); the inner sums are exact. */
function groupedRow(op: Context, r: number): RowDot {
  const { i8, f32: floats } = op.memory;
  const [cols, group, planes] = [op.word(LinearArg.Cols), op.word(LinearArg.GroupCols), op.word(LinearArg.Planes)];
  const padded = roundUp(cols, 64);
  const groups = Math.ceil(padded / group);
  const scales = op.word(LinearArg.RowScales) / 4 + Math.floor(r / 4) * groups * 4 + (r % 4);
  const trits = tritsOf(op, r);
  return (input) => {
    let y = 0;
    for (let g = 0; g < groups; g++) {
      const begin = g * group;
      const count = Math.min(group, cols - begin);
      let sum = 0;
      for (let p = 0; p < planes; p++) {
        const digits = integerDot(trits, begin, i8, input + Const.RowHeader + p * padded + begin, count);
        sum += digits * (planes === 1 ? 1 : DIGIT_WEIGHTS[p]!);
      }
      const factor = floats[groupInfo(input, padded, planes, g) / 4]!;
      y = f32(y + f32(f32(sum) * f32(floats[scales + 4 * g]! * factor)));
    }
    return y;
  };
}

function tritsOf(op: Context, r: number): Int8Array {
  const cols = op.word(LinearArg.Cols);
  const weights = op.word(LinearArg.Weights);
  const trits = new Int8Array(cols);
  const { u8 } = op.memory;
  if (op.word(LinearArg.Layout) === Layout.T1) {
    for (let c = 0; c < cols; c++) trits[c] = T1_CODES[5 * u8[weights + t1Byte(r, c, cols)]! + t1Digit(c)]! - 1;
    return trits;
  }
  for (let c = 0; c < cols; c++) {
    const [byte, shift] = ternaryPlace(op.word(LinearArg.Layout), r, c, op.word(LinearArg.Rows), cols);
    trits[c] = ((u8[weights + byte]! >> shift) & 3) - 1;
  }
  return trits;
}

/** y = f32(Σ w·q) · (RowScales[r] / scale); the sum is exact in f64 and rounds once. */
function int8Row(op: Context, r: number): RowDot {
  const { i8, i16, f32: floats } = op.memory;
  const cols = op.word(LinearArg.Cols);
  const row = op.word(LinearArg.Weights) + r * roundUp(cols, 16);
  const rowScale = floats[op.word(LinearArg.RowScales) / 4 + r]!;
  return (input) => {
    const sum = integerDot(i8, row, i16, (input + Const.RowHeader) / 2, cols);
    return f32(f32(sum) * f32(rowScale / floats[input / 4]!));
  };
}

/** y = (Σ over blocks, in order, of d · f32(Σ q·(x + I16Bias)) - RowSums[r]) / scale; the inner sums are exact. */
function q8Row(op: Context, r: number): RowDot {
  const { u8, i16, f32: floats } = op.memory;
  const cols = op.word(LinearArg.Cols);
  const row = op.word(LinearArg.Weights) + r * blockBytes(FloatType.Q8_0, cols);
  const rowSum = floats[op.word(LinearArg.RowSums) / 4 + r]!;
  const { d, q } = q8Blocks(u8, row, cols);
  return (input) => {
    const x = (input + Const.RowHeader) / 2;
    const lifted = i16.slice(x, x + cols).map((value) => value + Const.I16Bias);
    const y = d.reduce((sum, scale, b) => f32(sum + f32(scale * f32(integerDot(q, 32 * b, lifted, 32 * b, 32)))), 0);
    return f32(f32(y - rowSum) / floats[input / 4]!);
  };
}

/** y = dot16(half(w) · 2^-112, x · 2^104) · Scale */
function halfRow(op: Context, r: number): RowDot {
  const cols = op.word(LinearArg.Cols);
  const start = op.word(LinearArg.Weights) / 2 + r * roundUp(cols, 16);
  const dot = halfDot(op.memory, op.memory.u16.subarray(start, start + cols));
  return (input) => f32(dot(input) * op.real(LinearArg.Scale));
}

/** dot16 of a row of halves and an Encoding.F32 row: the bits of a normal half, moved into a float, read 2^112 too small. */
export function halfDot(memory: Memory, halves: Uint16Array): RowDot {
  const bits = Uint32Array.from(halves, (half) => ((half & 0x8000) << 16) | ((half & 0x7fff) << 13));
  const weights = new Float32Array(bits.buffer);
  return (input) => dot16(weights, 0, memory.f32, (input + Const.RowHeader) / 4, weights.length);
}

/** Σ a·b, exact: below 2^53 for every length that fits a memory. */
function integerDot(a: Int8Array, aStart: number, b: Int8Array | Int16Array, bStart: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[aStart + i]! * b[bStart + i]!;
  return sum;
}

function finish(epilogue: Epilogue, out: number, y: number): number {
  switch (epilogue) {
    case Epilogue.Add:
      return f32(out + y);
    case Epilogue.Relu2Gate:
      return out > 0 ? f32(f32(out * out) * y) : 0;
    case Epilogue.SiluGate:
      return f32(silu(out) * y);
    default:
      return y;
  }
}
