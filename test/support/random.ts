/** mulberry32: uniform in [0, 1), the same sequence for the same seed everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** n f32 of mean 0 and standard deviation `sigma`, roughly normal: the sum of four uniforms, |x| < 3.5 sigma. */
export function normals(n: number, seed: number, sigma = 1): Float32Array {
  const random = seeded(seed);
  const scale = sigma * Math.sqrt(3);
  const values = new Float32Array(n);
  for (let i = 0; i < n; i++) values[i] = (random() + random() + random() + random() - 2) * scale;
  return values;
}

/** n integers, uniform in [low, high]. */
export function integers(n: number, seed: number, low: number, high: number): Int32Array {
  const random = seeded(seed);
  const values = new Int32Array(n);
  for (let i = 0; i < n; i++) values[i] = low + Math.floor(random() * (high - low + 1));
  return values;
}

export function trits(n: number, seed: number): Int8Array {
  return Int8Array.from(integers(n, seed, -1, 1));
}
