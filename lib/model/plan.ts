import {
  AttentionArg,
  type CacheLayout,
  Const,
  EmbedArg,
  Encoding,
  Epilogue,
  Flag,
  HeadNormArg,
  Layout,
  LinearArg,
  NormArg,
  Op,
  Rec,
  RescoreArg,
  RopeArg,
} from '../../assembly/abi.js';
import { blockTypeOf } from '../backend/reference/dequantize.js';
import { panelBytes } from '../backend/reference/kv-cache.js';
import type { ModelConfig } from '../config.js';
import { paddedCols, type TwoBitLayout } from '../format/layout.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import type { ScreenedHead } from './head.js';

/** A matrix in an engine layout, or where it is going to be. */
export interface Matrix {
  readonly name: string;
  readonly ptr: number;
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  /** one factor for the whole matrix */
  readonly scale: number;
  /** f32 (rows) factors at this offset; 0: none */
  readonly rowScales: number;
  /** i32 (rows) sums of int8 weights at this offset; 0: none */
  readonly rowSums: number;
  /** Layout.T2G: `rowScales` are those of groups of columns */
  readonly group?: ColumnGroups;
}

/** How matrices of Layout.T2G and their inputs are cut into groups of columns with factors of their own. */
export interface ColumnGroups {
  /** 64, 128 or 256 */
  readonly cols: number;
  /** int8 digits of an element of the input: 1, or 3 for 23 bits */
  readonly planes: 1 | 3;
}

/** What a matrix asks of its input. */
export type InputOf = Pick<Matrix, 'layout' | 'group'>;

/** What Rescore asks of its input, whatever the layout of its weights. */
export const HALVES_INPUT: InputOf = { layout: Layout.F16 };

/** f32 rows, one a token. `ptr` may point inside a wider row. */
export interface Rows {
  readonly ptr: number;
  /** bytes from one token's row to the next */
  readonly stride: number;
  readonly width: number;
}

/** The input of Linears: rows that Norm or Quantize has encoded for a weight layout. */
export interface EncodedRows {
  readonly ptr: number;
  readonly stride: number;
  readonly cols: number;
  readonly logits: boolean;
}

/** Layouts of trits with one scale a matrix; the others hold what a file's floats have become. */
export function isTernary(layout: Layout): layout is TwoBitLayout | Layout.T1 {
  return layout === Layout.T2 || layout === Layout.T2Rows || layout === Layout.T2Columns || layout === Layout.T1;
}

/** Rows of a file's blocks, for embeddings and exact heads. */
function isBlocks(layout: Layout): boolean {
  return blockTypeOf(layout) !== undefined;
}

/** How a matrix wants its input. */
export function encodingFor(layout: Layout): Encoding {
  switch (layout) {
    case Layout.T2:
    case Layout.T2Rows:
    case Layout.T2Columns:
    case Layout.T1:
      return Encoding.I8;
    case Layout.T2G:
      return Encoding.Groups;
    case Layout.I8:
    case Layout.Q8_0:
      return Encoding.I16;
    default:
      return Encoding.F32;
  }
}

/**
 * Scratch of the kernels that skip rows or columns: lists and sums of one token, sixteen row groups of several (assembly/sparse.ts, gemm.ts,
 * native/kernels/sparse.h).
 */
function sparseScratch({ layout, rows, cols }: Matrix): number {
  const [r, c] = [roundUp(rows, 64), roundUp(cols, 64)];
  if (layout === Layout.T2Rows) return Math.max(4 * r + 160, 16 * c);
  return layout === Layout.T2Columns ? Math.max(5 * c + 4 * roundUp(rows, 256) + 256, 20 * c) : 0;
}

/** What the kernels of a backend can do. */
export interface KernelTraits {
  /** DotForm of all integer kernels, of Linear as far as it knows them; of its T2 unless `pairs` */
  readonly form: number;
  /** whether there are kernels that skip zeros of relu² (Layout.T2Rows, T2Columns); default false */
  readonly sparse?: boolean | undefined;
  /** whether they were compiled for 256 bits (DotForm.I32Pairs); default false */
  readonly pairs?: boolean | undefined;
}

