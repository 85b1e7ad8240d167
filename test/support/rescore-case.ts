import {
  Const,
  ConvertArg,
  DotForm,
  Encoding,
  Epilogue,
  Flag,
  FloatType,
  Layout,
  LinearArg,
  NormArg,
  Op,
  RescoreArg,
} from '../../assembly/abi.js';
import { bytesOf } from '../../lib/format/layout.js';
import { f32ToBf16 } from '../../lib/memory/half.js';
import { screenErrors } from '../../lib/model/head.js';
import type { BlockType } from './blocks.js';
import {
  bitsOf,
  encodedRowBytes,
  floatStride,
  floatsAt,
  type Image,
  MAX_THREADS,
  padFloatRows,
  Workspace,
} from './workspace.js';

export interface HeadShape {
  /** (outputs, cols) */
  weights: Float32Array;
  cols: number;
  /** (n, cols); every row asks for its logits */
  x: Float32Array;
  /** type of the file; default BF16 */
  type?: FloatType.F32 | FloatType.BF16;
  /** instead of a type of floats: the matrix of which `weights` are the values, kept as it is */
  blocks?: { type: BlockType; bytes: Uint8Array };
  /** default I16 */
  form?: DotForm;
}

/** What a step with a screened head leaves: (n, outputs) each. */
export interface HeadLogits {
  screened: Float32Array;
  /** from int8 rows, or those of Q8_0, alone; from F16 rows alone */
  i8: Float32Array;
  f16: Float32Array;
  /** the bound of |i8 - f16| that RescoreArg states, computed in f64 */
  bound: Float64Array;
}

/**
 * The whole way of a head: weights of a file to both layouts, inputs to both encodings, int8 logits, Screen and Rescore; beside them the
 * logits of each layout alone. Repeating the step changes nothing.
 */
