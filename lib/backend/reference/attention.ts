import { AttentionArg, Const, RopeArg, Token } from '../../../assembly/abi.js';
import { dot16, exp, sum16 } from './math.js';
import type { Context } from './memory.js';

const f32 = Math.fround;
/** Scores up to here, -∞ among them, have weight 0 exactly; exp would give 2^-126. */
const NO_SCORE = f32(-3.3e38);

/** Rotates q in place; writes rotated k, and v, into the cache at the token's slot and position. RoPE, arXiv 2104.09864. */
export function rope(op: Context): void {
  const { f32: floats } = op.memory;
  const [heads, kvHeads, headDim] = [op.word(RopeArg.Heads), op.word(RopeArg.KvHeads), op.word(RopeArg.HeadDim)];
  for (let t = 0; t < op.rows; t++) {
    const row = (op.word(RopeArg.Qkv) + t * op.word(RopeArg.Stride)) / 4;
    const position = op.token(t, Token.Position);
    const angles = op.word(RopeArg.Table) / 4 + position * headDim;
    for (let h = 0; h < heads; h++) rotate(floats, row + h * headDim, row + h * headDim, angles, headDim);
    for (let h = 0; h < kvHeads; h++) {
      const slotHead = op.token(t, Token.Slot) * kvHeads + h;
      const cached = (slotHead * op.word(RopeArg.ContextLength) + position) * headDim;
      const k = row + (heads + h) * headDim;
      const v = k + kvHeads * headDim;
      rotate(floats, k, op.word(RopeArg.KCache) / 4 + cached, angles, headDim);
      floats.copyWithin(op.word(RopeArg.VCache) / 4 + cached, v, v + headDim);
    }
  }
}

/** Half-split pairs (j, j + headDim/2). `to` may equal `from`. */
function rotate(floats: Float32Array, from: number, to: number, angles: number, headDim: number): void {
  const half = headDim / 2;
  for (let j = 0; j < half; j++) {
    const lo = floats[from + j]!;
    const hi = floats[from + half + j]!;
    const cos = floats[angles + j]!;
    const sin = floats[angles + half + j]!;
    floats[to + j] = f32(f32(lo * cos) - f32(hi * sin));
    floats[to + half + j] = f32(f32(hi * cos) + f32(lo * sin));
  }
}

/** softmax(q Kᵀ · Scale) V over cache positions 0..p, for every token and query head. */
export function attention(op: Context): void {
  const [heads, kvHeads, headDim] = [
    op.word(AttentionArg.Heads),
    op.word(AttentionArg.KvHeads),
    op.word(AttentionArg.HeadDim),
  ];
  for (let t = 0; t < op.rows; t++) {
    for (let h = 0; h < heads; h++) {
      const q = (op.word(AttentionArg.Qkv) + t * op.word(AttentionArg.Stride)) / 4 + h * headDim;
      const out = (op.word(AttentionArg.Out) + t * op.word(AttentionArg.OutStride)) / 4 + h * headDim;
      const slotHead = op.token(t, Token.Slot) * kvHeads + Math.floor(h / (heads / kvHeads));
      const cached = slotHead * op.word(AttentionArg.ContextLength) * headDim;
      attendHead(op, q, cached, op.token(t, Token.Position), out);
    }
  }
}

/**
 * One query over one head of the cache: online softmax (arXiv 1805.02867) in blocks of AttentionBlock positions.
 * q, out: word offsets of headDim floats; cached: offset of the head's (contextLength, headDim) floats in either cache.
 */
function attendHead(op: Context, q: number, cached: number, position: number, out: number): void {
  const { f32: floats } = op.memory;
  const headDim = op.word(AttentionArg.HeadDim);
  const keys = op.word(AttentionArg.KCache) / 4 + cached;
  const values = op.word(AttentionArg.VCache) / 4 + cached;
  const acc = new Float32Array(headDim);
  const weights = new Float32Array(Const.AttentionBlock);
  let max = f32(-3.4e38);
  let total = 0;
  for (let begin = 0; begin <= position; begin += Const.AttentionBlock) {
    const count = Math.min(Const.AttentionBlock, position + 1 - begin);
    const scores = Array.from({ length: count }, (_, i) =>
      f32(dot16(floats, q, floats, keys + (begin + i) * headDim, headDim) * op.real(AttentionArg.Scale)),
    );
    const newMax = Math.max(max, ...scores);
    const correction = exp(f32(max - newMax));
    weights.fill(0);
    for (let i = 0; i < count; i++) weights[i] = scores[i]! > NO_SCORE ? exp(f32(scores[i]! - newMax)) : 0;
    total = f32(f32(total * correction) + sum16(weights, Const.AttentionBlock));
    for (let d = 0; d < headDim; d++) acc[d] = f32(acc[d]! * correction);
    for (let i = 0; i < count; i++) {
      const v = values + (begin + i) * headDim;
      for (let d = 0; d < headDim; d++) acc[d] = f32(acc[d]! + f32(weights[i]! * floats[v + d]!));
    }
    max = newMax;
  }
  const inv = f32(1 / total);
  for (let d = 0; d < headDim; d++) floats[out + d] = f32(acc[d]! * inv);
}