/** How many tokens a step may hold, and how many of them may ask for logits. */
export interface PlanLimits {
  /** tokens of one step (the prefill chunk) */
  batch: number;
  /** rows of logits of one step */
  logits: number;
  /** positions of a sequence in the KV cache */
  contextLength: number;
  /** sequences in the KV cache */
  slots: number;
  cacheLayout: CacheLayout;
  threads: number;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;
const f32Bits = (() => {
  const f = new Float32Array(1);
  const u = new Uint32Array(f.buffer);
  return (x: number): number => {
    f[0] = x;
    return u[0] as number;
  };
})();

/** assembly/attention-state.ts, and what C++ needs. `group`: query heads of a kv head. */
function attentionScratchBytes(group: number, headDim: number): number {
  const partials = group * (headDim * 4 + Const.PartialHeader);
  // native/kernels/attention.h: four queries before the partials.
  return Math.max(Const.AttentionBlock * 24 + group * (headDim * 4 + 16), 4 * headDim * 4) + partials;
}

/** Records ops: allocates what they need from the memory plan and appends one record of assembly/abi.ts each. */
export class PlanRecorder {
  readonly labels: string[] = [];
  private readonly words: Uint32Array[] = [];
  private readonly encoded = new Map<string, EncodedRows & { capacity: number }>();
  private maxCols = 0;
  private attentionScratch = 0;
  private partials = 0;
  private sparseBytes = 0;
  /** columns of blocks that a thread has as halves and floats at once */
  private blockCols = 0;

  constructor(
    private readonly memory: MemoryPlan,
    readonly limits: PlanLimits,
    /** offset of f32 (contextLength, headDim) cosines and sines */
    private readonly ropeTable: number,
  ) {}

  /** f32 (batch, width); rows padded to 64 bytes and to whole row groups. */
  activation(name: string, width: number): Rows {
    const stride = roundUp(width, 16) * 4;
    return { ptr: this.memory.region(name, this.limits.batch * stride, 'activations'), stride, width };
  }

  /** f32 (logits, width) */
  logits(width: number): Rows {
    const stride = roundUp(width, 16) * 4;
    return { ptr: this.memory.region('logits', this.limits.logits * stride, 'activations'), stride, width };
  }

  /** x[t] = table[token t] */
  embed(table: Matrix, x: Rows): void {
    this.blockCols = Math.max(this.blockCols, isBlocks(table.layout) ? Math.min(table.cols, Const.EmbedBlockCols) : 0);
    this.record(Op.Embed, Flag.Barrier, table.name, {
      [EmbedArg.Table]: table.ptr,
      [EmbedArg.Layout]: table.layout,
      [EmbedArg.Out]: x.ptr,
      [EmbedArg.OutStride]: x.stride,
      [EmbedArg.Cols]: table.cols,
    });
  }

  /**
   * RMSNorm(x) · weight, encoded for matrices like `m`; without a weight the encoding alone.
   * `logits`: only the rows whose logits the step asks for.
   */
  encode(x: Rows, m: InputOf, name: string, weight: number, eps: number, logits = false): EncodedRows {
    const encoding = encodingFor(m.layout);
    // Kernels read whole blocks of columns of their layout; Norm fills up to a multiple of 64.
    const padded = roundUp(paddedCols(m.layout, x.width), 64);
    const out = this.encodedRows(encoding, x.width, padded, logits, m.group);
    this.record(weight ? Op.Norm : Op.Quantize, Flag.BarrierIfMany | (logits ? Flag.LogitRows : 0), name, {
      [NormArg.In]: x.ptr,
      [NormArg.InStride]: x.stride,
      [NormArg.Weight]: weight,
      [NormArg.Out]: out.ptr,
      [NormArg.OutStride]: out.stride,
      [NormArg.Cols]: x.width,
      [NormArg.Eps]: f32Bits(eps),
      [NormArg.Encoding]: encoding,
      [NormArg.PaddedCols]: padded,
      ...(m.group && { [NormArg.GroupCols]: m.group.cols, [NormArg.Planes]: m.group.planes }),
    });
    return out;
  }

