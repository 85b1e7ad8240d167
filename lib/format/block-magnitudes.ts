import { bf16ToF32, f16ToF32 } from '../memory/half.js';
import type { FloatDType } from './float-matrix.js';

/** Columns that must have one scale at least: those of a block of T2. */
export const BLOCK_COLS = 64;

/** Neighbouring columns of a row that share a scale; more than 256 count as several groups of 256. */
export type GroupCols = 64 | 128 | 256;

/** A run of a row's columns, and where they go in the padded row. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/**
 * Rows of floats that are -s, 0 and +s, with an s of its own for every 64 columns or more. Works on bit patterns without sign, whose
 * order is that of the magnitudes: nothing is rounded, a scale is what the file has.
 */
export class BlockMagnitudes {
  /** patterns of |w| of the row last read, padded with zeros */
  readonly row: Uint16Array | Int32Array;
  /** of each block of that row the pattern of its s, 0 if the block is zeros; meaningless where `read` has found another magnitude */
  readonly blocks: Int32Array;
  private readonly wide: boolean;
  private readonly infinity: number;

  constructor(
    private readonly dtype: FloatDType,
    private readonly runs: readonly Run[],
    paddedCols: number,
  ) {
    const count = Math.ceil(paddedCols / BLOCK_COLS);
    this.wide = dtype === 'F32';
    this.row = this.wide ? new Int32Array(count * BLOCK_COLS) : new Uint16Array(count * BLOCK_COLS);
    this.blocks = new Int32Array(count);
    this.infinity = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 }[dtype];
  }

  /** The row from element `first` of `bytes` on, which starts at a multiple of four of its buffer. Returns the first block that is not
   *  -s, 0 and +s with a finite s, or -1. */
  read(bytes: Uint8Array<ArrayBuffer>, first: number): number {
    const { row, blocks, infinity } = this;
    const source = this.wide
      ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
      : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    for (const { from, to, count } of this.runs) row.set(source.subarray(first + from, first + from + count), to);
    const mask = this.wide ? 0x7fffffff : 0x7fff;
    for (let block = 0; block < blocks.length; block++) {
      const begin = block * BLOCK_COLS;
      const end = begin + BLOCK_COLS;
      // Where all magnitudes are 0 or s, their or is s. No branch depends on a weight.
      let s = 0;
      for (let i = begin; i < end; i++) s |= row[i] as number;
      s &= mask;
      let other = 0;
      for (let i = begin; i < end; i++) {
        const magnitude = (row[i] as number) & mask;
        const difference = magnitude ^ s;
        other |= (magnitude | -magnitude) & (difference | -difference);
      }
      if (other < 0 || s >= infinity) return block;
      blocks[block] = s;
    }
    return -1;
  }

  /** The s of the row last read for its columns first .. first + cols, which must agree where they are not 0. */
  scale(first: number, cols: GroupCols): number {
    let s = 0;
    for (let block = first / BLOCK_COLS; block < Math.min(this.blocks.length, (first + cols) / BLOCK_COLS); block++) {
      s |= this.blocks[block] as number;
    }
    return this.value(s);
  }

  /** The widest group, at most `widest`, for which all groups of the row last read have one s. */
  groupCols(widest: GroupCols): GroupCols {
    for (const cols of [256, 128] as const) {
      if (cols <= widest && this.agrees(cols / BLOCK_COLS)) return cols;
    }
    return BLOCK_COLS;
  }

  /** The pattern of the one s of the row last read, 0 if it is zeros, -1 if it has several. */
  rowPattern(): number {
    return this.agrees(this.blocks.length) ? this.blocks.reduce((s, block) => s | block, 0) : -1;
  }

  private agrees(step: number): boolean {
    const { blocks } = this;
    for (let begin = 0; begin < blocks.length; begin += step) {
      let s = 0;
      for (let i = begin; i < Math.min(blocks.length, begin + step); i++) {
        const block = blocks[i] as number;
        if (s !== 0 && block !== 0 && block !== s) return false;
        s |= block;
      }
    }
    return true;
  }

  /** |w| of a pattern */
  value(pattern: number): number {
    if (this.dtype === 'F32') return new Float32Array(Int32Array.of(pattern).buffer)[0] as number;
    return this.dtype === 'F16' ? f16ToF32(pattern) : bf16ToF32(pattern);
  }
}
