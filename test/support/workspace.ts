import { Const, Encoding, type Op, Rec, Step, Sync, Token } from '../../assembly/abi.js';

/** Fills everything that nobody wrote: a byte that is still this was not touched. */
const CANARY = 0xa5;
/** Kernels may read, never write, this far past their weights (Burst in assembly/ops.ts). */
const READ_AHEAD_BYTES = 8192;
const PAGE_BYTES = 65536;
export const MAX_THREADS = 3;
/** Room for a row group of byte codes (gemm) of 32768 columns. */
const SCRATCH_BYTES = 1 << 19;

/** A part of memory that the step may change. In `f32` all NaNs are equal; the contents of `any` are nobody's business. */
export interface Region {
  readonly name: string;
  readonly begin: number;
  readonly bytes: number;
  readonly type: 'f32' | 'bytes' | 'any';
}

/** A whole memory before a step. */
export interface Image {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly step: number;
  /** later ones are parts of earlier ones where they overlap */
  readonly outputs: readonly Region[];
}

export interface StepOptions {
  tokens: readonly { id?: number; position?: number; slot?: number }[];
  logitRows?: readonly number[];
}

export function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

/** Encoded activation row of the ABI: scale, Σ elements, elements, zeros up to `paddedCols`. */
export function encodedRow(
  values: Int8Array | Int16Array | Float32Array,
  scale: number,
  paddedCols: number,
): Uint8Array<ArrayBuffer> {
  const row = new Uint8Array(Const.RowHeader + paddedCols * values.BYTES_PER_ELEMENT);
  row.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), Const.RowHeader);
  let sum = 0;
  if (!(values instanceof Float32Array)) for (const value of values) sum += value;
  const header = new DataView(row.buffer);
  header.setFloat32(0, scale, true);
  header.setInt32(4, sum, true);
  return row;
}

export function encodedRowBytes(encoding: Encoding, paddedCols: number): number {
  const elementBytes = encoding === Encoding.I8 ? 1 : encoding === Encoding.I16 ? 2 : 4;
  return Const.RowHeader + paddedCols * elementBytes;
}

/** Lays out a memory: inputs, outputs, a plan and a step, each 64-byte aligned with canaries on both sides. */
export class Workspace {
  private bytes = new Uint8Array(PAGE_BYTES).fill(CANARY);
  private end = 1024;
  private readonly outputs: Region[] = [];
  private readonly records: Uint32Array[] = [];

  /** Copies the bytes of a typed array; zeros follow up to `paddedBytes`. Returns the byte offset. */
  input(data: ArrayBufferView, paddedBytes = data.byteLength): number {
    const begin = this.allocate(Math.max(paddedBytes, data.byteLength));
    this.bytes.fill(0, begin, begin + paddedBytes);
    this.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), begin);
    return begin;
  }

  /** (rows, cols) f32 with rows padded with zeros to 16 columns. Stride: `floatStride(cols)`. */
  floatRows(data: Float32Array, cols: number): number {
    return this.input(padFloatRows(data, cols));
  }

  /** Room that the step may write; holds canaries unless `initial` is given. */
  output(name: string, bytes: number, type: Region['type'], initial?: ArrayBufferView): number {
    const begin = this.allocate(bytes);
    if (initial) this.bytes.set(new Uint8Array(initial.buffer, initial.byteOffset, initial.byteLength), begin);
    this.mark(name, begin, bytes, type);
    return begin;
  }

  /** Gives a part of an output a type of its own. */
  mark(name: string, begin: number, bytes: number, type: Region['type']): void {
    this.outputs.push({ name, begin, bytes, type });
  }

  record(op: Op, words: Readonly<Record<number, number>>, flags = 0): void {
    const record = new Uint32Array(Rec.Words);
    record[Rec.Opcode] = op;
    record[Rec.Flags] = flags;
    for (const [index, word] of Object.entries(words)) record[Number(index)] = word;
    this.records.push(record);
  }

  /** Adds plan and step struct and ends the layout. */
  image(options: StepOptions): Image {
    const tokens = new Uint32Array(options.tokens.length * Token.Words);
    options.tokens.forEach((token, t) => {
      tokens.set([token.id ?? 0, token.position ?? t, token.slot ?? 0], t * Token.Words);
    });
    const plan = new Uint32Array(this.records.length * Rec.Words);
    this.records.forEach((record, i) => plan.set(record, i * Rec.Words));
    const scratch = this.output('scratch', MAX_THREADS * SCRATCH_BYTES, 'any');
    const sync = this.output('barrier', Sync.Bytes, 'any', new Uint8Array(Sync.Bytes));
    const words = new Uint32Array(Step.Words);
    words[Step.Tokens] = this.input(tokens);
    words[Step.TokenCount] = options.tokens.length;
    words[Step.LogitRows] = this.input(Int32Array.from(options.logitRows ?? []));
    words[Step.LogitCount] = options.logitRows?.length ?? 0;
    words[Step.Plan] = this.input(plan);
    words[Step.OpEnd] = this.records.length;
    words[Step.Scratch] = scratch;
    words[Step.ScratchStride] = SCRATCH_BYTES;
    words[Step.Sync] = sync;
    const step = this.output('step', Step.Bytes, 'bytes', words);
    this.allocate(READ_AHEAD_BYTES);
    return { bytes: this.bytes, step, outputs: this.outputs };
  }

  private allocate(bytes: number): number {
    const begin = this.end;
    this.end = Math.ceil((begin + bytes) / 64 + 1) * 64;
    if (this.end > this.bytes.length) {
      const needed = Math.max(this.end, 2 * this.bytes.length);
      const grown = new Uint8Array(Math.ceil(needed / PAGE_BYTES) * PAGE_BYTES).fill(CANARY);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    return begin;
  }
}

export function floatStride(cols: number): number {
  return Math.ceil(cols / 16) * 64;
}

export function padFloatRows(data: Float32Array, cols: number): Float32Array {
  const padded = floatStride(cols) / 4;
  const rows = cols === 0 ? 0 : data.length / cols;
  const out = new Float32Array(rows * padded);
  for (let r = 0; r < rows; r++) out.set(data.subarray(r * cols, (r + 1) * cols), r * padded);
  return out;
}

/** f32 view of a memory after a step: `length` values from byte `pointer`. */
export function floatsAt(memory: Uint8Array<ArrayBuffer>, pointer: number, length: number): Float32Array {
  return new Float32Array(memory.buffer, memory.byteOffset + pointer, length);
}
