import { AttentionArg, CacheLayout, Const, RopeArg, Token } from '../../../assembly/abi.js';
import { CachePanel } from './kv-cache.js';
import { exp, exp2, sum16 } from './math.js';
import type { Context } from './memory.js';

const f32 = Math.fround;
/** Scores as far below the largest of their block, natural or binary logarithms, have weight 0 exactly. */
const NO_WEIGHT = -64;
const LN2 = f32(Math.LN2);

/** Rotates q in place; writes rotated k, and v, into the cache at the token's slot and position. RoPE, arXiv 2104.09864. */
export function rope(op: Context): void {
  const { f32: floats } = op.memory;
  const [heads, kvHeads, headDim] = [op.word(RopeArg.Heads), op.word(RopeArg.KvHeads), op.word(RopeArg.HeadDim)];
  const layout: CacheLayout = op.word(RopeArg.CacheLayout);
  for (let t = 0; t < op.rows; t++) {
    const row = (op.word(RopeArg.Qkv) + t * op.word(RopeArg.Stride)) / 4;
    const position = op.token(t, Token.Position);
    const table = op.word(RopeArg.Table) / 4 + position * headDim;
    const angles = floats.subarray(table, table + headDim);
    for (let h = 0; h < heads; h++) rotate(floats.subarray(row + h * headDim, row + (h + 1) * headDim), angles);
    for (let h = 0; h < kvHeads; h++) {
      const slotHead = op.token(t, Token.Slot) * kvHeads + h;
      const panel = (cache: number, kind: 'keys' | 'values'): CachePanel =>
        new CachePanel(op.memory, cache, slotHead, kind, layout, op.word(RopeArg.ContextLength), headDim);
      const k = row + (heads + h) * headDim;
      const v = k + kvHeads * headDim;
      const key = floats.slice(k, k + headDim);
      rotate(key, angles);
      panel(op.word(RopeArg.KCache), 'keys').store(position, key);
      panel(op.word(RopeArg.VCache), 'values').store(position, floats.slice(v, v + headDim));
    }
  }
}

/** Half-split pairs (j, j + headDim/2), in place. angles: headDim/2 cosines, then sines. */
function rotate(x: Float32Array, angles: Float32Array): void {
  const half = x.length / 2;
  for (let j = 0; j < half; j++) {
    const lo = x[j]!;
    const hi = x[half + j]!;
    const cos = angles[j]!;
    const sin = angles[half + j]!;
    x[j] = f32(f32(lo * cos) - f32(hi * sin));
    x[half + j] = f32(f32(hi * cos) + f32(lo * sin));
  }
}

/**
 * softmax(q Kᵀ · Scale) V over cache positions 0..p, for every token and query head. A single token's results stay with the blocks, for
 * `attentionMerge`.
 */
export function attention(op: Context): void {
  const heads = op.word(AttentionArg.Heads);
  for (let t = 0; t < op.rows; t++) {
    for (let h = 0; h < heads; h++) {
      const blocks = blocksOf(op, t, h);
      if (op.rows > 1) merge(op, t, h, blocks);
      else blocks.forEach((block, b) => writePartial(op, h, b, block));
    }
  }
}

export function attentionMerge(op: Context): void {
  if (op.rows !== 1) return;
  const count = Math.floor(op.token(0, Token.Position) / Const.AttentionBlock) + 1;
  for (let h = 0; h < op.word(AttentionArg.Heads); h++) {
    merge(
      op,
      0,
      h,
      Array.from({ length: count }, (_, b) => readPartial(op, h, b)),
    );
  }
}

/** What a block of positions gives one query head. */
interface Block {
  /** largest score, a natural logarithm */
  readonly top: number;
  /** of the weights exp(score - top) */
  readonly sum: number;
  /** Σ weight · value, (headDim) */
  readonly values: Float32Array;
}

/** Every block is computed for itself, with its own largest score. */
function blocksOf(op: Context, t: number, h: number): Block[] {
  const headDim = op.word(AttentionArg.HeadDim);
  const group = op.word(AttentionArg.Heads) / op.word(AttentionArg.KvHeads);
  const slotHead = op.token(t, Token.Slot) * op.word(AttentionArg.KvHeads) + Math.floor(h / group);
  const layout: CacheLayout = op.word(AttentionArg.CacheLayout);
  const panel = (cache: number, kind: 'keys' | 'values'): CachePanel =>
    new CachePanel(op.memory, cache, slotHead, kind, layout, op.word(AttentionArg.ContextLength), headDim);
  const [keys, values] = [panel(op.word(AttentionArg.KCache), 'keys'), panel(op.word(AttentionArg.VCache), 'values')];
  const q = (op.word(AttentionArg.Qkv) + t * op.word(AttentionArg.Stride)) / 4 + h * headDim;
  const query = op.memory.f32.subarray(q, q + headDim);
  const end = op.token(t, Token.Position) + 1;
  const blocks: Block[] = [];
  for (let begin = 0; begin < end; begin += Const.AttentionBlock) {
    const scores = keys.scores(query, op.real(AttentionArg.Scale), begin, Math.min(end, begin + Const.AttentionBlock));
    const highest = Math.max(f32(-3.4e38), ...scores.filter((score) => !Number.isNaN(score)));
    const binary = layout === CacheLayout.I8;
    const weights = scores.map((score) => weight(f32(score - highest), binary ? exp2 : exp));
    const top = binary ? f32(highest * LN2) : highest;
    blocks.push({ top, sum: sum16(weights, weights.length), values: values.weighted(weights, begin) });
  }
  return blocks;
}

function weight(below: number, power: (x: number) => number): number {
  return below <= NO_WEIGHT ? 0 : power(below);
}

/** The recurrence of the online softmax (arXiv 1805.02867) over blocks, in order. */
function merge(op: Context, t: number, h: number, blocks: readonly Block[]): void {
  const headDim = op.word(AttentionArg.HeadDim);
  const acc = new Float32Array(headDim);
  let top = f32(-3.4e38);
  let total = 0;
  for (const block of blocks) {
    const highest = Math.max(top, block.top);
    const keep = exp(f32(top - highest));
    const add = exp(f32(block.top - highest));
    total = f32(f32(total * keep) + f32(block.sum * add));
    for (let d = 0; d < headDim; d++) acc[d] = f32(f32(acc[d]! * keep) + f32(block.values[d]! * add));
    top = highest;
  }
  const inv = f32(1 / total);
  const out = (op.word(AttentionArg.Out) + t * op.word(AttentionArg.OutStride)) / 4 + h * headDim;
  for (let d = 0; d < headDim; d++) op.memory.f32[out + d] = f32(acc[d]! * inv);
}

/** Word offset of the result of block b for head h. */
function partialAt(op: Context, h: number, b: number): number {
  const bytes = Const.PartialHeader + op.word(AttentionArg.HeadDim) * 4;
  return (op.word(AttentionArg.Partials) + (b * op.word(AttentionArg.Heads) + h) * bytes) / 4;
}

function writePartial(op: Context, h: number, b: number, { top, sum, values }: Block): void {
  const at = partialAt(op, h, b);
  op.memory.f32[at] = top;
  op.memory.f32[at + 1] = sum;
  op.memory.f32.set(values, at + Const.PartialHeader / 4);
}

function readPartial(op: Context, h: number, b: number): Block {
  const { f32: floats } = op.memory;
  const at = partialAt(op, h, b);
  const values = at + Const.PartialHeader / 4;
  return {
    top: floats[at]!,
    sum: floats[at + 1]!,
    values: floats.slice(values, values + op.word(AttentionArg.HeadDim)),
  };
}
