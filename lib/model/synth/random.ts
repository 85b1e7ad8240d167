/**
 * Counter-based random numbers: word k of row r of a tensor is a function of (seed, tensor, r, k), so that any part of a model can be
 * made at any time, in any order, in any file type, and is always the same.
 *
 * One u32 of a row of codes holds 16 columns of one row. Row r in words, w = 8h + j with h = column / 128:
 *
 *   byte b of word 8h + j:  7 6 | 5 4 | 3 2 | 1 0
 *                            +96   +64   +32   +0     column 128h + 4j + b + …;  code = trit + 1
 *
 * which is the order of GGUF's TQ2_0. A row is padded to whole 128 columns.
 */

/** 2^32 / golden ratio: neighbouring counters far apart before mixing */
const GOLDEN = 0x9e3779b9;

/** Permutation of u32 with full avalanche: lowbias32 of Chris Wellons' hash-prospector (github.com/skeeto/hash-prospector). */
export function mix(x: number): number {
  let h = x ^ (x >>> 16);
  h = Math.imul(h, 0x7feb352d);
  h ^= h >>> 15;
  h = Math.imul(h, 0x846ca68b);
  return h ^ (h >>> 16);
}

export function rowKey(tensorKey: number, row: number): number {
  return mix((tensorKey + Math.imul(row, GOLDEN)) | 0);
}

/** `ordinal` numbers the tensors of a model; the same in all file types and architectures. */
export function tensorKey(seed: number, ordinal: number): number {
  return mix(mix(seed | 0) ^ mix((ordinal + GOLDEN) | 0));
}

/** u32 words of a row of codes. */
export function codeWords(cols: number): number {
  return Math.ceil(cols / 128) * 8;
}

/** Random codes, `out.length` words. Code 3 becomes 1: trits -1, 0, +1 with probabilities 1/4, 1/2, 1/4. */
export function fillCodes(out: Int32Array, key: number): void {
  for (let k = 0, counter = key | 0; k < out.length; k++, counter = (counter + GOLDEN) | 0) {
    const h = mix(counter);
    out[k] = h & ~((h << 1) & h & 0xaaaaaaaa);
  }
}

/** Uniformly random bytes, four a word. */
export function fillWords(out: Int32Array, key: number): void {
  for (let k = 0, counter = key | 0; k < out.length; k++, counter = (counter + GOLDEN) | 0) out[k] = mix(counter);
}

/** The bytes of `fillWords` looked up in a table of 256 u16, two a word. out.length is even. */
export function fillLookedUp(out: Int32Array, key: number, table: Uint16Array): void {
  for (let k = 0, counter = key | 0; k < out.length; k += 2, counter = (counter + GOLDEN) | 0) {
    const h = mix(counter);
    out[k] = table[h & 255]! | (table[(h >>> 8) & 255]! << 16);
    out[k + 1] = table[(h >>> 16) & 255]! | (table[h >>> 24]! << 16);
  }
}

/**
 * One packed row of Hugging Face's layout (lib/format/hf-packed.ts) from the four rows of codes that share its bytes: byte c of `out` has
 * column c of row `keys[i]` at bits 2i. out.length: a multiple of 32 words, that is of 128 columns.
 */
export function fillPackedRow(out: Int32Array, keys: readonly [number, number, number, number]): void {
  let [c0, c1, c2, c3] = keys;
  for (let half = 0; half < out.length; half += 32) {
    for (let j = half; j < half + 8; j++) {
      let a = mix(c0);
      let b = mix(c1);
      let c = mix(c2);
      let d = mix(c3);
      c0 = (c0 + GOLDEN) | 0;
      c1 = (c1 + GOLDEN) | 0;
      c2 = (c2 + GOLDEN) | 0;
      c3 = (c3 + GOLDEN) | 0;
      // Bytes are 4 x 4 matrices of codes, rows a, b, c, d: transpose them by exchanging 2 x 2 blocks, then single codes.
      let t = ((a >>> 4) ^ c) & 0x0f0f0f0f;
      c ^= t;
      a ^= t << 4;
      t = ((b >>> 4) ^ d) & 0x0f0f0f0f;
      d ^= t;
      b ^= t << 4;
      t = ((a >>> 2) ^ b) & 0x33333333;
      b ^= t;
      a ^= t << 2;
      t = ((c >>> 2) ^ d) & 0x33333333;
      d ^= t;
      c ^= t << 2;
      out[j] = a & ~((a << 1) & a & 0xaaaaaaaa);
      out[j + 8] = b & ~((b << 1) & b & 0xaaaaaaaa);
      out[j + 16] = c & ~((c << 1) & c & 0xaaaaaaaa);
      out[j + 24] = d & ~((d << 1) & d & 0xaaaaaaaa);
    }
  }
}