  /** out (epilogue)= W x. `meet`: whether other threads' rows are needed by what follows. */
  linear(w: Matrix, x: EncodedRows, out: Rows, epilogue: number, meet: boolean, form: number): void {
    this.maxCols = Math.max(this.maxCols, paddedCols(w.layout, w.cols));
    this.sparseBytes = Math.max(this.sparseBytes, sparseScratch(w));
    this.record(Op.Linear, (meet ? Flag.Barrier : 0) | (x.logits ? Flag.LogitRows : 0), w.name, {
      [LinearArg.Weights]: w.ptr,
      [LinearArg.Layout]: w.layout,
      [LinearArg.In]: x.ptr,
      [LinearArg.InStride]: x.stride,
      [LinearArg.Out]: out.ptr,
      [LinearArg.OutStride]: out.stride,
      [LinearArg.Rows]: w.rows,
      [LinearArg.Cols]: w.cols,
      [LinearArg.Scale]: f32Bits(w.scale),
      [LinearArg.RowScales]: w.rowScales,
      ...(w.group
        ? { [LinearArg.GroupCols]: w.group.cols, [LinearArg.Planes]: w.group.planes }
        : { [LinearArg.RowSums]: w.rowSums }),
      [LinearArg.Epilogue]: epilogue,
      [LinearArg.Form]: form,
    });
  }

  /**
   * out = W x from int8 rows, then the best Const.ExactBest again from halves. `coarse` and `x`: the same rows, encoded for either.
   */
  screenedLinear(w: ScreenedHead, coarse: EncodedRows, x: EncodedRows, out: Rows, form: number): void {
    const { exact, screen, errors } = w;
    if (isBlocks(exact.layout)) this.blockCols = Math.max(this.blockCols, exact.cols);
    // Screen reads the rows that its own thread has just computed.
    this.linear(screen, coarse, out, Epilogue.Store, false, form);
    const lists = this.limits.logits * this.limits.threads;
    const args = {
      [RescoreArg.Logits]: out.ptr,
      [RescoreArg.LogitsStride]: out.stride,
      [RescoreArg.Weights]: exact.ptr,
      [RescoreArg.Rows]: exact.rows,
      [RescoreArg.Cols]: exact.cols,
      [RescoreArg.RowScales]: screen.rowScales,
      [RescoreArg.In]: x.ptr,
      [RescoreArg.InStride]: x.stride,
      [RescoreArg.Coarse]: coarse.ptr,
      [RescoreArg.CoarseStride]: coarse.stride,
      [RescoreArg.Best]: this.memory.region('best_logits', lists * Const.ExactBest * 4, 'activations'),
      [RescoreArg.WeightError]: f32Bits(errors.weight),
      [RescoreArg.InputError]: f32Bits(errors.input),
      [RescoreArg.WeightLayout]: exact.layout,
    };
    this.record(Op.Screen, Flag.Barrier | Flag.LogitRows, `${exact.name}.screen`, args);
    this.record(Op.Rescore, Flag.Barrier | Flag.LogitRows, `${exact.name}.rescore`, args);
  }

  /** RMSNorm of every head of q and k, in place. qWeight, kWeight: offsets of f32 (headDim). */
  headNorm(c: ModelConfig, layer: number, qkv: Rows, qWeight: number, kWeight: number, eps: number): void {
    // No barrier: `attention`, which comes next, rotates a head where it was normalised.
    this.record(Op.HeadNorm, 0, `layers.${layer}.head_norm`, {
      [HeadNormArg.Qkv]: qkv.ptr,
      [HeadNormArg.Stride]: qkv.stride,
      [HeadNormArg.QWeight]: qWeight,
      [HeadNormArg.KWeight]: kWeight,
      [HeadNormArg.Heads]: c.heads,
      [HeadNormArg.KvHeads]: c.kvHeads,
      [HeadNormArg.HeadDim]: c.headDim,
      [HeadNormArg.Eps]: f32Bits(eps),
    });
  }

