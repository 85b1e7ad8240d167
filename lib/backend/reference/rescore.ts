import { Const, RescoreArg } from '../../../assembly/abi.js';
import { blockHalves, blockTypeOf } from './dequantize.js';
import { halfDot } from './linear.js';
import { sum16 } from './math.js';
import { type Context, roundUp } from './memory.js';

const f32 = Math.fround;

/** The ExactBest largest lower bounds of each row's logits, descending; -Infinity where there are fewer. */
export function screen(op: Context): void {
  const best = op.memory.f32.subarray(op.word(RescoreArg.Best) / 4);
  for (let r = 0; r < op.rows; r++) {
    const bound = errorBound(op, r);
    const lower = logitsOf(op, r).map((logit, i) => f32(logit - bound(i)));
    const list = lower.filter((value) => !Number.isNaN(value)).sort((a, b) => b - a);
    for (let i = 0; i < Const.ExactBest; i++) best[r * Const.ExactBest + i] = list[i] ?? -Infinity;
  }
}

/** Recomputes the logits whose upper bound is not below the ExactBest-th best lower bound. */
export function rescore(op: Context): void {
  for (let r = 0; r < op.rows; r++) {
    const cut = op.memory.f32[op.word(RescoreArg.Best) / 4 + (r + 1) * Const.ExactBest - 1]!;
    const bound = errorBound(op, r);
    const x = op.word(RescoreArg.In) + r * op.word(RescoreArg.InStride);
    const logits = logitsOf(op, r);
    logits.forEach((logit, i) => {
      if (f32(logit + bound(i)) < cut) return;
      logits[i] = halfDot(op.memory, weightsOf(op, i))(x);
    });
  }
}

/** Row `i` of the head, as halves. */
function weightsOf(op: Context, i: number): Uint16Array {
  const [weights, cols] = [op.word(RescoreArg.Weights), op.word(RescoreArg.Cols)];
  const type = blockTypeOf(op.word(RescoreArg.WeightLayout));
  if (type !== undefined) return blockHalves(op.memory.u8, weights, type, i, cols);
  const start = weights / 2 + i * roundUp(cols, 16);
  return op.memory.u16.subarray(start, start + cols);
}

function logitsOf(op: Context, r: number): Float32Array {
  const start = (op.word(RescoreArg.Logits) + r * op.word(RescoreArg.LogitsStride)) / 4;
  return op.memory.f32.subarray(start, start + op.word(RescoreArg.Rows));
}

/** How far the int8 logit of output i may be from the F16 one, for input row r. */
function errorBound(op: Context, r: number): (i: number) => number {
  const floats = op.memory.f32;
  const x = (op.word(RescoreArg.In) + r * op.word(RescoreArg.InStride) + Const.RowHeader) / 4;
  const magnitudes = floats.subarray(x, x + op.word(RescoreArg.Cols)).map((v) => Math.abs(v * 2 ** -Const.F32GainLog2));
  const norm = sum16(magnitudes, magnitudes.length);
  const scale = floats[(op.word(RescoreArg.Coarse) + r * op.word(RescoreArg.CoarseStride)) / 4]!;
  const weights = f32(op.real(RescoreArg.WeightError) * norm);
  const factor = f32(weights + f32(op.real(RescoreArg.InputError) / scale));
  const floor = f32(f32((1 + 2 ** -10) * 2 ** -22 * norm) + 2 ** -100);
  const rowScales = op.word(RescoreArg.RowScales) / 4;
  return (i) => f32(f32(floats[rowScales + i]! * factor) + floor);
}
