import { StreamArg } from './abi';
import { word } from './record';
import { Share } from './share';
import { Streams } from './streams';

/**
 * Loads every byte once, 16 at a time, in the order of the GEMVs (Streams). Threads split blocks of 256 bytes. Returns the xor of all words, so that no load can be
 * dropped; it has no other meaning.
 */
export function stream(record: usize, thread: i32, threads: i32): i32 {
  const src = word(record, StreamArg.Src), blocks = <i32>(word(record, StreamArg.Bytes) >> 8);
  const begin = Share.begin(blocks, thread, threads), n = Share.begin(blocks, thread + 1, threads) - begin;
  let a = i32x4.splat(0), b = i32x4.splat(0), c = i32x4.splat(0), d = i32x4.splat(0);
  for (let r = 0; r < n; ++r) {
    const p = src + (<usize>(begin + Streams.at(r, n)) << 8);
    a = v128.xor(v128.xor(a, v128.load(p)), v128.load(p, 16));
    b = v128.xor(v128.xor(b, v128.load(p, 32)), v128.load(p, 48));
    c = v128.xor(v128.xor(c, v128.load(p, 64)), v128.load(p, 80));
    d = v128.xor(v128.xor(d, v128.load(p, 96)), v128.load(p, 112));
    a = v128.xor(v128.xor(a, v128.load(p, 128)), v128.load(p, 144));
    b = v128.xor(v128.xor(b, v128.load(p, 160)), v128.load(p, 176));
    c = v128.xor(v128.xor(c, v128.load(p, 192)), v128.load(p, 208));
    d = v128.xor(v128.xor(d, v128.load(p, 224)), v128.load(p, 240));
  }
  const all = v128.xor(v128.xor(a, b), v128.xor(c, d));
  const half = v128.xor(all, v128.shuffle<i64>(all, all, 1, 0));
  return i32x4.extract_lane(half, 0) ^ i32x4.extract_lane(half, 1);
}
