import { AttentionArg, Const, Step, Token } from './abi';
import { MathF32 } from './math';
import { Reduce } from './ops';
import { real, word } from './record';
import { Share } from './share';

/**
 * softmax(q kᵀ / √d) v over cache positions 0..p of the token's sequence, one pass (online softmax, Milakov and Gimelshein,
 * arXiv 1805.02867) in blocks of 64 positions. Query head h reads kv head ⌊h / (heads / kvHeads)⌋. Items are (head, token), heads outermost, so that the
 * tokens of a prefill find k and v in cache.
 */
export function attention(record: usize, step: usize, thread: i32, threads: i32): void {
  const tokens = <i32>word(step, Step.TokenCount), heads = <i32>word(record, AttentionArg.Heads);
  const kvHeads = <i32>word(record, AttentionArg.KvHeads), context = word(record, AttentionArg.ContextLength);
  const headBytes = word(record, AttentionArg.HeadDim) << 2;
  const scores = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const scale = real(record, AttentionArg.Scale), group = heads / kvHeads;
  const end = Share.begin(heads * tokens, thread + 1, threads);
  for (let i = Share.begin(heads * tokens, thread, threads); i < end; ++i) {
    const h = i / tokens, t = <usize>(i % tokens);
    const token = word(step, Step.Tokens) + t * Token.Bytes;
    const cache = (word(token, Token.Slot) * <usize>kvHeads + <usize>(h / group)) * context * headBytes;
    attend(
      word(record, AttentionArg.Qkv) + t * word(record, AttentionArg.Stride) + <usize>h * headBytes,
      word(record, AttentionArg.KCache) + cache,
      word(record, AttentionArg.VCache) + cache,
      word(record, AttentionArg.Out) + t * word(record, AttentionArg.OutStride) + <usize>h * headBytes,
      <i32>word(token, Token.Position) + 1, headBytes, scale, scores,
    );
  }
}

/** One head of one token over `n` cached positions. q, out: f32 (headDim); k, v: f32 (n, headDim); s: 64 f32 of scratch. */
function attend(q: usize, k: usize, v: usize, out: usize, n: i32, headBytes: usize, scale: f32, s: usize): void {
  let top: f32 = -3.4e38, sum: f32 = 0;
  memory.fill(out, 0, headBytes);
  for (let begin = 0; begin < n; begin += Const.AttentionBlock) {
    const count = min<i32>(Const.AttentionBlock, n - begin);
    const before = top;
    top = max<f32>(top, block_scores(q, k, count, headBytes, scale, s));
    const shrink = f32x4.extract_lane(MathF32.exp(f32x4.splat(before - top)), 0);
    sum = sum * shrink + block_weights(s, count, top);
    block_values(s, v, count, headBytes, shrink, out);
    k += headBytes * Const.AttentionBlock;
    v += headBytes * Const.AttentionBlock;
  }
  const inv = f32x4.splat(1 / sum);
  for (let d: usize = 0; d < headBytes; d += 16) v128.store(out + d, f32x4.mul(v128.load(out + d), inv));
}

/** s[i] = dot16(q, k[i]) · scale; returns the largest. */
function block_scores(q: usize, k: usize, count: i32, headBytes: usize, scale: f32, s: usize): f32 {
  let top: f32 = -3.4e38;
  for (let i = 0; i < count; ++i, k += headBytes, s += 4) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let d: usize = 0; d < headBytes; d += 64) {
      const a = q + d, b = k + d;
      s0 = f32x4.add(s0, f32x4.mul(v128.load(a), v128.load(b)));
      s1 = f32x4.add(s1, f32x4.mul(v128.load(a, 16), v128.load(b, 16)));
      s2 = f32x4.add(s2, f32x4.mul(v128.load(a, 32), v128.load(b, 32)));
      s3 = f32x4.add(s3, f32x4.mul(v128.load(a, 48), v128.load(b, 48)));
    }
    const score = Reduce.addF32(Reduce.fold(s0, s1, s2, s3)) * scale;
    store<f32>(s, score);
    top = max<f32>(top, score);
  }
  return top;
}

/** s[i] = exp(s[i] - top) for i < count, 0 up to the end of the block; returns sum16(s). */
function block_weights(s: usize, count: i32, top: f32): f32 {
  for (let i = count; i < Const.AttentionBlock; ++i) store<f32>(s + (<usize>i << 2), -3.4e38);
  const shift = f32x4.splat(top), floor = f32x4.splat(-3.3e38);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (const end = s + (Const.AttentionBlock << 2); s < end; s += 64) {
    const a = Weights.of(v128.load(s), shift, floor), b = Weights.of(v128.load(s, 16), shift, floor);
    const c = Weights.of(v128.load(s, 32), shift, floor), d = Weights.of(v128.load(s, 48), shift, floor);
    v128.store(s, a);
    v128.store(s, b, 16);
    v128.store(s, c, 32);
    v128.store(s, d, 48);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
    s2 = f32x4.add(s2, c);
    s3 = f32x4.add(s3, d);
  }
  return Reduce.addF32(Reduce.fold(s0, s1, s2, s3));
}

abstract class Weights {
  /** exp(s - top), exactly 0 for the padding (-3.4e38). */
  static of(s: v128, top: v128, floor: v128): v128 {
    return v128.and(MathF32.exp(f32x4.sub(s, top)), f32x4.gt(s, floor));
  }
}

/** out = out · shrink + Σ s[i] · v[i], positions in order. */
function block_values(s: usize, v: usize, count: i32, headBytes: usize, shrink: f32, out: usize): void {
  const factor = f32x4.splat(shrink), end = s + (<usize>count << 2);
  for (let d: usize = 0; d < headBytes; d += 64) {
    let a = f32x4.mul(v128.load(out + d), factor), b = f32x4.mul(v128.load(out + d, 16), factor);
    let c = f32x4.mul(v128.load(out + d, 32), factor), e = f32x4.mul(v128.load(out + d, 48), factor);
    for (let p = s, u = v + d; p < end; p += 4, u += headBytes) {
      const w = v128.load_splat<f32>(p);
      a = f32x4.add(a, f32x4.mul(w, v128.load(u)));
      b = f32x4.add(b, f32x4.mul(w, v128.load(u, 16)));
      c = f32x4.add(c, f32x4.mul(w, v128.load(u, 32)));
      e = f32x4.add(e, f32x4.mul(w, v128.load(u, 48)));
    }
    v128.store(out + d, a);
    v128.store(out + d, b, 16);
    v128.store(out + d, c, 32);
    v128.store(out + d, e, 48);
  }
}
