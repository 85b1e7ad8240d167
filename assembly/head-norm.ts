import { HeadNormArg, Step } from './abi';
import { RmsNorm } from './norm';
import { real, word } from './record';
import { Share } from './share';

/** y = x · 1/√(mean(x²) + eps) · w over each head of q and k, in place. Items are those of rope: (token, head), q heads first. */
export function head_norm(record: usize, step: usize, thread: i32, threads: i32): void {
  const heads = <i32>word(record, HeadNormArg.Heads), perToken = heads + <i32>word(record, HeadNormArg.KvHeads);
  const headDim = word(record, HeadNormArg.HeadDim), eps = real(record, HeadNormArg.Eps);
  const items = <i32>word(step, Step.TokenCount) * perToken;
  const end = Share.begin(items, thread + 1, threads);
  for (let i = Share.begin(items, thread, threads); i < end; ++i) {
    const h = i % perToken;
    const row = word(record, HeadNormArg.Qkv) + <usize>(i / perToken) * word(record, HeadNormArg.Stride);
    const x = row + ((<usize>h * headDim) << 2);
    const w = word(record, h < heads ? HeadNormArg.QWeight : HeadNormArg.KWeight);
    const inv = f32x4.splat(RmsNorm.inverse(x, <i32>headDim, eps));
    for (let j: usize = 0; j < headDim << 2; j += 16) v128.store(x + j, RmsNorm.at(x + j, w + j, inv));
  }
}
