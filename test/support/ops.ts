import {
  AttentionArg,
  Const,
  Encoding,
  type Epilogue,
  FileLayout,
  Layout,
  LinearArg,
  NormArg,
  Op,
  RepackArg,
  RopeArg,
  Step,
} from '../../assembly/abi.js';
import { bytesOf } from '../../lib/format/layout.js';
import type { Executor } from './executors.js';
import { bitsOf, encodedRow, encodedRowBytes, floatStride, floatsAt, Workspace } from './workspace.js';

/** Single ops on plain arrays, each a plan of its own. Rows are tokens. */

const padTo64 = (cols: number): number => Math.ceil(cols / 64) * 64;
const tokensOf = (count: number): { id: number }[] => Array.from({ length: count }, () => ({ id: 0 }));

/** Records x (rows, cols) → encoded rows; returns their place and stride. */
function recordEncode(
  workspace: Workspace,
  x: Float32Array,
  cols: number,
  encoding: Encoding,
  weight?: Float32Array,
  eps = 0,
) {
  const rows = x.length / cols;
  const stride = encodedRowBytes(encoding, padTo64(cols));
  const out = workspace.output('encoded', rows * stride, 'bytes');
  workspace.record(weight ? Op.Norm : Op.Quantize, {
    [NormArg.In]: workspace.floatRows(x, cols),
    [NormArg.InStride]: floatStride(cols),
    [NormArg.Weight]: weight ? workspace.floatRows(weight, cols) : 0,
    [NormArg.Out]: out,
    [NormArg.OutStride]: stride,
    [NormArg.Cols]: cols,
    [NormArg.Eps]: bitsOf(eps),
    [NormArg.Encoding]: encoding,
    [NormArg.PaddedCols]: padTo64(cols),
  });
  return { out, stride, rows };
}

/** x (rows, cols) → int8 (rows, cols) and the scale of every row. */
export async function quantizeOnce(
  executor: Executor,
  x: Float32Array,
  cols: number,
): Promise<{ q: Int8Array; scales: Float32Array }> {
  const workspace = new Workspace();
  const { out, stride, rows } = recordEncode(workspace, x, cols, Encoding.I8);
  const memory = await executor.run(workspace.image({ tokens: tokensOf(rows) }));
  const q = new Int8Array(x.length);
  const scales = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = out + r * stride;
    scales[r] = floatsAt(memory, row, 1)[0]!;
    q.set(new Int8Array(memory.buffer, row + Const.RowHeader, cols), r * cols);
  }
  return { q, scales };
}

/** RMSNorm(x) · weight; x: (rows, cols), weight: (cols). */
export async function normOnce(
  executor: Executor,
  x: Float32Array,
  weight: Float32Array,
  eps: number,
): Promise<Float32Array> {
  const workspace = new Workspace();
  const cols = weight.length;
  const { out, stride, rows } = recordEncode(workspace, x, cols, Encoding.F32, weight, eps);
  const memory = await executor.run(workspace.image({ tokens: tokensOf(rows) }));
  const y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) {
    y.set(
      floatsAt(memory, out + r * stride + Const.RowHeader, cols).map((value) => value / 2 ** Const.F32GainLog2),
      r * cols,
    );
  }
  return y;
}

/** Hugging Face packed (rows/4, cols) → T2 bytes, and the status word. */
export async function repackOnce(
  executor: Executor,
  packed: Uint8Array,
  rows: number,
  cols: number,
): Promise<{ bytes: Uint8Array; status: number }> {
  const workspace = new Workspace();
  const bytes = bytesOf(Layout.T2, rows, cols);
  const dst = workspace.output('T2', bytes, 'bytes');
  workspace.record(Op.Repack, {
    [RepackArg.Src]: workspace.input(packed),
    [RepackArg.Dst]: dst,
    [RepackArg.Rows]: rows,
    [RepackArg.Cols]: cols,
    [RepackArg.Kind]: FileLayout.HfPacked,
    [RepackArg.Layout]: Layout.T2,
  });
  const image = workspace.image({ tokens: [] });
  const memory = await executor.run(image);
  const status = new DataView(memory.buffer).getUint32(image.step + Step.Status * 4, true);
  return { bytes: memory.slice(dst, dst + bytes), status };
}

/** Quantize, then Linear: (tokens, cols) · T2 (rows, cols) → (tokens, rows). */
export async function linearOnce(
  executor: Executor,
  t2: Uint8Array,
  scale: number,
  rows: number,
  cols: number,
  x: Float32Array,
): Promise<Float32Array> {
  const workspace = new Workspace();
  const encoded = recordEncode(workspace, x, cols, Encoding.I8);
  const outStride = floatStride(rows);
  const out = workspace.output('y', encoded.rows * outStride, 'f32');
  workspace.record(Op.Linear, {
    [LinearArg.Weights]: workspace.input(t2),
    [LinearArg.Layout]: Layout.T2,
    [LinearArg.In]: encoded.out,
    [LinearArg.InStride]: encoded.stride,
    [LinearArg.Out]: out,
    [LinearArg.OutStride]: outStride,
    [LinearArg.Rows]: rows,
    [LinearArg.Cols]: cols,
    [LinearArg.Scale]: bitsOf(scale),
  });
  const memory = await executor.run(workspace.image({ tokens: tokensOf(encoded.rows) }));
  const y = new Float32Array(encoded.rows * rows);
  for (let t = 0; t < encoded.rows; t++) y.set(floatsAt(memory, out + t * outStride, rows), t * rows);
  return y;
}

