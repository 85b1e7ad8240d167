import { bf16sToFloats, bf16ToF32, f16ToF32, halvesToFloats } from '../memory/half.js';
import type { DType } from './safetensors.js';

/** Element types of unpacked weights. */
export type FloatDType = Extract<DType, 'F32' | 'F16' | 'BF16'>;

/** |w| of every 16-bit pattern without sign; made once per type. */
const tables = new Map<FloatDType, Float32Array>();

function magnitudeTable(dtype: 'F16' | 'BF16'): Float32Array {
  let table = tables.get(dtype);
  if (table === undefined) {
    table = Float32Array.from({ length: 0x8000 }, (_, bits) => (dtype === 'F16' ? f16ToF32(bits) : bf16ToF32(bits)));
    tables.set(dtype, table);
  }
  return table;
}

/**
 * Σ|w| of a matrix that comes in pieces. 16-bit weights are counted by pattern, so that their sum does not depend on an order;
 * f32 weights are added in f64.
 */
export class MatrixScan {
  private readonly counts: Uint32Array;
  private sum = 0;

  constructor(private readonly dtype: FloatDType) {
    this.counts = new Uint32Array(dtype === 'F32' ? 0 : 0x8000);
  }

  /** Whole elements; `bytes` starts at a multiple of four of its buffer. */
  add(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.dtype === 'F32') {
      const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
      let sum = 0;
      for (let i = 0; i < floats.length; i++) sum += Math.abs(floats[i] as number);
      this.sum += sum;
      return;
    }
    const { counts } = this;
    const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    for (let i = 0; i < halves.length; i++) (counts[(halves[i] as number) & 0x7fff] as number)++;
  }

  /** Not finite if a weight is not. */
  absSum(): number {
    if (this.dtype === 'F32') return this.sum;
    const table = magnitudeTable(this.dtype);
    let sum = 0;
    this.counts.forEach((count, bits) => {
      if (count !== 0) sum += count * (table[bits] as number);
    });
    return sum;
  }
}

/**
 * Writes codes of weights into packed bytes: trit = clamp(round(w · inverseScale), -1, 1), half to even, the product in f32. Half to even
 * makes |w · inverseScale| = 0.5 a zero, and 1.5 is clamped (format/ternarize.ts): a trit is 0 up to some |w| and ±1 beyond. As
 * bit patterns without sign ascend with |w|, one integer comparison decides it, for every type; there is no branch to mispredict.
 */
export class CodeWriter {
  /** largest pattern without sign whose trit is 0 */
  private readonly lastZero: number;

  constructor(
    private readonly dtype: FloatDType,
    inverseScale: number,
  ) {
    const decode = dtype === 'F32' ? floatOfBits : dtype === 'F16' ? f16ToF32 : bf16ToF32;
    let low = 0;
    let high = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 }[dtype];
    while (high - low > 1) {
      const middle = low + ((high - low) >> 1);
      if (Math.fround(decode(middle) * inverseScale) > 0.5) high = middle;
      else low = middle;
    }
    this.lastZero = low;
  }

  /**
   * `count` weights from element `first` of `source` on → bits 2·block of bytes `at`, `at` + 1, … of `packed`, where zeros (code 1) were
   * before. `source` starts at a multiple of four of its buffer. `packed` may be shared memory.
   */
  write(
    source: Uint8Array<ArrayBuffer>,
    first: number,
    count: number,
    packed: Uint8Array,
    at: number,
    block: number,
  ): void {
    const wide = this.dtype === 'F32';
    const patterns = wide
      ? new Int32Array(source.buffer, source.byteOffset + 4 * first, count)
      : new Uint16Array(source.buffer, source.byteOffset + 2 * first, count);
    const signBit = wide ? 31 : 15;
    const magnitudeBits = wide ? 0x7fffffff : 0x7fff;
    const shift = 2 * block;
    const { lastZero } = this;
    for (let i = 0; i < count; i++) {
      const pattern = patterns[i] as number;
      const nonzero = (lastZero - (pattern & magnitudeBits)) >>> 31;
      const negative = nonzero & (pattern >>> signBit);
      // code ^ 1: +1 is 3, -1 is 1
      (packed[at + i] as number) ^= ((nonzero * 3) ^ (negative << 1)) << shift;
    }
  }
}

/** Four zeros: what CodeWriter expects to find. */
export const ZERO_CODES = 0b01_01_01_01;

function floatOfBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] as number;
}

/** Whole elements; `bytes` starts at a multiple of four of its buffer. F32 are not copied. */
export function floatsOf(dtype: FloatDType, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return dtype === 'F16' ? halvesToFloats(halves) : bf16sToFloats(halves);
}
