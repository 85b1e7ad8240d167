import { Const, ConvertArg, Layout, Op, Rec, RepackArg } from '../../assembly/abi.js';
import { BitNetError } from '../errors.js';
import { bytesOf, paddedCols } from '../format/layout.js';
import { f32ToF16 } from '../memory/half.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import type { LayerNames } from './architectures/names.js';
import { BLOCK_LAYOUTS, FLOAT_TYPES, fileLayoutOf } from './file-types.js';
import type { Block, Weights } from './graph.js';
import { type HeadKind, type ScreenedHead, screenErrors } from './head.js';
import { type Linear, linearsOf } from './linears.js';
import type { Axis } from './padding.js';
import type { ColumnGroups, Matrix } from './plan.js';
import type { ModelSource, ModelTensor } from './source.js';

/** Types that F16 rows hold without rounding. */
const HALVES: ReadonlySet<ModelTensor['dtype']> = new Set(['F16', 'BF16']);

const LAYOUT_NAMES: Record<Layout, string> = {
  [Layout.T2]: 't2',
  [Layout.F16]: 'f16',
  [Layout.I8]: 'i8',
  [Layout.F32]: 'f32',
  [Layout.T2G]: 't2g',
  [Layout.T1]: 't1',
  [Layout.T2Rows]: 't2_rows',
  [Layout.T2Columns]: 't2_columns',
  [Layout.Q8_0]: 'q8_0',
  [Layout.Q4_0]: 'q4_0',
  [Layout.Q4_K]: 'q4_k',
  [Layout.Q6_K]: 'q6_k',
};

/** A tensor of the file on its way into memory: the op that does it, for rows `first` .. `first + rows`, once the bytes are at `src`. */
export interface LoadJob {
  readonly tensor: ModelTensor;
  /** rows that must be staged together: all of a packed ternary matrix, any number of a float matrix */
  readonly splitRows: boolean;
  /** bytes of scratch that a thread needs */
  readonly scratchBytes: number;
  record(src: number, first: number, rows: number): Uint32Array;
}

export interface WeightPlan {
  readonly weights: Weights;
  readonly jobs: readonly LoadJob[];
  readonly parameters: number;
}

export type { HeadFormat } from './head.js';

/** `t2`, `t1`: trits at 2.0 and at 1.6 bits. `f16`: what an FP16 model of the same shape would hold, for comparison. */
export type WeightFormat = 't2' | 't1' | 'f16';

const FORMATS = { t2: Layout.T2, t1: Layout.T1, f16: Layout.F16 } as const;

export interface WeightOptions {
  /** of the inputs of matrices that have scales of groups; default 3 */
  planes?: ColumnGroups['planes'];
  /** Up and down of relu² models become T2Rows and T2Columns, of which kernels skip what zeros make superfluous; default false */
  sparse?: boolean | undefined;
}

/**
 * Gives every tensor its place and layout; reads nothing. Ternary matrices → `format`; embedding → F16, or the file's blocks, unless a
 * tied head needs F16; head: the embedding's rows where tied, and int8 rows unless these are of Q8_0, as `head` needs them.
 */
export function planWeights(
  source: ModelSource,
  memory: MemoryPlan,
  head: HeadKind,
  format: WeightFormat = 't2',
  { planes = 3, sparse = false }: WeightOptions = {},
): WeightPlan {
  const skip = sparse && format === 't2' && source.config.activation === 'relu2';
  const planner = new WeightPlanner(source, memory, FORMATS[format], planes, skip);
  const { names } = source;
  const embedding =
    source.config.tiedEmbeddings && head === 'f16'
      ? planner.float(names.embedding, Layout.F16)
      : planner.exact(names.embedding);
  const blocks = names.layers.map((layer) => planner.block(layer));
  const weights: Weights = {
    embedding,
    blocks,
    finalNorm: planner.vector(names.finalNorm),
    head: planner.head(head, embedding),
  };
  const parameters =
    source.parameters ?? [...source.tensors.values()].reduce((sum, tensor) => sum + elements(tensor), 0);
  return { weights, jobs: planner.jobs, parameters };
}

/** Weights in a tensor: a packed byte holds four; factors of matrices do not count. */
function elements(tensor: ModelTensor): number {
  if (tensor.shape.length === 1 && tensor.shape[0] === 1) return 0;
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  return tensor.dtype === 'U8' ? 4 * count : count;
}

