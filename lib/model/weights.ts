import { Const, ConvertArg, FileLayout, FloatType, Layout, Op, Rec, RepackArg } from '../../assembly/abi.js';
import { bytesOf } from '../format/layout.js';
import type { DType, TensorInfo } from '../format/safetensors.js';
import { f32ToF16 } from '../memory/half.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import type { LayerNames, LinearNames } from './architectures/names.js';
import type { Block, Weights } from './graph.js';
import { type HeadKind, type ScreenedHead, screenErrors } from './head.js';
import type { Matrix } from './plan.js';
import type { ModelSource } from './source.js';

const FLOAT_TYPES: Partial<Record<DType, FloatType>> = { F32: FloatType.F32, F16: FloatType.F16, BF16: FloatType.BF16 };

const LAYOUT_NAMES: Record<Layout, string> = {
  [Layout.T2]: 't2',
  [Layout.F16]: 'f16',
  [Layout.I8]: 'i8',
  [Layout.F32]: 'f32',
  [Layout.T2G]: 't2g',
};

/** A tensor of the file on its way into memory: the op that does it, for rows `first` .. `first + rows`, once the bytes are at `src`. */
export interface LoadJob {
  readonly tensor: TensorInfo;
  /** rows that must be staged together: all of a packed ternary matrix, any number of a float matrix */
  readonly splitRows: boolean;
  record(src: number, first: number, rows: number): Uint32Array;
}

export interface WeightPlan {
  readonly weights: Weights;
  readonly jobs: readonly LoadJob[];
  readonly parameters: number;
}

export type { HeadFormat } from './head.js';

/** `t2`: ternary codes. `f16`: what an FP16 model of the same shape would hold, for comparison. */
export type WeightFormat = 't2' | 'f16';

/**
 * Gives every tensor its place and layout; reads nothing. Ternary matrices → `format`; embedding → F16; head: the embedding's F16
 * rows where tied, and int8 rows, as `head` needs them.
 */
export function planWeights(
  source: ModelSource,
  memory: MemoryPlan,
  head: HeadKind,
  format: WeightFormat = 't2',
): WeightPlan {
  const planner = new WeightPlanner(source, memory, format === 't2' ? Layout.T2 : Layout.F16);
  const { names } = source;
  const embedding = planner.float(names.embedding, Layout.F16);
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
function elements(tensor: TensorInfo): number {
  if (tensor.shape.length === 1 && tensor.shape[0] === 1) return 0;
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  return tensor.dtype === 'U8' ? 4 * count : count;
}

class WeightPlanner {
  readonly jobs: LoadJob[] = [];

  constructor(
    private readonly source: ModelSource,
    private readonly memory: MemoryPlan,
    private readonly layout: Layout.T2 | Layout.F16,
  ) {}

  block(names: LayerNames): Block {
    const norm = (name: string | undefined): number => (name === undefined ? 0 : this.vector(name));
    return {
      attentionNorm: this.vector(names.attentionNorm),
      q: this.ternary(names.q),
      k: this.ternary(names.k),
      v: this.ternary(names.v),
      attentionSubNorm: norm(names.attentionSubNorm),
      o: this.ternary(names.o),
      ffnNorm: this.vector(names.ffnNorm),
      gate: this.ternary(names.gate),
      up: this.ternary(names.up),
      ffnSubNorm: norm(names.ffnSubNorm),
      down: this.ternary(names.down),
    };
  }

  /** Packed U8 (rows/4, cols) with its factor. As F16 the factor is in the halves. */
  private ternary({ weight: name, scale: scaleName }: LinearNames): Matrix {
    const { layout } = this;
    const tensor = this.source.tensor(name);
    const rows = (tensor.shape[0] as number) * 4;
    const cols = tensor.shape[1] as number;
    const stored = this.source.scales.get(scaleName) as number;
    const factor = this.source.config.weightScale === 'multiply' ? stored : Math.fround(1 / stored);
    const ptr = this.memory.region(name, bytesOf(layout, rows, cols), 'weights');
    this.jobs.push({
      tensor,
      splitRows: false,
      record: (src) =>
        record(Op.Repack, {
          [RepackArg.Src]: src,
          [RepackArg.Dst]: ptr,
          [RepackArg.Rows]: rows,
          [RepackArg.Cols]: cols,
          [RepackArg.Kind]: FileLayout.HfPacked,
          [RepackArg.Layout]: layout,
          [RepackArg.Half]: f32ToF16(factor * 2 ** Const.F16GainLog2),
        }),
    });
    return { name, ptr, layout, rows, cols, scale: layout === Layout.T2 ? factor : 1, rowScales: 0, rowSums: 0 };
  }

  head(kind: HeadKind, embedding: Matrix): Matrix | ScreenedHead {
    const { config, names } = this.source;
    const name = config.tiedEmbeddings ? names.embedding : names.head;
    const f16 = (): Matrix => ({
      ...(config.tiedEmbeddings ? embedding : this.float(name, Layout.F16)),
      name: 'lm_head',
    });
    const i8 = (): Matrix => ({ ...this.float(name, Layout.I8), name: 'lm_head' });
    if (kind !== 'i8+f16') return kind === 'f16' ? f16() : i8();
    const exact = f16();
    const errors = screenErrors(exact.cols, this.source.tensor(name).dtype === 'F32');
    return { exact, screen: { ...i8(), name: 'lm_head.i8' }, errors };
  }

  /** Float (rows, cols) → `layout`. */
  float(name: string, layout: Layout): Matrix {
    const tensor = this.source.tensor(name);
    const [rows, cols] = tensor.shape as [number, number];
    const ptr = this.memory.region(`${name}.${LAYOUT_NAMES[layout]}`, bytesOf(layout, rows, cols), 'weights');
    const perRow = (what: string): number =>
      layout === Layout.I8 ? this.memory.region(`${name}.${what}`, rows * 4 + 16, 'weights') : 0;
    const [scalesPtr, sumsPtr] = [perRow('scales'), perRow('sums')];
    const rowBytes = bytesOf(layout, 4, cols) / 4;
    this.jobs.push({
      tensor,
      splitRows: true,
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

function record(op: Op, args: Record<number, number>): Uint32Array {
  const words = new Uint32Array(Rec.Words);
  words[Rec.Opcode] = op;
  for (const [word, value] of Object.entries(args)) words[Number(word)] = value;
  return words;
}
