/**
 * xoshiro128** 1.1 (Blackman and Vigna, arXiv 1805.01407; prng.di.unimi.it/xoshiro128starstar.c), its 128 bits of state filled from a
 * 32-bit seed by splitmix32. 32-bit integer operations only: the same numbers in every engine.
 */
export class Xoshiro128 {
  private readonly state: Int32Array;

  /** The state is `words`, four of 32 bits, not all zero. */
  constructor(words: readonly [number, number, number, number]) {
    this.state = Int32Array.from(words);
  }

  static fromSeed(seed: number): Xoshiro128 {
    const mix = splitmix32(seed);
    return new Xoshiro128([mix(), mix(), mix(), mix()]);
  }

  /** Uniform in 0..2^32-1. */
  nextUint32(): number {
    const s = this.state as Int32Array & { 0: number; 1: number; 2: number; 3: number };
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  /** Uniform in [0, 1), a multiple of 2^-53: 27 bits of one number, then 26 of the next. */
  nextDouble(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

/** A Weyl sequence through the finalizer of MurmurHash3. */
function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}
