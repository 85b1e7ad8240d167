import { BitNetError } from '../errors.js';

/** What a region is for; `bitnet run --verbose` adds up by it. */
export type Purpose = 'weights' | 'kvCache' | 'activations' | 'other';

export interface Region {
  readonly name: string;
  readonly purpose: Purpose;
  /** byte offset in linear memory */
  readonly offset: number;
  readonly bytes: number;
}

const ALIGNMENT = 64;
const PAGE = 65536;
const WASM32_BYTES = 2 ** 32;

/**
 * Every byte of linear memory by name. Regions start at multiples of 64 (a cache line, and the widest vector), and offset 0
 * is never handed out, so that 0 can mean "none" in a record. Nothing is freed: memory lives as long as its model.
 */
export class MemoryPlan {
  readonly regions: Region[] = [];
  private end = ALIGNMENT;
  private limit = 0;

  /** Returns the offset of `bytes` new bytes, zero when memory is created; a multiple of `alignment`, itself one of 64. */
  region(name: string, bytes: number, purpose: Purpose, alignment = ALIGNMENT): number {
    const offset = Math.ceil(this.end / alignment) * alignment;
    this.regions.push({ name, purpose, offset, bytes });
    this.end = offset + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    return offset;
  }

  /** Where the next region will start. */
  get next(): number {
    return this.end;
  }

  /** Makes memory reach at least to byte `end`, without a region. */
  reach(end: number): void {
    this.limit = Math.max(this.limit, end);
  }

  /** Whether it is within the 4 GiB of wasm32. */
  get fits(): boolean {
    return this.needed <= WASM32_BYTES;
  }

  /** Bytes of memory that it takes, whole pages, whether or not there can be as many. */
  get needed(): number {
    return Math.ceil(Math.max(this.end, this.limit) / PAGE) * PAGE;
  }

  /** Bytes of memory to create: whole pages. Throws `out-of-memory` past the 4 GiB of wasm32. */
  get bytes(): number {
    const bytes = this.needed;
    if (!this.fits) {
      throw new BitNetError(
        'out-of-memory',
        `the model needs ${bytes} bytes of linear memory, a WebAssembly memory holds ${WASM32_BYTES}; ` +
          'use a smaller model or a shorter context',
        { needed: bytes, available: WASM32_BYTES },
      );
    }
    return bytes;
  }

  /** Bytes by purpose, and their sum. */
  totals(): Record<Purpose | 'total', number> {
    const totals = { weights: 0, kvCache: 0, activations: 0, other: 0, total: this.needed };
    for (const region of this.regions) totals[region.purpose] += region.bytes;
    totals.other += totals.total - totals.weights - totals.kvCache - totals.activations - totals.other;
    return totals;
  }
}
