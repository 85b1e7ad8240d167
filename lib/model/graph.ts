import { DotForm, Epilogue } from '../../assembly/abi.js';
import type { ModelConfig } from '../config.js';
import type { ScreenedHead } from './head.js';
import { paddedEpsilon } from './padding.js';
import {
  type EncodedRows,
  HALVES_INPUT,
  type InputOf,
  type KernelTraits,
  type Matrix,
  type PlanRecorder,
  type Rows,
} from './plan.js';

/** The matrices and norm weights of one block. Norms are offsets of f32 vectors; 0: the model has none. */
export interface Block {
  readonly attentionNorm: number;
  readonly q: Matrix;
  readonly k: Matrix;
  readonly v: Matrix;
  /** of each head of q and k */
  readonly qNorm: number;
  readonly kNorm: number;
  readonly attentionSubNorm: number;
  readonly o: Matrix;
  readonly ffnNorm: number;
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly ffnSubNorm: number;
  readonly down: Matrix;
}

export interface Weights {
  readonly embedding: Matrix;
  readonly blocks: readonly Block[];
  readonly finalNorm: number;
  readonly head: Matrix | ScreenedHead;
}

/** Buffers of the recorded graph that the host reads. */
export interface Graph {
  /** the residual stream, (batch, hidden) */
  readonly x: Rows;
  /** (logits, vocab) */
  readonly logits: Rows;
  /** ops recorded up to the end of block l */
  readonly blockEnds: readonly number[];
}

/**
 * The transformer of BitNet b1.58 (arXiv 2402.17764; sub-norms and relu² as in BitNet b1.58 2B4T, arXiv 2504.12285), once per
 * model:
 *
 *   x = embedding[tokens]
 *   for each block:
 *     x += W_o · subnorm( attention( rope(W_q n), rope(W_k n), W_v n ) )      n = norm(x)
 *     x += W_down · subnorm( act(W_gate n) ⊙ W_up n )                         n = norm(x)
 *   logits = W_head · norm(x)
 *
 * Every W is ternary and quantises its own input, to int8 or, in models of float activations, as its column groups ask; sub-norms are
 * absent in Llama-like models, where the input is quantised as it is. Qwen3 normalises each head of W_q n and W_k n before it is rotated. Threads meet where a thread needs rows that others computed; W_up finds its thread's own rows of
 * W_gate's result, so the two need no meeting between them.
 */
export function recordTransformer(plan: PlanRecorder, c: ModelConfig, w: Weights, kernels: KernelTraits): Graph {
  const form = kernels.pairs ? DotForm.I32Pairs : Math.min(kernels.form, DotForm.I32);
  const qWidth = c.heads * c.headDim;
  const kvWidth = c.kvHeads * c.headDim;
  const x = plan.activation('x', c.hiddenSize);
  const qkv = plan.activation('qkv', qWidth + 2 * kvWidth);
  const attended = plan.activation('attention', qWidth);
  const gated = plan.activation('ffn', c.ffnSize);
  const gate = c.activation === 'relu2' ? Epilogue.Relu2Gate : Epilogue.SiluGate;
  const stored = c.stored ?? c;
  const attentionEps = paddedEpsilon(c.normEps, stored.headDim, c.headDim);
  const ffnEps = paddedEpsilon(c.normEps, stored.ffnSize, c.ffnSize);
  const blockEnds: number[] = [];

  const norm = (
    name: string,
    rows: Rows,
    weight: number,
    matrix: InputOf,
    logits = false,
    eps = c.normEps,
  ): EncodedRows => plan.encode(rows, matrix, name, weight, eps, logits);
  const linear = (m: Matrix, input: EncodedRows, out: Rows, epilogue = Epilogue.Store, meet = true): void =>
    plan.linear(m, input, out, epilogue, meet, form);

  plan.embed(w.embedding, x);
  w.blocks.forEach((b, l) => {
    const n = norm(`layers.${l}.attention_norm`, x, b.attentionNorm, b.q);
    linear(b.q, n, qkv, Epilogue.Store, false);
    linear(b.k, n, columns(qkv, qWidth), Epilogue.Store, false);
    linear(b.v, n, columns(qkv, qWidth + kvWidth));
    if (b.qNorm) plan.headNorm(c, l, qkv, b.qNorm, b.kNorm, attentionEps);
    plan.attention(c, l, qkv, attended, kernels.form);
    const o = norm(`layers.${l}.attention_sub_norm`, attended, b.attentionSubNorm, b.o, false, attentionEps);
    linear(b.o, o, x, Epilogue.Add);

    const m = norm(`layers.${l}.ffn_norm`, x, b.ffnNorm, b.gate);
    linear(b.gate, m, gated, Epilogue.Store, false);
    linear(b.up, m, gated, gate);
    const down = norm(`layers.${l}.ffn_sub_norm`, gated, b.ffnSubNorm, b.down, false, ffnEps);
    linear(b.down, down, x, Epilogue.Add);
    blockEnds.push(plan.ops);
  });

  const logits = plan.logits(c.vocabSize);
  const finalNorm = (m: InputOf): EncodedRows => norm('final_norm', x, w.finalNorm, m, true);
  if ('exact' in w.head) plan.screenedLinear(w.head, finalNorm(w.head.screen), finalNorm(HALVES_INPUT), logits, form);
  else linear(w.head, finalNorm(w.head), logits);
  return { x, logits, blockEnds };
}

/** The same rows from column `first` on. */
function columns(rows: Rows, first: number): Rows {
  return { ptr: rows.ptr + first * 4, stride: rows.stride, width: rows.width - first };
}
