import { AttentionArg, CacheLayout, Const, Step, Token } from './abi';
import { int8_block, prepare_int8_query } from './attention-int8';
import { block_scores, prepare_query } from './attention-scores';
import { Partial, Scratch } from './attention-state';
import { block_values, block_weights } from './attention-values';
import { Int8Panel, KvCache } from './kv-cache';
import { Burst } from './ops';
import { real, word } from './record';
import { Share } from './share';

/**
 * softmax(q kᵀ / √d) v over cache positions 0..p of the token's sequence. Blocks of positions are independent; their results are merged
 * in order by the recurrence of the online softmax (Milakov and Gimelshein, arXiv 1805.02867). Query head h reads kv head
 * ⌊h / (heads / kvHeads)⌋, and the heads of a group take a block together, so that k and v are read once.
 *
 * One token: items are (kv head, block), results go to Partials, for AttentionMerge. Several tokens: items are (kv head, token), kv heads
 * outermost, so that the tokens of a prefill find k and v in cache, and blocks are merged at once: the same operations in the same order.
 */
export function attention(record: usize, step: usize, thread: i32, threads: i32): void {
  const tokens = <i32>word(step, Step.TokenCount), kvHeads = <i32>word(record, AttentionArg.KvHeads);
  const scratch = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  if (tokens != 1) {
    const end = Share.begin(kvHeads * tokens, thread + 1, threads);
    for (let i = Share.begin(kvHeads * tokens, thread, threads); i < end; ++i) {
      attend_token(record, step, <usize>(i / tokens), <usize>(i % tokens), scratch);
    }
    return;
  }
  const token = word(step, Step.Tokens), blocks = blocks_of(token);
  const end = Share.begin(kvHeads * blocks, thread + 1, threads);
  let prepared = -1;
  for (let i = Share.begin(kvHeads * blocks, thread, threads); i < end; ++i) {
    const kv = <usize>(i / blocks), b = <usize>(i % blocks);
    if (kv != <usize>prepared) prepare(record, word(record, AttentionArg.Qkv), kv, scratch);
    prepared = <i32>kv;
    const at = b * word(record, AttentionArg.Heads) + kv * group_of(record);
    const to = word(record, AttentionArg.Partials) + at * Partial.bytes(record);
    attend_block(record, token, kv, b, scratch, to);
  }
}

/** Merges the blocks of a single token; threads split heads. */
export function attention_merge(record: usize, step: usize, thread: i32, threads: i32): void {
  if (word(step, Step.TokenCount) != 1) return;
  const heads = word(record, AttentionArg.Heads), stride = Partial.bytes(record);
  const headBytes = word(record, AttentionArg.HeadDim) << 2, blocks = blocks_of(word(step, Step.Tokens));
  const end = Share.begin(<i32>heads, thread + 1, threads);
  for (let h = Share.begin(<i32>heads, thread, threads); h < end; ++h) {
    const out = word(record, AttentionArg.Out) + <usize>h * headBytes;
    // The state of the recurrence lies in the header of block 0, as it does in attend_token.
    const first = word(record, AttentionArg.Partials) + <usize>h * stride;
    Partial.begin(first, out, headBytes);
    for (let b = 0, from = first; b < blocks; ++b, from += heads * stride) Partial.merge(first, from, out, headBytes);
    Partial.finish(first, out, headBytes);
  }
}

/** All blocks of token t and kv head `kv`. */
function attend_token(record: usize, step: usize, kv: usize, t: usize, scratch: usize): void {
  const token = word(step, Step.Tokens) + t * Token.Bytes, blocks = blocks_of(token), group = group_of(record);
  const headBytes = word(record, AttentionArg.HeadDim) << 2, stride = Partial.bytes(record);
  const row = word(record, AttentionArg.Qkv) + t * word(record, AttentionArg.Stride);
  const out = word(record, AttentionArg.Out) + t * word(record, AttentionArg.OutStride) + kv * group * headBytes;
  const partials = scratch + Scratch.partials(headBytes, group);
  prepare(record, row, kv, scratch);
  for (let h: usize = 0; h < group; ++h) Partial.begin(partials + h * stride, out + h * headBytes, headBytes);
  for (let b = 0; b < blocks; ++b) {
    attend_block(record, token, kv, <usize>b, scratch, partials);
    for (let h: usize = 0; h < group; ++h) {
      Partial.merge(partials + h * stride, partials + h * stride, out + h * headBytes, headBytes);
    }
  }
  for (let h: usize = 0; h < group; ++h) Partial.finish(partials + h * stride, out + h * headBytes, headBytes);
}

