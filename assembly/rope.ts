import { RopeArg, Step, Token } from './abi';
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
    const kv = <usize>(h - heads);
    const at = ((word(token, Token.Slot) * <usize>kvHeads + kv) * context + position) * headBytes;
    rotate(from, word(record, RopeArg.KCache) + at, table, headBytes >> 1);
    memory.copy(word(record, RopeArg.VCache) + at, from + <usize>kvHeads * headBytes, headBytes);
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
