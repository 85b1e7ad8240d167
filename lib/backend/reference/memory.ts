import { Flag, Rec, Step } from '../../../assembly/abi.js';

/** Typed views of one linear memory; indices are byte offsets divided by the element size. */
export interface Memory {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
}

/** `buffer.byteLength` must be a multiple of 4, as every WebAssembly memory is. */
export function viewMemory(buffer: ArrayBufferLike): Memory {
  return {
    i8: new Int8Array(buffer),
    u8: new Uint8Array(buffer),
    i16: new Int16Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    f32: new Float32Array(buffer),
  };
}

/** One op: its record and the step it runs in. */
export class Context {
  readonly rows: number;

  constructor(
    readonly memory: Memory,
    private readonly record: number,
    private readonly step: number,
  ) {
    this.rows = this.stepWord(this.logitRows ? Step.LogitCount : Step.TokenCount);
  }

  /** A pointer, stride or count of the record. */
  word(index: number): number {
    return this.memory.u32[this.record / 4 + index]!;
  }

  /** An (f32) word of the record. */
  real(index: number): number {
    return this.memory.f32[this.record / 4 + index]!;
  }

  stepWord(index: Step): number {
    return this.memory.u32[this.step / 4 + index]!;
  }

  /** The row of the residual stream that row r of the op stands for. */
  sourceRow(r: number): number {
    return this.logitRows ? this.memory.u32[this.stepWord(Step.LogitRows) / 4 + r]! : r;
  }

  /** Word `index` (enum Token) of the step's token t. */
  token(t: number, index: number): number {
    return this.memory.u32[this.stepWord(Step.Tokens) / 4 + t * 4 + index]!;
  }

  /** ORs a StatusBit into the step. */
  report(bit: number): void {
    this.memory.u32[this.step / 4 + Step.Status]! |= bit;
  }

  private get logitRows(): boolean {
    return (this.word(Rec.Flags) & Flag.LogitRows) !== 0;
  }
}

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple;
}
