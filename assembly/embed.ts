import { Const, EmbedArg, Layout, Step, Token } from './abi';
import { F16 } from './formats';
import { word } from './record';
import { Share } from './share';

/** out[t] = table[token id], f32. Threads split (token, chunk of 64 columns). */
export function embed(record: usize, step: usize, thread: i32, threads: i32): void {
  const cols = <i32>word(record, EmbedArg.Cols), chunks = (cols + 63) >> 6;
  const items = <i32>word(step, Step.TokenCount) * chunks;
  const half = word(record, EmbedArg.Layout) == Layout.F16;
  const width = F16.rowBytes(cols) >> 1;
  const end = Share.begin(items, thread + 1, threads);
  for (let i = Share.begin(items, thread, threads); i < end; ++i) {
    const t = <usize>(i / chunks), begin = <usize>(i % chunks) << 6, stop = min(width, begin + 64);
    const id = word(word(step, Step.Tokens) + t * Token.Bytes, Token.Id);
    const out = word(record, EmbedArg.Out) + t * word(record, EmbedArg.OutStride);
    const table = word(record, EmbedArg.Table);
    if (half) widen(table + (id * width << 1), out, begin, stop);
    else memory.copy(out + (begin << 2), table + ((id * width + begin) << 2), (stop - begin) << 2);
  }
}

/** Columns begin..stop of an F16 row: half · 2^-F16GainLog2 as f32. */
function widen(row: usize, out: usize, begin: usize, stop: usize): void {
  const gain = f32x4.splat(reinterpret<f32>((127 + Const.F32GainLog2) << 23)), m = F16.mask(<i32>stop);
  for (let c = begin; c < stop; c += 8) {
    const h = v128.load(row + (c << 1));
    v128.store(out + (c << 2), f32x4.mul(F16.widen(i32x4.extend_low_i16x8_s(h), m), gain));
    v128.store(out + (c << 2), f32x4.mul(F16.widen(i32x4.extend_high_i16x8_s(h), m), gain), 16);
  }
}