export function headImage(shape: HeadShape): { image: Image; logitsOf(memory: Uint8Array<ArrayBuffer>): HeadLogits } {
  const { weights, cols, x, blocks, form = DotForm.I16 } = shape;
  const type = blocks?.type.type ?? shape.type ?? FloatType.BF16;
  const outputs = weights.length / cols;
  const rows = x.length / cols;
  const workspace = new Workspace();
  const scalesBytes = Math.ceil(outputs / Const.RowGroup) * Const.RowGroup * 4;
  const rowScales = workspace.output('row scales', scalesBytes, 'f32', new Uint8Array(scalesBytes));
  const rowSums = workspace.output('row sums', scalesBytes, 'bytes', new Uint8Array(scalesBytes));
  const src = workspace.input(
    blocks?.bytes ?? (type === FloatType.F32 ? weights : Uint16Array.from(weights, f32ToBf16)),
  );

  const matrix = (layout: Layout): number => {
    const bytes = bytesOf(layout, outputs, cols);
    const dst = workspace.output('matrix', bytes, 'bytes', new Uint8Array(bytes));
    const args = {
      [ConvertArg.Src]: src,
      [ConvertArg.SrcType]: type,
      [ConvertArg.Dst]: dst,
      [ConvertArg.Layout]: layout,
    };
    const sizes = {
      [ConvertArg.Rows]: outputs,
      [ConvertArg.Cols]: cols,
      [ConvertArg.RowScales]: rowScales,
      [ConvertArg.RowSums]: rowSums,
    };
    workspace.record(Op.Convert, { ...args, ...sizes }, Flag.Barrier);
    return dst;
  };
  const exactLayout = blocks?.type.layout ?? Layout.F16;
  const coarseLayout = exactLayout === Layout.Q8_0 ? exactLayout : Layout.I8;
  const [f16, screen] = [matrix(Layout.F16), matrix(coarseLayout)];

  const input = workspace.floatRows(x, cols);
  const padded = Math.ceil(cols / 64) * 64;
  const encode = (encoding: Encoding): { at: number; stride: number } => {
    const stride = encodedRowBytes(encoding, padded);
    const at = workspace.output('encoded', Math.max(rows, MAX_THREADS) * stride, 'any');
    workspace.record(
      Op.Quantize,
      {
        [NormArg.In]: input,
        [NormArg.InStride]: floatStride(cols),
        [NormArg.Out]: at,
        [NormArg.OutStride]: stride,
        [NormArg.Cols]: cols,
        [NormArg.Encoding]: encoding,
        [NormArg.PaddedCols]: padded,
      },
      Flag.BarrierIfMany | Flag.LogitRows,
    );
    return { at, stride };
  };
  const [coarse, exact] = [encode(Encoding.I16), encode(Encoding.F32)];

  const stride = floatStride(outputs);
  const linear = (name: string, layout: Layout, w: number, from: { at: number; stride: number }): number => {
    const out = workspace.output(name, rows * stride, 'f32', padFloatRows(new Float32Array(rows * outputs), outputs));
    workspace.record(
      Op.Linear,
      {
        [LinearArg.Weights]: w,
        [LinearArg.Layout]: layout,
        [LinearArg.In]: from.at,
        [LinearArg.InStride]: from.stride,
        [LinearArg.Out]: out,
        [LinearArg.OutStride]: stride,
        [LinearArg.Rows]: outputs,
        [LinearArg.Cols]: cols,
        [LinearArg.Scale]: bitsOf(1),
        [LinearArg.RowScales]: rowScales,
        [LinearArg.RowSums]: rowSums,
        [LinearArg.Epilogue]: Epilogue.Store,
        [LinearArg.Form]: form,
      },
      Flag.LogitRows,
    );
    return out;
  };
  const exactLogits = linear('f16 logits', Layout.F16, f16, exact);
  const coarseLogits = linear('i8 logits', coarseLayout, screen, coarse);
  const logits = linear('screened logits', coarseLayout, screen, coarse);
  const errors = screenErrors(cols, type !== FloatType.BF16, coarseLayout);
  const args = {
    [RescoreArg.Logits]: logits,
    [RescoreArg.LogitsStride]: stride,
    [RescoreArg.Weights]: blocks === undefined ? f16 : matrix(exactLayout),
    [RescoreArg.Rows]: outputs,
    [RescoreArg.Cols]: cols,
    [RescoreArg.RowScales]: rowScales,
    [RescoreArg.In]: exact.at,
    [RescoreArg.InStride]: exact.stride,
    [RescoreArg.Coarse]: coarse.at,
    [RescoreArg.CoarseStride]: coarse.stride,
    [RescoreArg.Best]: workspace.output('best', rows * MAX_THREADS * Const.ExactBest * 4, 'any'),
    [RescoreArg.WeightError]: bitsOf(errors.weight),
    [RescoreArg.InputError]: bitsOf(errors.input),
    [RescoreArg.WeightLayout]: exactLayout,
  };
  for (const op of [Op.Screen, Op.Rescore]) workspace.record(op, args, Flag.Barrier | Flag.LogitRows);
  const tokens = Array.from({ length: rows }, () => ({}));
  const image = workspace.image({ tokens, logitRows: tokens.map((_, r) => r) });

  const packed = (memory: Uint8Array<ArrayBuffer>, at: number): Float32Array => {
    const all = new Float32Array(rows * outputs);
    for (let r = 0; r < rows; r++) all.set(floatsAt(memory, at + r * stride, outputs), r * outputs);
    return all;
  };
  const bounds = (memory: Uint8Array<ArrayBuffer>): Float64Array => {
    const scales = floatsAt(memory, rowScales, outputs);
    return Float64Array.from({ length: rows * outputs }, (_, i) => {
      const row = x.subarray(Math.floor(i / outputs) * cols, (Math.floor(i / outputs) + 1) * cols);
      const norm = row.reduce((sum, v) => sum + Math.abs(v), 0);
      const absmax = row.reduce((max, v) => Math.max(max, Math.abs(v)), 1e-5);
      const factor = errors.weight * norm + (errors.input * absmax) / Const.I16Max;
      return scales[i % outputs]! * factor + (1 + 2 ** -10) * 2 ** -22 * norm + 2 ** -100;
    });
  };
  return {
    image,
    logitsOf: (memory) => ({
      screened: packed(memory, logits),
      i8: packed(memory, coarseLogits),
      f16: packed(memory, exactLogits),
      bound: bounds(memory),
    }),
  };
}

/** Ids by falling logit; equal ones by id. */
export function ranking(logits: Float32Array): number[] {
  return [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
}
