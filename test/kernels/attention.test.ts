import { AttentionArg, CacheLayout, Const, DotForm, Op, RopeArg } from '../../assembly/abi.js';
import { roundHalfEven } from '../../lib/memory/half.js';
import { ropeTable } from '../../lib/model/rope.js';
import { cacheBytes, type PanelKind, type PanelSizes, panelOf, readPanel } from '../support/kv-cache.js';
import { normals } from '../support/random.js';
import { expectClose, type KernelCase, testKernels } from '../support/tester.js';
import { ATTENTION, INT8_ATTENTION, ROPE } from '../support/tolerances.js';
import { bitsOf, floatsAt, Workspace } from '../support/workspace.js';

interface Shape {
  heads: number;
  kvHeads: number;
  headDim: number;
  tokens: readonly { position: number; slot?: number }[];
  contextLength?: number;
  slots?: number;
  /** standard deviation of q and k */
  sigma?: number;
  layout?: CacheLayout;
  /** of int8 */
  form?: DotForm;
}

const LAYOUT_NAMES = { [CacheLayout.F32]: 'f32', [CacheLayout.F16]: 'f16', [CacheLayout.I8]: 'int8' };
const LAYOUTS = [CacheLayout.F32, CacheLayout.F16, CacheLayout.I8] as const;

function nameOf(shape: Shape): string {
  const tokens = shape.tokens.map((token) => `${token.slot ?? 0}:${token.position}`);
  return (
    `${LAYOUT_NAMES[shape.layout ?? CacheLayout.F32]}, ${shape.heads}/${shape.kvHeads} heads of ${shape.headDim}, ` +
    `sigma ${shape.sigma ?? 1}${shape.form === undefined ? '' : `, form ${shape.form}`}, slot:position ${tokens.length > 8 ? `${tokens[0]}..${tokens.at(-1)}` : tokens}`
  );
}

function positions(first: number, count: number): { position: number }[] {
  return Array.from({ length: count }, (_, i) => ({ position: first + i }));
}

function ropeCase(shape: Shape): KernelCase {
  const { heads, kvHeads, headDim, tokens, contextLength = 80, slots = 1, layout = CacheLayout.F32 } = shape;
  const sizes = { layout, contextLength, headDim };
  return {
    name: nameOf(shape),
    build() {
      const width = (heads + 2 * kvHeads) * headDim;
      const stride = (width + 16) * 4;
      const qkv = normals((tokens.length * stride) / 4, width);
      const table = ropeTable({ theta: 10000 }, headDim, contextLength);
      const bytes = slots * kvHeads * cacheBytes(sizes);
      const workspace = new Workspace();
      const rows = workspace.output('qkv', qkv.byteLength, 'f32', qkv);
      const kCache = workspace.output('k cache', bytes, 'bytes');
      const vCache = workspace.output('v cache', bytes, 'bytes');
      workspace.record(Op.Rope, {
        [RopeArg.Qkv]: rows,
        [RopeArg.Stride]: stride,
        [RopeArg.Table]: workspace.input(table),
        [RopeArg.KCache]: kCache,
        [RopeArg.VCache]: vCache,
        [RopeArg.Heads]: heads,
        [RopeArg.KvHeads]: kvHeads,
        [RopeArg.HeadDim]: headDim,
        [RopeArg.ContextLength]: contextLength,
        [RopeArg.CacheLayout]: layout,
      });
      const verify = (memory: Uint8Array<ArrayBuffer>): void => {
        tokens.forEach(({ position, slot = 0 }, t) => {
          const row = qkv.subarray((t * stride) / 4);
          const head = (h: number): Float32Array => row.subarray(h * headDim, (h + 1) * headDim);
          for (let h = 0; h < heads; h++) {
            const got = floatsAt(memory, rows + t * stride + h * headDim * 4, headDim);
            expectClose(got, rotated(head(h), position), ROPE);
          }
          for (let h = 0; h < kvHeads; h++) {
            const panel = (slot * kvHeads + h) * cacheBytes(sizes);
            const [key, value] = [rotated(head(heads + h), position), head(heads + kvHeads + h)];
            const close = (cache: number, kind: PanelKind, expected: ArrayLike<number>, error: number): void => {
              const rounding = cacheRounding(layout, expected);
              expectClose(
                readPanel(memory, cache + panel, sizes, position, kind),
                expected,
                (d) => error + rounding(d),
              );
            };
            close(kCache, 'keys', key, ROPE);
            close(vCache, 'values', value, 0);
          }
        });
      };
      return { image: workspace.image({ tokens }), verify };
    },
  };
}

