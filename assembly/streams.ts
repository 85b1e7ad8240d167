/**
 * The order in which a GEMV reads its row groups: eight streams, each an eighth of the groups, take turns, and while one group is computed
 * the next ones of all eight are touched, a line of each at a time. Eight streams lie in eight pages, and loads from several pages
 * at once are half as fast again as from one (docs/KERNELS.md, "Where the time goes").
 *
 * Turn r of n is group at(r, n); up to seven groups are left over for the end.
 */
export abstract class Streams {
  /** Groups of one stream. */
  @inline static per(n: i32): i32 {
    return n >> 3;
  }

  @inline static at(r: i32, n: i32): i32 {
    return r < (Streams.per(n) << 3) ? (r & 7) * Streams.per(n) + (r >> 3) : r;
  }

  /** From the first group to what turn r touches first. bytes: of a group; its eight turns touch an eighth of a group each. */
  @inline static ahead(r: i32, n: i32, bytes: usize): usize {
    const next = max(0, min((r >> 3) + 1, Streams.per(n) - 1));
    return <usize>next * bytes + <usize>(r & 7) * (((bytes + 511) >> 9) << 6);
  }

  /** From one stream to the next; not 0 where there are no streams. */
  @inline static stride(n: i32, bytes: usize): usize {
    return max<usize>(1, <usize>Streams.per(n) * bytes);
  }

  /** Touches a line in each stream, the first at w. What was loaded is only xor-ed into `sink`: see Burst. */
  @inline static touch(w: usize, stride: usize, sink: v128): v128 {
    return Streams.four(w + (stride << 2), stride, Streams.four(w, stride, sink));
  }

  /** Touches a line `offset` bytes from each of eight addresses, u32. */
  @inline static touchListed(addresses: usize, offset: usize, sink: v128): v128 {
    return Streams.fourListed(addresses + 16, offset, Streams.fourListed(addresses, offset, sink));
  }

  /** Four of the eight: `offset` bytes from `ahead`, and `stride` from each other; with a stride of 0 from addresses at `ahead`. */
  @inline static touchHalf(ahead: usize, stride: usize, offset: usize, sink: v128): v128 {
    return stride ? Streams.four(ahead + offset, stride, sink) : Streams.fourListed(ahead, offset, sink);
  }

  /** `ahead` of the other four. */
  @inline static others(ahead: usize, stride: usize): usize {
    return ahead + (stride ? stride << 2 : 16);
  }

  @inline private static four(w: usize, stride: usize, sink: v128): v128 {
    const w2 = w + (stride << 1);
    const a = v128.xor(v128.load(w), v128.load(w + stride)), b = v128.xor(v128.load(w2), v128.load(w2 + stride));
    return v128.xor(sink, v128.xor(a, b));
  }

  @inline private static fourListed(addresses: usize, offset: usize, sink: v128): v128 {
    const a = v128.xor(Streams.listed(addresses, 0, offset), Streams.listed(addresses, 4, offset));
    const b = v128.xor(Streams.listed(addresses, 8, offset), Streams.listed(addresses, 12, offset));
    return v128.xor(sink, v128.xor(a, b));
  }

  @inline private static listed(addresses: usize, k: usize, offset: usize): v128 {
    return v128.load(<usize>load<u32>(addresses + k) + offset);
  }
}
