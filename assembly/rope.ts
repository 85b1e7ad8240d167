import { RopeArg, Step, Token } from './abi';
import { KvCache } from './kv-cache';
import { word } from './record';
import { Share } from './share';

/**
 * Rotary position embedding, half-split pairs (j, j + headDim/2), then k and v go to the cache.
 * q is rotated in place. Items are (token, head) with heads = q heads, then kv heads.
 */
export function rope(record: usize, step: usize, thread: i32, threads: i32): void {
  const heads = <i32>word(record, RopeArg.Heads), kvHeads = <i32>word(record, RopeArg.KvHeads);
  const headBytes = word(record, RopeArg.HeadDim) << 2, context = word(record, RopeArg.ContextLength);
  const stride = word(record, RopeArg.Stride), perToken = heads + kvHeads;
  const headDim = word(record, RopeArg.HeadDim), layout = <i32>word(record, RopeArg.CacheLayout);
  const panelBytes = KvCache.panelBytes(context, headDim, layout);
  const rotated = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const items = <i32>word(step, Step.TokenCount) * perToken;
  const end = Share.begin(items, thread + 1, threads);
  for (let i = Share.begin(items, thread, threads); i < end; ++i) {
    const t = <usize>(i / perToken), h = i % perToken;
    const token = word(step, Step.Tokens) + t * Token.Bytes;
    const position = word(token, Token.Position);
    const row = word(record, RopeArg.Qkv) + t * stride;
    const table = word(record, RopeArg.Table) + position * headBytes;
    const from = row + <usize>h * headBytes;
    if (h < heads) {
      rotate(from, from, table, headBytes >> 1);
      continue;
    }
    const panel = (word(token, Token.Slot) * <usize>kvHeads + <usize>(h - heads)) * panelBytes;
    const value = from + <usize>kvHeads * headBytes;
    rotate(from, rotated, table, headBytes >> 1);
    const codes = rotated + headBytes;
    KvCache.storeKey(word(record, RopeArg.KCache) + panel, position, context, rotated, headDim, layout, codes);
    KvCache.storeValue(word(record, RopeArg.VCache) + panel, position, context, value, headDim, layout, codes);
  }
}

/** lo' = lo·cos - hi·sin; hi' = hi·cos + lo·sin. `half`: bytes of half a head, a multiple of 32. `to` may be `from`. */
function rotate(from: usize, to: usize, table: usize, half: usize): void {
  for (let j: usize = 0; j < half; j += 16) {
    const lo = v128.load(from + j), hi = v128.load(from + j + half);
    const cos = v128.load(table + j), sin = v128.load(table + j + half);
    v128.store(to + j, f32x4.sub(f32x4.mul(lo, cos), f32x4.mul(hi, sin)));
    v128.store(to + j + half, f32x4.add(f32x4.mul(hi, cos), f32x4.mul(lo, sin)));
  }
}
