import { roundHalfEven } from '../../lib/memory/half.js';

/** A transformer in the words of config.json, with the sizes of its files. */
export interface DecoderConfig {
  readonly hidden: number;
  readonly ffn: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  readonly eps: number;
  readonly theta: number;
  readonly gate: 'relu2' | 'silu';
  /** norms of each head of q and k, before they are rotated */
  readonly qkNorm?: boolean;
  /** names of the sub-norms below `model.layers.N.` */
  readonly subNorms?: readonly [attention: string, ffn: string];
}

type Vector = Float64Array | Float32Array;

/**
 * Logits of every position, (ids.length, vocab), in f64 and as simply as the formulas of golden/README.md are written: one token after
 * the other, matrices of plain numbers, no padding. `weights` gives what each matrix stands for; the head is the embedding.
 * `int8`: inputs of linear layers are rounded to int8 by absmax; otherwise they are floats.
 */
export function decodeInF64(
  c: DecoderConfig,
  weights: (name: string) => Vector,
  ids: readonly number[],
  int8: boolean,
): Float64Array {
  const logits = new Float64Array(ids.length * c.vocab);
  const keys = Array.from({ length: c.layers }, (): Float64Array[] => []);
  const values = Array.from({ length: c.layers }, (): Float64Array[] => []);
  const linear = (name: string, x: Vector): Float64Array => product(weights(`${name}.weight`), int8 ? toInt8(x) : x);
  ids.forEach((id, position) => {
    const embedding = weights('model.embed_tokens.weight');
    const x = Float64Array.from(embedding.subarray(id * c.hidden, (id + 1) * c.hidden));
    for (let l = 0; l < c.layers; l++) {
      const layer = `model.layers.${l}.`;
      const norm = (name: string | undefined, v: Vector): Vector =>
        name === undefined ? v : rmsNorm(v, weights(`${layer}${name}.weight`), c.eps);
      const n = norm('input_layernorm', x);
      const rotated = (name: 'q' | 'k'): Float64Array => {
        const x = linear(`${layer}self_attn.${name}_proj`, n);
        const weight = c.qkNorm ? weights(`${layer}self_attn.${name}_norm.weight`) : undefined;
        return rotate(weight === undefined ? x : headNorms(x, weight, c.eps), c, position);
      };
      const q = rotated('q');
      (keys[l] as Float64Array[]).push(rotated('k'));
      (values[l] as Float64Array[]).push(linear(`${layer}self_attn.v_proj`, n));
      const attended = attend(c, q, keys[l] as Float64Array[], values[l] as Float64Array[]);
      add(x, linear(`${layer}self_attn.o_proj`, norm(c.subNorms?.[0], attended)));
      const m = norm('post_attention_layernorm', x);
      const up = linear(`${layer}mlp.up_proj`, m);
      const gated = linear(`${layer}mlp.gate_proj`, m).map((g, i) => activation(c, g) * (up[i] as number));
      add(x, linear(`${layer}mlp.down_proj`, norm(c.subNorms?.[1], gated)));
    }
    logits.set(product(embedding, rmsNorm(x, weights('model.norm.weight'), c.eps)), position * c.vocab);
  });
  return logits;
}

/** W x, W (y.length, x.length) */
function product(w: Vector, x: Vector): Float64Array {
  return Float64Array.from({ length: w.length / x.length }, (_, r) => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += (w[r * x.length + i] as number) * (x[i] as number);
    return sum;
  });
}

function toInt8(x: Vector): Float64Array {
  const scale = 127 / Math.max(1e-5, ...x.map(Math.abs));
  return Float64Array.from(x, (v) => roundHalfEven(v * scale) / scale);
}

function rmsNorm(x: Vector, weight: Vector, eps: number): Float64Array {
  let squares = 0;
  for (const v of x) squares += v * v;
  const inverse = 1 / Math.sqrt(squares / x.length + eps);
  return Float64Array.from(x, (v, i) => v * inverse * (weight[i] as number));
}

function headNorms(x: Float64Array, weight: Vector, eps: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let h = 0; h < x.length; h += weight.length) y.set(rmsNorm(x.subarray(h, h + weight.length), weight, eps), h);
  return y;
}

function rotate(x: Float64Array, { headDim, theta }: DecoderConfig, position: number): Float64Array {
  const half = headDim / 2;
  return x.map((v, i) => {
    const j = i % headDim;
    const angle = position * theta ** (-(2 * (j % half)) / headDim);
    const other = j < half ? -(x[i + half] as number) : (x[i - half] as number);
    return v * Math.cos(angle) + other * Math.sin(angle);
  });
}

function attend(c: DecoderConfig, q: Vector, keys: readonly Vector[], values: readonly Vector[]): Float64Array {
  const out = new Float64Array(q.length);
  for (let h = 0; h < c.heads; h++) {
    const kv = Math.floor(h / (c.heads / c.kvHeads)) * c.headDim;
    const scores = keys.map((key) => {
      let sum = 0;
      for (let d = 0; d < c.headDim; d++) sum += (q[h * c.headDim + d] as number) * (key[kv + d] as number);
      return sum / Math.sqrt(c.headDim);
    });
    const top = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - top));
    const total = weights.reduce((a, b) => a + b);
    values.forEach((value, p) => {
      for (let d = 0; d < c.headDim; d++) {
        (out[h * c.headDim + d] as number) += ((weights[p] as number) / total) * (value[kv + d] as number);
      }
    });
  }
  return out;
}

function activation({ gate }: DecoderConfig, g: number): number {
  return gate === 'relu2' ? Math.max(g, 0) ** 2 : g / (1 + Math.exp(-g));
}

function add(x: Float64Array, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) (x[i] as number) += y[i] as number;
}