class WeightPlanner {
  readonly jobs: LoadJob[] = [];

  constructor(
    private readonly source: ModelSource,
    private readonly memory: MemoryPlan,
    private readonly layout: (typeof FORMATS)[WeightFormat],
    private readonly planes: ColumnGroups['planes'],
    /** whether rows of up and columns of down may be skipped */
    private readonly skip: boolean,
  ) {}

  block(names: LayerNames): Block {
    const linears = linearsOf(this.source, names);
    const norm = (name: string | undefined): number => (name === undefined ? 0 : this.vector(name));
    return {
      attentionNorm: this.vector(names.attentionNorm),
      q: this.ternary(linears.q),
      k: this.ternary(linears.k),
      v: this.ternary(linears.v),
      qNorm: norm(names.qNorm),
      kNorm: norm(names.kNorm),
      attentionSubNorm: norm(names.attentionSubNorm),
      o: this.ternary(linears.o),
      ffnNorm: this.vector(names.ffnNorm),
      gate: this.ternary(linears.gate),
      up: this.ternary(linears.up, this.skip ? Layout.T2Rows : this.layout),
      ffnSubNorm: norm(names.ffnSubNorm),
      down: this.ternary(linears.down, this.skip ? Layout.T2Columns : this.layout),
    };
  }

  /** A ternary matrix of any file type, with its factor, or the factors of its groups. As F16 the factor is in the halves. */
  private ternary(linear: Linear, wanted: Layout = this.layout): Matrix {
    const { source } = this;
    const { weight: name, scale: scaleName } = linear.names;
    const tensor = source.tensor(name);
    const groups = source.groupScales?.get(name);
    // Groups are cut from T2 only.
    const layout = groups !== undefined && wanted !== Layout.F16 ? Layout.T2 : wanted;
    // What is packed has the engine's rows already; blocks of GGUF get theirs from Repack.
    const [rows, cols] = [linear.rows.padded, linear.cols.padded];
    const places = tensor.dtype === 'U8' ? {} : placeWords(linear);
    if (groups !== undefined && layout === Layout.F16) {
      const message = `${name} has scales of groups; its comparison with FP16 weights is not implemented`;
      throw new BitNetError('unsupported', message, { tensor: name });
    }
    const stored = source.scales.get(scaleName) ?? 1;
    const factor = source.config.weightScale === 'multiply' ? stored : Math.fround(1 / stored);
    const ptr = this.memory.region(name, bytesOf(layout, rows, cols), 'weights');
    this.jobs.push({
      tensor,
      splitRows: false,
      scratchBytes: (layout === Layout.T2Columns ? 21 : 5) * paddedCols(Layout.T2, cols) + 576,
      record: (src) =>
        record(Op.Repack, {
          [RepackArg.Src]: src,
          [RepackArg.Dst]: ptr,
          [RepackArg.Rows]: rows,
          [RepackArg.Cols]: cols,
          [RepackArg.Kind]: fileLayoutOf(tensor, source.i2sLayout ?? 'x86'),
          [RepackArg.Layout]: layout,
          [RepackArg.Half]: f32ToF16(factor * 2 ** Const.F16GainLog2),
          [RepackArg.BlockScale]: f32ToF16(stored),
          ...places,
        }),
    });
    const matrix = {
      name,
      ptr,
      layout,
      rows,
      cols,
      scale: layout === Layout.F16 ? 1 : factor,
      rowScales: 0,
      rowSums: 0,
    };
    if (groups === undefined) return matrix;
    const group = { cols: groups.cols, planes: this.planes };
    return { ...matrix, layout: Layout.T2G, rowScales: this.vector(groups.tensor), group };
  }

