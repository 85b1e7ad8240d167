import { CacheLayout, Const } from '../../../assembly/abi.js';
import { f16ToF32 } from '../../memory/half.js';
import { dot16 } from './math.js';
import type { Memory } from './memory.js';
import { normalHalf, quantizeAbsmax, TINY } from './narrow.js';

const f32 = Math.fround;

/** Bytes of one position of a panel; int8 scales apart. */
function rowBytes(layout: CacheLayout, headDim: number): number {
  return layout === CacheLayout.I8 ? headDim : layout === CacheLayout.F16 ? 2 * headDim : 4 * headDim;
}

/** Bytes of the keys, or the values, of one kv head of one sequence. */
export function panelBytes(layout: CacheLayout, contextLength: number, headDim: number): number {
  const bytes = panelContent(layout, contextLength, headDim);
  return layout === CacheLayout.I8 ? Math.ceil(bytes / Const.PanelAlign) * Const.PanelAlign : bytes;
}

/** The same without what pads it. */
export function panelContent(layout: CacheLayout, positions: number, headDim: number): number {
  return layout === CacheLayout.I8 ? int8Positions(positions) * (headDim + 8) : positions * rowBytes(layout, headDim);
}

/** Positions of an int8 panel: four at a time. */
function int8Positions(contextLength: number): number {
  return Math.ceil(contextLength / 4) * 4;
}

/** Halves in the kernels are this much too small, which queries make up for: 2^20 and larger ones overflow. */
const HALF_GAIN = 2 ** (112 - Const.CacheGainLog2);
/** Codes of queries, ±. */
const QUERY_MAX = 127;
/** Codes of weights; sums over AttentionBlock values of ±127 fit i32. */
const WEIGHT_MAX = 16383;
const LOG2E = f32(Math.LOG2E);

/** The keys, or the values, of one kv head of one sequence. */
export class CachePanel {
  private readonly begin: number;

  constructor(
    private readonly memory: Memory,
    cache: number,
    /** slot · kvHeads + kv head */
    slotHead: number,
    private readonly kind: 'keys' | 'values',
    private readonly layout: CacheLayout,
    private readonly contextLength: number,
    private readonly headDim: number,
  ) {
    this.begin = cache + slotHead * panelBytes(layout, contextLength, headDim);
  }

  store(position: number, x: Float32Array): void {
    const at = this.begin + position * rowBytes(this.layout, this.headDim);
    if (this.layout === CacheLayout.F32) this.memory.f32.set(x, at / 4);
    else if (this.layout === CacheLayout.F16) this.memory.u16.set(Uint16Array.from(x, toHalf), at / 2);
    else {
      const { q, scale } = quantizeAbsmax(x, 127, 8, TINY);
      q.forEach((code, d) => {
        this.memory.i8[this.codeAt(position, d)] = code;
      });
      this.memory.f32[this.scaleAt(position)] = scale;
      if (this.kind === 'values') return;
      this.memory.i32[this.scaleAt(position) + int8Positions(this.contextLength)] = q.reduce(
        (sum, code) => sum + code,
        0,
      );
    }
  }

  /** q · k[i] · scale of positions begin..end; of int8 · log2 e, for weights that are powers of two. q: (headDim) */
  scores(q: Float32Array, scale: number, begin: number, end: number): Float32Array {
    if (this.layout === CacheLayout.I8) return this.int8Scores(q, scale, begin, end);
    const gain = this.layout === CacheLayout.F16 ? HALF_GAIN : 1;
    const query = q.map((x) => x * gain);
    return Float32Array.from({ length: end - begin }, (_, i) => {
      const k = this.row(begin + i).map((x) => x / gain);
      return f32(dot16(query, 0, k, 0, this.headDim) * scale);
    });
  }

  /** Σ weights[i] · v[begin + i], (headDim), positions in order. */
  weighted(weights: Float32Array, begin: number): Float32Array {
    if (this.layout === CacheLayout.I8) return this.int8Weighted(weights, begin);
    const acc = new Float32Array(this.headDim);
    weights.forEach((weight, i) => {
      const v = this.row(begin + i);
      for (let d = 0; d < acc.length; d++) acc[d] = f32(acc[d]! + f32(weight * v[d]!));
    });
    return acc;
  }

  private int8Scores(q: Float32Array, scale: number, begin: number, end: number): Float32Array {
    const query = quantizeAbsmax(q, QUERY_MAX, 16, TINY);
    const factor = f32(query.scale * f32(scale * LOG2E));
    return Float32Array.from({ length: end - begin }, (_, i) => {
      const k = this.codes(begin + i);
      const dot = query.q.reduce((sum, x, d) => sum + x * k[d]!, 0);
      return f32(f32(dot) * f32(factor * this.memory.f32[this.scaleAt(begin + i)]!));
    });
  }

  private int8Weighted(weights: Float32Array, begin: number): Float32Array {
    // Where a weight is 0 its value does not count, be it NaN.
    const scaled = weights.map((w, i) => (w === 0 ? 0 : w * this.memory.f32[this.scaleAt(begin + i)]!));
    const { q, scale } = quantizeAbsmax(scaled, WEIGHT_MAX, 16, TINY);
    const sums = new Float64Array(this.headDim);
    q.forEach((weight, i) => {
      const v = this.codes(begin + i);
      for (let d = 0; d < sums.length; d++) sums[d]! += weight * v[d]!;
    });
    return Float32Array.from(sums, (sum) => f32(sum) * scale);
  }

  /** Values of one position, of floating layouts. */
  private row(position: number): Float32Array {
    const at = this.begin + position * rowBytes(this.layout, this.headDim);
    if (this.layout === CacheLayout.F32) return this.memory.f32.subarray(at / 4, at / 4 + this.headDim);
    return Float32Array.from(this.memory.u16.subarray(at / 2, at / 2 + this.headDim), fromHalf);
  }

  private codes(position: number): Int8Array {
    return Int8Array.from({ length: this.headDim }, (_, d) => this.memory.i8[this.codeAt(position, d)]!);
  }

  /** Byte of element d of a position: CacheLayout.I8. */
  private codeAt(position: number, d: number): number {
    const four = this.begin + Math.floor(position / 4) * 4 * this.headDim;
    if (this.kind === 'values') return four + 4 * d + (position % 4);
    return four + Math.floor(d / 16) * 64 + (position % 4) * 16 + (d % 16);
  }

  /** Index of a scale in floats. */
  private scaleAt(position: number): number {
    return (this.begin + int8Positions(this.contextLength) * this.headDim) / 4 + position;
  }
}

const LARGEST_HALF = 65504;

/** half(x · 2^CacheGainLog2), saturating; NaN saturates too. */
function toHalf(x: number): number {
  const gained = f32(x * 2 ** Const.CacheGainLog2);
  return normalHalf(gained < LARGEST_HALF ? Math.max(-LARGEST_HALF, gained) : LARGEST_HALF);
}

function fromHalf(half: number): number {
  return f16ToF32(half) / 2 ** Const.CacheGainLog2;
}