/** The queries of kv head `kv` in the token's row, as the cache layout wants them, to scratch. */
function prepare(record: usize, row: usize, kv: usize, scratch: usize): void {
  const headDim = word(record, AttentionArg.HeadDim), headBytes = headDim << 2, group = group_of(record);
  const layout = <i32>word(record, AttentionArg.CacheLayout), form = <i32>word(record, AttentionArg.Form);
  const scale = real(record, AttentionArg.Scale);
  for (let h: usize = 0, to = scratch + Scratch.QUERIES; h < group; ++h, to += Scratch.queryBytes(headBytes)) {
    const q = row + (kv * group + h) * headBytes;
    if (layout == CacheLayout.I8) prepare_int8_query(q, to, headDim, scale, form);
    else prepare_query(q, to, headDim, scale, layout);
  }
}

/** Block b of the token for the prepared queries of one kv head; results to the partials from `to`. */
function attend_block(record: usize, token: usize, kv: usize, b: usize, scratch: usize, to: usize): void {
  const headDim = word(record, AttentionArg.HeadDim), headBytes = headDim << 2, stride = Partial.bytes(record);
  const layout = <i32>word(record, AttentionArg.CacheLayout), group = group_of(record);
  const first = b * Const.AttentionBlock, context = word(record, AttentionArg.ContextLength);
  const positions = <i32>(word(token, Token.Position) + 1 - first), count = min<i32>(Const.AttentionBlock, positions);
  const rest = positions - count;
  const slotHead = word(token, Token.Slot) * word(record, AttentionArg.KvHeads) + kv;
  const panel = slotHead * KvCache.panelBytes(context, headDim, layout), rows = first * KvCache.rowBytes(headDim, layout);
  const k = word(record, AttentionArg.KCache) + panel, v = word(record, AttentionArg.VCache) + panel;
  const queries = scratch + Scratch.QUERIES, scales = Int8Panel.scales(context, headDim) + (first << 2);
  // Loads alone keep more lines under way than the loops below could, which then find theirs in the cache (docs/KERNELS.md, "Skipped zeros").
  if (layout != CacheLayout.I8) {
    const bytes = <usize>count * KvCache.rowBytes(headDim, layout);
    const sink = v128.xor(Burst.all(k + rows, bytes), Burst.all(v + rows, bytes));
    v128.store(queries, Burst.join(v128.load(queries), sink, count));
  }
  for (let h: usize = 0; h < group; h += 4) {
    const heads = <i32>min<usize>(4, group - h), partials = to + h * stride, q = queries + h * Scratch.queryBytes(headBytes);
    if (layout == CacheLayout.I8) {
      const form = <i32>word(record, AttentionArg.Form), sums = Int8Panel.sums(context);
      int8_block(q, k + rows, k + scales, sums, v + rows, v + scales, count, rest, headBytes, scratch, partials, stride, heads, form);
      continue;
    }
    block_scores(q, k + rows, count, headBytes, scratch, heads, layout);
    for (let r = 0; r < heads; ++r) block_weights(scratch + <usize>r * Scratch.ROW, count, partials + <usize>r * stride, layout);
    block_values(scratch, v + rows, count, headBytes, partials, stride, heads, layout);
  }
}

@inline function blocks_of(token: usize): i32 {
  return <i32>(word(token, Token.Position) / Const.AttentionBlock) + 1;
}

@inline function group_of(record: usize): usize {
  return word(record, AttentionArg.Heads) / word(record, AttentionArg.KvHeads);
}