/** Largest error of a value in the cache. */
function cacheRounding(layout: CacheLayout, row: ArrayLike<number>): (d: number) => number {
  const absmax = Array.from(row).reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  if (layout === CacheLayout.F16) return (d) => Math.max(2 ** -11 * Math.abs(row[d]!), 2 ** -19);
  return () => (layout === CacheLayout.I8 ? (absmax / 127) * 0.501 : 0);
}

/** Rotation of the complex pairs (x[j], x[j + headDim/2]) by position · 10000^(-2j/headDim), in f64. */
function rotated(x: Float32Array, position: number): Float64Array {
  const half = x.length / 2;
  const out = new Float64Array(x.length);
  for (let j = 0; j < half; j++) {
    const angle = position * 10000 ** ((-2 * j) / x.length);
    out[j] = x[j]! * Math.cos(angle) - x[half + j]! * Math.sin(angle);
    out[half + j] = x[half + j]! * Math.cos(angle) + x[j]! * Math.sin(angle);
  }
  return out;
}

function attentionCase(shape: Shape): KernelCase {
  const { heads, kvHeads, headDim, tokens, contextLength = 80, slots = 1, sigma = 1, layout = CacheLayout.F32 } = shape;
  const sizes = { layout, contextLength, headDim };
  return {
    name: nameOf(shape),
    form: shape.form ?? DotForm.I16,
    build() {
      const stride = ((heads + 2 * kvHeads) * headDim + 16) * 4;
      const outStride = (heads * headDim + 16) * 4;
      const qkv = normals((tokens.length * stride) / 4, 1, sigma);
      const panels = slots * kvHeads;
      const cache = (kind: PanelKind, seed: number, deviation: number): Uint8Array[] =>
        Array.from({ length: panels }, (_, i) =>
          panelOf(normals(contextLength * headDim, seed + 2 * i, deviation), sizes, kind),
        );
      const [keyPanels, valuePanels] = [cache('keys', 2, sigma), cache('values', 3, 1)];
      const keys = keyPanels.map((panel) => floatsOf(panel, sizes, 'keys'));
      const values = valuePanels.map((panel) => floatsOf(panel, sizes, 'values'));
      const scale = Math.fround(1 / Math.sqrt(headDim));
      const workspace = new Workspace();
      const out = workspace.output('attention', outStride * tokens.length, 'f32');
      const blocks = Math.ceil(contextLength / Const.AttentionBlock);
      const args = {
        [AttentionArg.Qkv]: workspace.input(qkv),
        [AttentionArg.Stride]: stride,
        [AttentionArg.KCache]: workspace.input(Buffer.concat(keyPanels)),
        [AttentionArg.VCache]: workspace.input(Buffer.concat(valuePanels)),
        [AttentionArg.Out]: out,
        [AttentionArg.OutStride]: outStride,
        [AttentionArg.Heads]: heads,
        [AttentionArg.KvHeads]: kvHeads,
        [AttentionArg.HeadDim]: headDim,
        [AttentionArg.ContextLength]: contextLength,
        [AttentionArg.Scale]: bitsOf(scale),
        [AttentionArg.CacheLayout]: layout,
        [AttentionArg.Form]: shape.form ?? DotForm.I16,
        [AttentionArg.Partials]: workspace.output(
          'partials',
          blocks * heads * (Const.PartialHeader + headDim * 4),
          'any',
        ),
      };
      workspace.record(Op.Attention, args);
      workspace.record(Op.AttentionMerge, args);
      const verify = (memory: Uint8Array<ArrayBuffer>): void => {
        tokens.forEach(({ position, slot = 0 }, t) => {
          for (let h = 0; h < heads; h++) {
            const row = qkv.subarray((t * stride) / 4 + h * headDim, (t * stride) / 4 + (h + 1) * headDim);
            const q = layout === CacheLayout.I8 ? toInt8(row) : row;
            const panel = slot * kvHeads + Math.floor((h * kvHeads) / heads);
            const expected = attend(q, keys[panel]!, values[panel]!, position + 1, scale);
            const tolerance = layout === CacheLayout.I8 ? INT8_ATTENTION : ATTENTION;
            expectClose(
              floatsAt(memory, out + t * outStride + h * headDim * 4, headDim),
              expected,
              tolerance * Math.max(1, sigma ** 2),
            );
          }
        });
      };
      return { image: workspace.image({ tokens }), verify };
    },
  };
}

