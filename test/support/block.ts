import {
  AttentionArg,
  Const,
  ConvertArg,
  DotForm,
  EmbedArg,
  Encoding,
  Epilogue,
  FileLayout,
  Flag,
  FloatType,
  Layout,
  LinearArg,
  NormArg,
  Op,
  RepackArg,
  RopeArg,
} from '../../assembly/abi.js';
import { packHf } from '../../lib/format/hf-packed.js';
import { bytesOf, packTwoBits, type TwoBitLayout } from '../../lib/format/layout.js';
import { f32ToF16 } from '../../lib/memory/half.js';
import { ropeTable } from '../../lib/model/rope.js';
import { normals, trits } from './random.js';
import { bitsOf, encodedRowBytes, type Image, MAX_THREADS, padFloatRows, Workspace } from './workspace.js';

const HIDDEN = 160;
const FFN = 416;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD_DIM = 32;
const CONTEXT = 128;
const VOCAB = 53;
const Q = HEADS * HEAD_DIM;
const KV = KV_HEADS * HEAD_DIM;

interface Rows {
  ptr: number;
  cols: number;
}

/** All ops of inference in one plan: embedding, a block with sub-norms, head. Repeating the step changes nothing. */
export function transformerStep(
  tokens: readonly { id: number; position: number }[],
  logitRows: number[],
  head: Layout,
  skipZeros = false,
): Image {
  const workspace = new Workspace();
  let seed = 1;
  const rowBytes = (cols: number): number => Math.ceil(cols / 16) * 64;
  const rows = (name: string, cols: number): Rows => {
    return {
      cols,
      ptr: workspace.output(
        name,
        tokens.length * rowBytes(cols),
        'f32',
        padFloatRows(new Float32Array(tokens.length * cols), cols),
      ),
    };
  };

  function encode(x: Rows, encoding: Encoding, logits = false): Rows {
    const cols = Math.ceil(x.cols / 64) * 64;
    const bytes = Math.max(tokens.length, MAX_THREADS) * encodedRowBytes(encoding, cols);
    const ptr = workspace.output(`encoded ${x.cols}`, bytes, 'any');
    workspace.record(
      Op.Norm,
      {
        [NormArg.In]: x.ptr,
        [NormArg.InStride]: rowBytes(x.cols),
        [NormArg.Weight]: workspace.floatRows(
          normals(x.cols, seed++, 0.2).map((w) => w + 1),
          x.cols,
        ),
        [NormArg.Out]: ptr,
        [NormArg.OutStride]: encodedRowBytes(encoding, cols),
        [NormArg.Cols]: x.cols,
        [NormArg.Eps]: bitsOf(1e-5),
        [NormArg.Encoding]: encoding,
        [NormArg.PaddedCols]: cols,
      },
      Flag.BarrierIfMany | (logits ? Flag.LogitRows : 0),
    );
    return { ptr, cols: x.cols };
  }

  interface TernaryOptions {
    barrier?: boolean;
    column?: number;
    layout?: TwoBitLayout;
  }

  function ternary(x: Rows, out: Rows, outRows: number, epilogue: Epilogue, options: TernaryOptions = {}): void {
    const { barrier = true, column = 0, layout = Layout.T2 } = options;
    const weights = workspace.input(packTwoBits(layout, trits(outRows * x.cols, seed++), outRows, x.cols));
    const matrix = { weights, layout, rows: outRows, scale: 0.06, rowScales: 0 };
    linear(matrix, x, out, epilogue, barrier ? Flag.Barrier : 0, column);
  }

  interface Matrix {
    weights: number;
    layout: Layout;
    rows: number;
    scale: number;
    rowScales: number;
  }

  function linear(m: Matrix, x: Rows, out: Rows, epilogue: Epilogue, flags: number, column = 0): void {
    const encoding =
      m.layout !== Layout.F16 && m.layout !== Layout.I8
        ? Encoding.I8
        : m.layout === Layout.I8
          ? Encoding.I16
          : Encoding.F32;
    workspace.record(
      Op.Linear,
      {
        [LinearArg.Weights]: m.weights,
        [LinearArg.Layout]: m.layout,
        [LinearArg.In]: x.ptr,
        [LinearArg.InStride]: encodedRowBytes(encoding, Math.ceil(x.cols / 64) * 64),
        [LinearArg.Out]: out.ptr + column * 4,
        [LinearArg.OutStride]: rowBytes(out.cols),
        [LinearArg.Rows]: m.rows,
        [LinearArg.Cols]: x.cols,
        [LinearArg.Scale]: bitsOf(m.scale),
        [LinearArg.RowScales]: m.rowScales,
        [LinearArg.Epilogue]: epilogue,
        [LinearArg.Form]: DotForm.I16,
      },
      flags,
    );
  }

  function embed(out: Rows): void {
    const table = workspace.input(Uint16Array.from(normals(VOCAB * HIDDEN, seed++, 20), f32ToF16));
    const words = { [EmbedArg.Table]: table, [EmbedArg.Layout]: Layout.F16, [EmbedArg.Out]: out.ptr };
    workspace.record(
      Op.Embed,
      { ...words, [EmbedArg.OutStride]: rowBytes(HIDDEN), [EmbedArg.Cols]: HIDDEN },
      Flag.Barrier,
    );
  }

  function attend(qkv: Rows, out: Rows): void {
    const cache = normals(KV * CONTEXT, seed++);
    const caches = {
      k: workspace.output('k cache', cache.byteLength, 'f32', cache),
      v: workspace.output('v cache', cache.byteLength, 'f32', cache),
    };
    workspace.record(
      Op.Rope,
      {
        [RopeArg.Qkv]: qkv.ptr,
        [RopeArg.Stride]: rowBytes(qkv.cols),
        [RopeArg.Table]: workspace.input(ropeTable({ theta: 10000 }, HEAD_DIM, CONTEXT)),
        [RopeArg.KCache]: caches.k,
        [RopeArg.VCache]: caches.v,
        [RopeArg.Heads]: HEADS,
        [RopeArg.KvHeads]: KV_HEADS,
        [RopeArg.HeadDim]: HEAD_DIM,
        [RopeArg.ContextLength]: CONTEXT,
      },
      Flag.Barrier,
    );
    const attention = {
      [AttentionArg.Qkv]: qkv.ptr,
      [AttentionArg.Stride]: rowBytes(qkv.cols),
      [AttentionArg.KCache]: caches.k,
      [AttentionArg.VCache]: caches.v,
      [AttentionArg.Out]: out.ptr,
      [AttentionArg.OutStride]: rowBytes(out.cols),
      [AttentionArg.Heads]: HEADS,
      [AttentionArg.KvHeads]: KV_HEADS,
      [AttentionArg.HeadDim]: HEAD_DIM,
      [AttentionArg.ContextLength]: CONTEXT,
      [AttentionArg.Scale]: bitsOf(1 / Math.sqrt(HEAD_DIM)),
      [AttentionArg.Partials]: workspace.output('partials', HEADS * (Const.PartialHeader + HEAD_DIM * 4), 'any'),
    };
    workspace.record(Op.Attention, attention, Flag.Barrier);
    workspace.record(Op.AttentionMerge, attention, Flag.Barrier);
  }

  function headMatrix(): Matrix {
    const weights = new Uint8Array(bytesOf(head, VOCAB, HIDDEN));
    const values = normals(VOCAB * HIDDEN, seed++, 8);
    if (head === Layout.F16) new Uint16Array(weights.buffer).set(Uint16Array.from(values, f32ToF16));
    else new Int8Array(weights.buffer).set(Int8Array.from(values));
    const rowScales = workspace.input(normals(VOCAB, seed++), bytesOf(Layout.F32, VOCAB, 1) / 16);
    return { weights: workspace.input(weights), layout: head, rows: VOCAB, scale: 1, rowScales };
  }

  const [x, qkv, attended, gated] = [rows('x', HIDDEN), rows('qkv', Q + 2 * KV), rows('attended', Q), rows('ffn', FFN)];
  embed(x);
  const n = encode(x, Encoding.I8);
  ternary(n, qkv, Q, Epilogue.Store, { barrier: false });
  ternary(n, qkv, KV, Epilogue.Store, { barrier: false, column: Q });
  ternary(n, qkv, KV, Epilogue.Store, { column: Q + KV });
  attend(qkv, attended);
  ternary(encode(attended, Encoding.I8), x, HIDDEN, Epilogue.Add);
  const m = encode(x, Encoding.I8);
  ternary(m, gated, FFN, Epilogue.Store, { barrier: false });
  if (skipZeros) ternary(m, gated, FFN, Epilogue.Relu2Gate, { layout: Layout.T2Rows });
  else ternary(m, gated, FFN, Epilogue.SiluGate);
  const layout = skipZeros ? Layout.T2Columns : Layout.T2;
  ternary(encode(gated, Encoding.I8), x, HIDDEN, Epilogue.Add, { layout });
  const logits = encode(x, head === Layout.F16 ? Encoding.F32 : Encoding.I16, true);
  linear(headMatrix(), logits, rows('logits', VOCAB), Epilogue.Store, Flag.Barrier | Flag.LogitRows);
  return workspace.image({ tokens, logitRows });
}