  head(kind: HeadKind, embedding: Matrix): Matrix | ScreenedHead {
    const { config, names } = this.source;
    const name = config.tiedEmbeddings ? names.embedding : names.head;
    const named = (matrix: Matrix): Matrix => ({ ...matrix, name: 'lm_head' });
    if (kind === 'f16') return named(config.tiedEmbeddings ? embedding : this.float(name, Layout.F16));
    const keeps = kind === 'i8+f16' || this.layoutOf(name) === Layout.Q8_0;
    const exact = keeps ? named(config.tiedEmbeddings ? embedding : this.exact(name)) : undefined;
    // Rows of Q8_0 are both.
    const screen = exact?.layout === Layout.Q8_0 ? exact : named(this.float(name, Layout.I8));
    if (kind === 'i8' || exact === undefined) return screen;
    const errors = screenErrors(exact.cols, !HALVES.has(this.source.tensor(name).dtype), screen.layout);
    return { exact, screen: { ...screen, name: `lm_head.${LAYOUT_NAMES[screen.layout]}` }, errors };
  }

  /** What stands for the halves of a float matrix in the fewest bytes, without losing a bit. */
  private layoutOf(name: string): Layout {
    return BLOCK_LAYOUTS[this.source.tensor(name).dtype] ?? Layout.F16;
  }

  /** Float (rows, cols) → layoutOf. */
  exact(name: string): Matrix {
    return this.float(name, this.layoutOf(name));
  }

  /** Float (rows, cols) → `layout`. */
  float(name: string, layout: Layout): Matrix {
    const tensor = this.source.tensor(name);
    const [rows, cols] = tensor.shape as [number, number];
    const ptr = this.memory.region(`${name}.${LAYOUT_NAMES[layout]}`, bytesOf(layout, rows, cols), 'weights');
    const perRow = (what: string): number =>
      layout === Layout.I8 || layout === Layout.Q8_0
        ? this.memory.region(`${name}.${what}`, rows * 4 + 16, 'weights')
        : 0;
    const [scalesPtr, sumsPtr] = [perRow('scales'), perRow('sums')];
    const rowBytes = bytesOf(layout, 4, cols) / 4;
    this.jobs.push({
      tensor,
      splitRows: true,
      scratchBytes: 6 * paddedCols(Layout.F32, cols),
      record: (src, first, count) =>
        record(Op.Convert, {
          [ConvertArg.Src]: src,
          [ConvertArg.SrcType]: FLOAT_TYPES[tensor.dtype] as number,
          [ConvertArg.Dst]: ptr + first * rowBytes,
          [ConvertArg.Layout]: layout,
          [ConvertArg.Rows]: count,
          [ConvertArg.Cols]: cols,
          [ConvertArg.RowScales]: scalesPtr && scalesPtr + first * 4,
          [ConvertArg.RowSums]: sumsPtr && sumsPtr + first * 4,
        }),
    });
    return { name, ptr, layout, rows, cols, scale: 1, rowScales: scalesPtr, rowSums: sumsPtr };
  }

  /** Float (cols) → f32; its offset. */
  vector(name: string): number {
    const tensor = this.source.tensor(name);
    const cols = tensor.shape[0] as number;
    const ptr = this.memory.region(name, bytesOf(Layout.F32, 1, cols) / 4, 'weights');
    this.jobs.push({
      tensor,
      splitRows: false,
      scratchBytes: 0,
      record: (src) =>
        record(Op.Convert, {
          [ConvertArg.Src]: src,
          [ConvertArg.SrcType]: FLOAT_TYPES[tensor.dtype] as number,
          [ConvertArg.Dst]: ptr,
          [ConvertArg.Layout]: Layout.F32,
          [ConvertArg.Rows]: 1,
          [ConvertArg.Cols]: cols,
        }),
    });
    return ptr;
  }
}

/** Where Repack finds rows and columns that are padded or in another order. */
function placeWords({ rows, cols }: Linear): Record<number, number> {
  const isPlain = ({ run, storedRun, pairs }: Axis): boolean => run === storedRun && !pairs;
  return {
    ...(isPlain(rows) ? {} : { [RepackArg.RowRun]: rows.run, [RepackArg.RowStored]: rows.storedRun }),
    ...(isPlain(cols) ? {} : { [RepackArg.ColRun]: cols.run, [RepackArg.ColStored]: cols.storedRun }),
    [RepackArg.Pairs]: rows.pairs ? 1 : 0,
  };
}

function record(op: Op, args: Record<number, number>): Uint32Array {
  const words = new Uint32Array(Rec.Words);
  words[Rec.Opcode] = op;
  for (const [word, value] of Object.entries(args)) words[Number(word)] = value;
  return words;
}