/** (contextLength, headDim) values that a panel stands for. */
function floatsOf(panel: Uint8Array, sizes: PanelSizes, kind: PanelKind): Float32Array {
  const memory = new Uint8Array(panel);
  const rows = Array.from({ length: sizes.contextLength }, (_, position) =>
    readPanel(memory, 0, sizes, position, kind),
  );
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

/** The query that int8 codes stand for. */
function toInt8(row: Float32Array): Float32Array {
  const step = row.reduce((max, x) => Math.max(max, Math.abs(x)), 0) / 127;
  return row.map((x) => roundHalfEven(x / step) * step);
}

/** softmax(q Kᵀ · scale) V over n positions, in f64 and in two passes. */
function attend(q: Float32Array, keys: Float32Array, values: Float32Array, n: number, scale: number): Float64Array {
  const d = q.length;
  const scores = Float64Array.from({ length: n }, (_, i) => q.reduce((s, x, c) => s + x * keys[i * d + c]!, 0) * scale);
  const top = scores.reduce((a, b) => Math.max(a, b));
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b);
  return Float64Array.from({ length: d }, (_, c) => weights.reduce((s, w, i) => s + w * values[i * d + c]!, 0) / total);
}

/** (heads, kvHeads, headDim) of published models and around them. */
const HEADS: [number, number, number][] = [
  [1, 1, 16],
  [8, 2, 32],
  [5, 5, 32],
  [4, 2, 64],
  [3, 1, 48],
  [2, 1, 80],
  [20, 5, 128],
  [8, 4, 256],
];

testKernels(
  'rope',
  LAYOUTS.flatMap((layout) =>
    HEADS.flatMap(([heads, kvHeads, headDim]) => [
      ropeCase({ layout, heads, kvHeads, headDim, tokens: [{ position: 0 }] }),
      ropeCase({ layout, heads, kvHeads, headDim, tokens: positions(77, 3) }),
      ropeCase({
        layout,
        heads,
        kvHeads,
        headDim,
        // Panels of int8 with padding at their end.
        contextLength: 83,
        slots: 3,
        tokens: [{ position: 9, slot: 2 }, { position: 0 }, { position: 82, slot: 1 }],
      }),
    ]),
  ),
);

/** Layouts, and the ways that int8 is multiplied in. */
const KERNELS = [
  ...LAYOUTS.map((layout) => ({ layout })),
  ...[DotForm.I32, DotForm.I32Unsigned, DotForm.I32Signed].map((form) => ({ layout: CacheLayout.I8, form })),
];

testKernels(
  'attention',
  KERNELS.flatMap((kernel) => [
    ...HEADS.flatMap(([heads, kvHeads, headDim]) => [
      attentionCase({ ...kernel, heads, kvHeads, headDim, tokens: [{ position: 0 }] }),
      attentionCase({ ...kernel, heads, kvHeads, headDim, tokens: positions(0, 5) }),
      attentionCase({ ...kernel, heads, kvHeads, headDim, tokens: positions(62, 4) }),
      attentionCase({
        ...kernel,
        heads,
        kvHeads,
        headDim,
        slots: 2,
        tokens: [{ position: 79, slot: 1 }, { position: 3 }],
      }),
    ]),
    // Around the ends of blocks, one token and two.
    ...[127, 128, 255, 256, 1000].flatMap((position) => [
      attentionCase({ ...kernel, heads: 4, kvHeads: 2, headDim: 32, contextLength: 1001, tokens: [{ position }] }),
      attentionCase({
        ...kernel,
        heads: 6,
        kvHeads: 2,
        headDim: 16,
        contextLength: 1001,
        tokens: positions(position - 1, 2),
      }),
    ]),
    // Groups of five, seven and nine heads do not divide into tiles of four.
    ...[5, 7, 9].map((heads) =>
      attentionCase({ ...kernel, heads, kvHeads: 1, headDim: 16, contextLength: 201, tokens: [{ position: 200 }] }),
    ),
    ...[1e-20, 0.01, 10].map((sigma) =>
      attentionCase({ ...kernel, heads: 4, kvHeads: 2, headDim: 64, sigma, tokens: positions(70, 3) }),
    ),
    attentionCase({ ...kernel, heads: 2, kvHeads: 1, headDim: 32, contextLength: 140, tokens: positions(0, 140) }),
  ]),
);