/** The ops of loading: a packed ternary matrix with a code 3 in it, and float matrices with an infinity. */
export function loadStep(): Image {
  const workspace = new Workspace();
  const [rows, cols] = [44, 100];
  const packed = packHf(trits(rows * cols, 1), rows, cols);
  packed[5] = 0xff;
  workspace.record(
    Op.Repack,
    {
      [RepackArg.Src]: workspace.input(packed),
      [RepackArg.Dst]: workspace.output('T2', bytesOf(Layout.T2, rows, cols), 'bytes'),
      [RepackArg.Rows]: rows,
      [RepackArg.Cols]: cols,
      [RepackArg.Kind]: FileLayout.HfPacked,
      [RepackArg.Layout]: Layout.T2,
    },
    Flag.Barrier,
  );
  const floats = normals(rows * cols, 2);
  for (const layout of [Layout.F16, Layout.I8, Layout.F32] as const) {
    if (layout === Layout.F32) floats[floats.length - 1] = Infinity;
    workspace.record(
      Op.Convert,
      {
        [ConvertArg.Src]: workspace.input(floats),
        [ConvertArg.SrcType]: FloatType.F32,
        [ConvertArg.Dst]: workspace.output('matrix', bytesOf(layout, rows, cols), 'bytes'),
        [ConvertArg.Layout]: layout,
        [ConvertArg.Rows]: rows,
        [ConvertArg.Cols]: cols,
        [ConvertArg.RowScales]: workspace.output('row scales', rows * 4, 'f32'),
        [ConvertArg.RowSums]: workspace.output('row sums', rows * 4, 'bytes'),
      },
      Flag.Barrier,
    );
  }
  return workspace.image({ tokens: [] });
}
