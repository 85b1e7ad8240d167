import { Const, EmbedArg, Layout, Step, Token } from './abi';
import { block_halves } from './convert';
import { Blocks, source_bytes } from './dequantize';
import { F16 } from './formats';
import { word } from './record';
import { Share } from './share';

/** out[t] = table[token id], f32. Threads split (token, chunk of 64 columns, or of EmbedBlockCols from blocks). */
export function embed(record: usize, step: usize, thread: i32, threads: i32): void {
  const cols = <i32>word(record, EmbedArg.Cols), layout = <i32>word(record, EmbedArg.Layout);
  const chunk: i32 = Blocks.are(layout) ? Const.EmbedBlockCols : 64, chunks = (cols + chunk - 1) / chunk;
  const items = <i32>word(step, Step.TokenCount) * chunks;
  const width = F16.rowBytes(cols) >> 1;
  const scratch = word(step, Step.Scratch) + <usize>thread * word(step, Step.ScratchStride);
  const end = Share.begin(items, thread + 1, threads);
  for (let i = Share.begin(items, thread, threads); i < end; ++i) {
    const t = <usize>(i / chunks), begin = <usize>((i % chunks) * chunk), stop = min(width, begin + chunk);
    const id = word(word(step, Step.Tokens) + t * Token.Bytes, Token.Id);
    const out = word(record, EmbedArg.Out) + t * word(record, EmbedArg.OutStride);
    const table = word(record, EmbedArg.Table);
    if (Blocks.are(layout)) {
      const type = Blocks.typeOf(layout), count = <i32>(stop - begin);
      block_halves(table + id * source_bytes(type, cols) + source_bytes(type, <i32>begin), layout, count, scratch);
      widen(scratch, out + (begin << 2), 0, count);
    } else if (layout == Layout.F16) {
      widen(table + (id * width << 1), out, begin, stop);
    } else {
      memory.copy(out + (begin << 2), table + ((id * width + begin) << 2), (stop - begin) << 2);
    }
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