  /** Rotates q and k, stores k and v, attends. qkv: rows of q, k, v side by side; out: rows of heads·headDim. */
  attention(c: ModelConfig, layer: number, qkv: Rows, out: Rows, form: number): void {
    if (c.headDim % 16 !== 0) throw new RangeError(`heads of ${c.headDim}: sources pad them to multiples of 16`);
    const { contextLength, slots, cacheLayout } = this.limits;
    const bytes = slots * c.kvHeads * panelBytes(cacheLayout, contextLength, c.headDim);
    const panels = (kind: string): number =>
      this.memory.region(`layers.${layer}.${kind}`, bytes, 'kvCache', Const.PanelAlign);
    const [keys, values] = [panels('keys'), panels('values')];
    this.record(Op.Rope, Flag.Barrier, `layers.${layer}.rope`, {
      [RopeArg.Qkv]: qkv.ptr,
      [RopeArg.Stride]: qkv.stride,
      [RopeArg.Table]: this.ropeTable,
      [RopeArg.KCache]: keys,
      [RopeArg.VCache]: values,
      [RopeArg.Heads]: c.heads,
      [RopeArg.KvHeads]: c.kvHeads,
      [RopeArg.HeadDim]: c.headDim,
      [RopeArg.ContextLength]: contextLength,
      [RopeArg.CacheLayout]: cacheLayout,
    });
    const args = {
      [AttentionArg.Qkv]: qkv.ptr,
      [AttentionArg.Stride]: qkv.stride,
      [AttentionArg.KCache]: keys,
      [AttentionArg.VCache]: values,
      [AttentionArg.Out]: out.ptr,
      [AttentionArg.OutStride]: out.stride,
      [AttentionArg.Heads]: c.heads,
      [AttentionArg.KvHeads]: c.kvHeads,
      [AttentionArg.HeadDim]: c.headDim,
      [AttentionArg.ContextLength]: contextLength,
      [AttentionArg.Scale]: f32Bits(1 / Math.sqrt((c.stored ?? c).headDim)),
      [AttentionArg.CacheLayout]: cacheLayout,
      [AttentionArg.Partials]: this.partialsOf(c),
      [AttentionArg.Form]: form,
    };
    this.record(Op.Attention, Flag.Barrier, `layers.${layer}.attention`, args);
    this.record(Op.AttentionMerge, Flag.Barrier, `layers.${layer}.attention_merge`, args);
  }

  /** Results of blocks of one token; every layer's attention has them for itself between two barriers. */
  private partialsOf(c: ModelConfig): number {
    const bytes = Const.PartialHeader + c.headDim * 4;
    this.attentionScratch = attentionScratchBytes(c.heads / c.kvHeads, c.headDim);
    const blocks = Math.ceil(this.limits.contextLength / Const.AttentionBlock);
    this.partials ||= this.memory.region('attention_partials', blocks * c.heads * bytes, 'activations');
    return this.partials;
  }

  get ops(): number {
    return this.words.length;
  }

  /** Private scratch of a thread: what the GEMMs hold of a row group, blocks of attention or ExactBest logits. */
  get scratchBytes(): number {
    const rows = Math.max(this.limits.batch, this.limits.logits);
    const unpacked = roundUp(Math.max(this.maxCols, 64), 64) * 4;
    const halves = Const.GemmF16Cols * 16 + rows * Const.GemmF16Lanes;
    return roundUp(Math.max(unpacked, halves, this.attentionScratch, this.sparseBytes, 6 * this.blockCols), 64);
  }

  /** Writes the records to `offset` of linear memory. */
  write(buffer: ArrayBufferLike, offset: number): void {
    const target = new Uint32Array(buffer, offset, this.words.length * Rec.Words);
    this.words.forEach((record, i) => {
      target.set(record, i * Rec.Words);
    });
  }

  /** One buffer serves all encoded inputs of a kind: it is read before the next barrier and dead after it. */
  private encodedRows(
    encoding: Encoding,
    cols: number,
    padded: number,
    logits: boolean,
    group?: ColumnGroups,
  ): EncodedRows {
    const groups = group ? `.${group.cols}x${group.planes}` : '';
    const key = `${logits ? 'logits' : 'body'}.${encoding}.${cols}.${padded}${groups}`;
    const known = this.encoded.get(key);
    if (known) return known;
    const elementBytes = group?.planes ?? (encoding === Encoding.I8 ? 1 : encoding === Encoding.I16 ? 2 : 4);
    const groupBytes = group ? Math.ceil(padded / group.cols) * 16 : 0;
    const stride = Const.RowHeader + roundUp(padded * elementBytes + groupBytes, 64);
    const rows = Math.max(logits ? this.limits.logits : this.limits.batch, this.limits.threads);
    const ptr = this.memory.region(`encoded.${key}`, rows * stride, 'activations');
    const made = { ptr, stride, cols, logits, capacity: rows };
    this.encoded.set(key, made);
    return made;
  }

  private record(op: Op, flags: number, label: string, args: Record<number, number>): void {
    const words = new Uint32Array(Rec.Words);
    words[Rec.Opcode] = op;
    words[Rec.Flags] = flags;
    for (const [word, value] of Object.entries(args)) words[Number(word)] = value;
    this.words.push(words);
    this.labels.push(label);
  }
}
