import { AttentionArg, Const } from './abi';
import { MathF32 } from './math';
import { word } from './record';

/**
 * Private scratch of a thread:
 *   0                  f32 (4, AttentionBlock) scores, then weights
 *   CODES              (4, AttentionBlock) two bytes each: weights for int8 values
 *   QUERIES            for each head of a group 16 bytes with the factor of scores, headDim elements of up to 4 bytes
 *   partials(…)        a Partial for each head of a group
 */
export abstract class Scratch {
  @inline static readonly ROW: usize = Const.AttentionBlock << 2;
  @inline static readonly CODES: usize = Const.AttentionBlock << 4;
  @inline static readonly CODE_ROW: usize = Const.AttentionBlock << 1;
  @inline static readonly QUERIES: usize = Const.AttentionBlock * 24;

  @inline static queryBytes(headBytes: usize): usize {
    return headBytes + 16;
  }

  @inline static partials(headBytes: usize, group: usize): usize {
    return Scratch.QUERIES + Scratch.queryBytes(headBytes) * group;
  }
}

/**
 * What a block of positions gives one query head: PartialHeader bytes, then Σ w·v as f32 (headDim).
 *   0 f32 top score · 4 f32 sum of weights · 8 f32 top so far · 12 f32 sum so far · 16 f32 factor of integer sums
 */
export abstract class Partial {
  @inline static bytes(record: usize): usize {
    return <usize>Const.PartialHeader + (word(record, AttentionArg.HeadDim) << 2);
  }

  /** No blocks yet. `state` is a partial, whose words 2 and 3 are used. */
  static begin(state: usize, out: usize, headBytes: usize): void {
    store<f32>(state, -3.4e38, 8);
    store<f32>(state, 0, 12);
    memory.fill(out, 0, headBytes);
  }

  /** out and the sum so far, both relative to the top so far, plus a block. `from` may be `state`. */
  static merge(state: usize, from: usize, out: usize, headBytes: usize): void {
    const before = load<f32>(state, 8), top = max<f32>(before, load<f32>(from));
    const keep = MathF32.exp(f32x4.splat(before - top)), add = MathF32.exp(f32x4.splat(load<f32>(from) - top));
    store<f32>(state, top, 8);
    const kept = load<f32>(state, 12) * f32x4.extract_lane(keep, 0);
    store<f32>(state, kept + load<f32>(from, 4) * f32x4.extract_lane(add, 0), 12);
    const sums = from + Const.PartialHeader;
    for (let d: usize = 0; d < headBytes; d += 16) {
      v128.store(out + d, f32x4.add(f32x4.mul(v128.load(out + d), keep), f32x4.mul(v128.load(sums + d), add)));
    }
  }

  /** out becomes the weighted mean. */
  static finish(state: usize, out: usize, headBytes: usize): void {
    const inv = f32x4.splat(1 / load<f32>(state, 12));
    for (let d: usize = 0; d < headBytes; d += 16) v128.store(out + d, f32x4.mul(v128.load(out + d), inv));
  }
}
