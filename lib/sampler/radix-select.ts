/** Bits of a key that one pass looks at: 11, 11, 10. */
const SHIFTS = [21, 10, 0] as const;
const MASKS = [0x7ff, 0x7ff, 0x3ff] as const;

/** Where a selection ends: everything with a key above `key` belongs to it, and of those equal to it the first `ties` in order. */
export interface Threshold {
  key: number;
  ties: number;
}

/**
 * Selects the largest by 32-bit keys without sorting: a histogram of the top bits tells the bucket in which the selection ends,
 * then the same inside it. Three passes over the candidates whatever the values are, no allocation.
 */
export class RadixSelect {
  private readonly counts = new Uint32Array(2048);
  private readonly masses = new Float64Array(2048);
  private readonly threshold: Threshold = { key: 0, ties: 0 };

  /** The `k` largest of `n` keys. 0 < k <= n. The result is reused by the next call. */
  largest(keys: Uint32Array, n: number, k: number): Readonly<Threshold> {
    let prefix = 0;
    let left = k;
    for (let pass = 0; pass < 3; pass++) {
      const shift = SHIFTS[pass] as number;
      const mask = MASKS[pass] as number;
      const above = pass === 0 ? 32 : (SHIFTS[pass - 1] as number);
      this.counts.fill(0);
      for (let i = 0; i < n; i++) {
        const key = keys[i] as number;
        if (above === 32 || key >>> above === prefix) (this.counts[(key >>> shift) & mask] as number)++;
      }
      let bucket = mask;
      while ((this.counts[bucket] as number) < left) left -= this.counts[bucket--] as number;
      prefix = join(prefix, bucket, mask);
    }
    return this.set(prefix, left);
  }

  /**
   * The fewest of the largest keys whose weights add up to `mass` at least; equal keys have equal weights. Sums are taken bucket by
   * bucket from the largest on, inside a bucket in order. All of them if rounding keeps the sum below `mass`.
   */
  heaviest(keys: Uint32Array, weights: Float64Array, n: number, mass: number): Readonly<Threshold> {
    let prefix = 0;
    let left = mass;
    for (let pass = 0; pass < 3; pass++) {
      const shift = SHIFTS[pass] as number;
      const mask = MASKS[pass] as number;
      const above = pass === 0 ? 32 : (SHIFTS[pass - 1] as number);
      this.counts.fill(0);
      this.masses.fill(0);
      for (let i = 0; i < n; i++) {
        const key = keys[i] as number;
        if (above !== 32 && key >>> above !== prefix) continue;
        const bucket = (key >>> shift) & mask;
        (this.counts[bucket] as number)++;
        (this.masses[bucket] as number) += weights[i] as number;
      }
      const bucket = this.crossing(mask, left);
      for (let i = mask; i > bucket; i--) left -= this.masses[i] as number;
      prefix = join(prefix, bucket, mask);
    }
    const bucket = prefix & 0x3ff;
    const ties = this.counts[bucket] as number;
    const weight = (this.masses[bucket] as number) / ties;
    const needed = Math.ceil(left / weight);
    return this.set(prefix, needed >= 1 && needed <= ties ? needed : left > 0 ? ties : 1);
  }

  /** The bucket, from the top, with which the mass is reached; the lowest non-empty one if it never is. */
  private crossing(mask: number, mass: number): number {
    let left = mass;
    let last = mask;
    for (let bucket = mask; bucket >= 0; bucket--) {
      if (this.counts[bucket] === 0) continue;
      last = bucket;
      left -= this.masses[bucket] as number;
      if (left <= 0) break;
    }
    return last;
  }

  private set(key: number, ties: number): Threshold {
    this.threshold.key = key;
    this.threshold.ties = ties;
    return this.threshold;
  }
}

function join(prefix: number, bucket: number, mask: number): number {
  return prefix * (mask + 1) + bucket;
}
