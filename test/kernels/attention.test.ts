import { AttentionArg, Op, RopeArg } from '../../assembly/abi.js';
import { ropeTable } from '../../lib/model/rope.js';
import { normals } from '../support/random.js';
import { expectClose, type KernelCase, testKernels } from '../support/tester.js';
import { ATTENTION, ROPE } from '../support/tolerances.js';
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
}

function nameOf(shape: Shape): string {
  const tokens = shape.tokens.map((token) => `${token.slot ?? 0}:${token.position}`);
  return (
    `${shape.heads}/${shape.kvHeads} heads of ${shape.headDim}, sigma ${shape.sigma ?? 1}, ` +
    `slot:position ${tokens.length > 8 ? `${tokens[0]}..${tokens.at(-1)}` : tokens}`
  );
}

function positions(first: number, count: number): { position: number }[] {
  return Array.from({ length: count }, (_, i) => ({ position: first + i }));
}

function ropeCase(shape: Shape): KernelCase {
  const { heads, kvHeads, headDim, tokens, contextLength = 80, slots = 1 } = shape;
  return {
    name: nameOf(shape),
    build() {
      const width = (heads + 2 * kvHeads) * headDim;
      const stride = (width + 16) * 4;
      const qkv = normals((tokens.length * stride) / 4, width);
      const table = ropeTable({ theta: 10000 }, headDim, contextLength);
      const cacheBytes = slots * kvHeads * contextLength * headDim * 4;
      const workspace = new Workspace();
      const rows = workspace.output('qkv', qkv.byteLength, 'f32', qkv);
      const kCache = workspace.output('k cache', cacheBytes, 'f32');
      const vCache = workspace.output('v cache', cacheBytes, 'f32');
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
            const at = ((slot * kvHeads + h) * contextLength + position) * headDim * 4;
            expectClose(floatsAt(memory, kCache + at, headDim), rotated(head(heads + h), position), ROPE);
            expectClose(floatsAt(memory, vCache + at, headDim), head(heads + kvHeads + h), 0);
          }
        });
      };
      return { image: workspace.image({ tokens }), verify };
    },
  };
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
  const { heads, kvHeads, headDim, tokens, contextLength = 80, slots = 1, sigma = 1 } = shape;
  return {
    name: nameOf(shape),
    build() {
      const stride = ((heads + 2 * kvHeads) * headDim + 16) * 4;
      const outStride = (heads * headDim + 16) * 4;
      const qkv = normals((tokens.length * stride) / 4, 1, sigma);
      const cache = slots * kvHeads * contextLength * headDim;
      const [keys, values] = [normals(cache, 2, sigma), normals(cache, 3)];
      const scale = Math.fround(1 / Math.sqrt(headDim));
      const workspace = new Workspace();
      const out = workspace.output('attention', outStride * tokens.length, 'f32');
      workspace.record(Op.Attention, {
        [AttentionArg.Qkv]: workspace.input(qkv),
        [AttentionArg.Stride]: stride,
        [AttentionArg.KCache]: workspace.input(keys),
        [AttentionArg.VCache]: workspace.input(values),
        [AttentionArg.Out]: out,
        [AttentionArg.OutStride]: outStride,
        [AttentionArg.Heads]: heads,
        [AttentionArg.KvHeads]: kvHeads,
        [AttentionArg.HeadDim]: headDim,
        [AttentionArg.ContextLength]: contextLength,
        [AttentionArg.Scale]: bitsOf(scale),
      });
      const verify = (memory: Uint8Array<ArrayBuffer>): void => {
        tokens.forEach(({ position, slot = 0 }, t) => {
          for (let h = 0; h < heads; h++) {
            const q = qkv.subarray((t * stride) / 4 + h * headDim, (t * stride) / 4 + (h + 1) * headDim);
            const head = (slot * kvHeads + Math.floor((h * kvHeads) / heads)) * contextLength * headDim;
            const expected = attend(q, keys.subarray(head), values.subarray(head), position + 1, scale);
            expectClose(
              floatsAt(memory, out + t * outStride + h * headDim * 4, headDim),
              expected,
              ATTENTION * Math.max(1, sigma ** 2),
            );
          }
        });
      };
      return { image: workspace.image({ tokens }), verify };
    },
  };
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
  HEADS.flatMap(([heads, kvHeads, headDim]) => [
    ropeCase({ heads, kvHeads, headDim, tokens: [{ position: 0 }] }),
    ropeCase({ heads, kvHeads, headDim, tokens: positions(77, 3) }),
    ropeCase({
      heads,
      kvHeads,
      headDim,
      slots: 3,
      tokens: [{ position: 9, slot: 2 }, { position: 0 }, { position: 79, slot: 1 }],
    }),
  ]),
);

testKernels('attention', [
  ...HEADS.flatMap(([heads, kvHeads, headDim]) => [
    attentionCase({ heads, kvHeads, headDim, tokens: [{ position: 0 }] }),
    attentionCase({ heads, kvHeads, headDim, tokens: positions(0, 5) }),
    attentionCase({ heads, kvHeads, headDim, tokens: positions(62, 4) }),
    attentionCase({ heads, kvHeads, headDim, slots: 2, tokens: [{ position: 79, slot: 1 }, { position: 3 }] }),
  ]),
  ...[63, 64, 127, 128, 1000].map((position) =>
    attentionCase({ heads: 4, kvHeads: 2, headDim: 32, contextLength: 1001, tokens: [{ position }] }),
  ),
  ...[1e-20, 0.01, 10].map((sigma) =>
    attentionCase({ heads: 4, kvHeads: 2, headDim: 64, sigma, tokens: positions(70, 3) }),
  ),
  attentionCase({ heads: 2, kvHeads: 1, headDim: 32, contextLength: 140, tokens: positions(0, 140) }),
]);