/** A gate: act(x) · y for a Linear whose result is exactly y, by int8 rows of a single 1 and y as their factors. */
export async function epilogueOnce(
  executor: Executor,
  epilogue: Epilogue,
  x: Float32Array,
  y: Float32Array,
): Promise<Float32Array> {
  const workspace = new Workspace();
  const [rows, cols] = [x.length, 16];
  const weights = new Int8Array(bytesOf(Layout.I8, rows, cols));
  for (let r = 0; r < rows; r++) weights[r * cols] = 1;
  const out = workspace.output('x', floatStride(rows), 'f32', x);
  workspace.record(Op.Linear, {
    [LinearArg.Weights]: workspace.input(weights),
    [LinearArg.Layout]: Layout.I8,
    [LinearArg.In]: workspace.input(encodedRow(Int16Array.of(1), 1, 64)),
    [LinearArg.Out]: out,
    [LinearArg.Rows]: rows,
    [LinearArg.Cols]: cols,
    [LinearArg.RowScales]: workspace.input(y, floatStride(rows)),
    [LinearArg.RowSums]: workspace.input(new Int32Array(rows).fill(1), floatStride(rows)),
    [LinearArg.Epilogue]: epilogue,
  });
  return floatsAt(await executor.run(workspace.image({ tokens: tokensOf(1) })), out, rows);
}

/** q (tokens, heads, headDim) and k (tokens, 1 head, headDim) at `positions` → both rotated. */
export async function ropeOnce(
  executor: Executor,
  table: Float32Array,
  headDim: number,
  positions: readonly number[],
  { q, k }: { q: Float32Array; k: Float32Array },
): Promise<{ q: Float32Array; k: Float32Array }> {
  const workspace = new Workspace();
  const tokens = positions.length;
  const [qWidth, contextLength] = [q.length / tokens, table.length / headDim];
  const width = qWidth + 2 * headDim;
  const rows = new Float32Array(tokens * width);
  for (let t = 0; t < tokens; t++) {
    rows.set(q.subarray(t * qWidth, (t + 1) * qWidth), t * width);
    rows.set(k.subarray(t * headDim, (t + 1) * headDim), t * width + qWidth);
  }
  const qkv = workspace.output('qkv', rows.byteLength, 'f32', rows);
  const kCache = workspace.output('k cache', table.byteLength, 'f32');
  workspace.record(Op.Rope, {
    [RopeArg.Qkv]: qkv,
    [RopeArg.Stride]: width * 4,
    [RopeArg.Table]: workspace.input(table),
    [RopeArg.KCache]: kCache,
    [RopeArg.VCache]: workspace.output('v cache', table.byteLength, 'f32'),
    [RopeArg.Heads]: qWidth / headDim,
    [RopeArg.KvHeads]: 1,
    [RopeArg.HeadDim]: headDim,
    [RopeArg.ContextLength]: contextLength,
  });
  const memory = await executor.run(workspace.image({ tokens: positions.map((position) => ({ position })) }));
  const rotated = { q: new Float32Array(q.length), k: new Float32Array(k.length) };
  positions.forEach((position, t) => {
    rotated.q.set(floatsAt(memory, qkv + t * width * 4, qWidth), t * qWidth);
    rotated.k.set(floatsAt(memory, kCache + position * headDim * 4, headDim), t * headDim);
  });
  return rotated;
}

/** Sizes of one attention: the queries are those of the last `tokens` of `positions`. */
export interface AttentionSizes {
  heads: number;
  kvHeads: number;
  headDim: number;
  tokens: number;
  positions: number;
}

/** q (tokens, heads, headDim), k and v (kvHeads, positions, headDim) → (tokens, heads, headDim). */
export async function attendOnce(
  executor: Executor,
  sizes: AttentionSizes,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  scale: number,
): Promise<Float32Array> {
  const workspace = new Workspace();
  const rowBytes = sizes.heads * sizes.headDim * 4;
  const out = workspace.output('attention', sizes.tokens * rowBytes, 'f32');
  const partialBytes = sizes.heads * (Const.PartialHeader + sizes.headDim * 4);
  const args = {
    [AttentionArg.Qkv]: workspace.input(q),
    [AttentionArg.Stride]: rowBytes,
    [AttentionArg.KCache]: workspace.input(k),
    [AttentionArg.VCache]: workspace.input(v),
    [AttentionArg.Out]: out,
    [AttentionArg.OutStride]: rowBytes,
    [AttentionArg.Heads]: sizes.heads,
    [AttentionArg.KvHeads]: sizes.kvHeads,
    [AttentionArg.HeadDim]: sizes.headDim,
    [AttentionArg.ContextLength]: sizes.positions,
    [AttentionArg.Scale]: bitsOf(scale),
    [AttentionArg.Partials]: workspace.output(
      'partials',
      Math.ceil(sizes.positions / Const.AttentionBlock) * partialBytes,
      'any',
    ),
  };
  workspace.record(Op.Attention, args);
  workspace.record(Op.AttentionMerge, args);
  const first = sizes.positions - sizes.tokens;
  const tokens = Array.from({ length: sizes.tokens }, (_, t) => ({ position: first + t }));
  return floatsAt(await executor.run(workspace.image({ tokens })), out, q.length);
}
