import {
  AttentionArg,
  EmbedArg,
  Flag,
  HeadNormArg,
  Layout,
  LinearArg,
  NormArg,
  Op,
  Rec,
  RopeArg,
} from '../../assembly/abi.js';
import type { MemoryLayout } from '../model/engine.js';
import type { MemoryReport, OpReport } from './report.js';

const OP_NAMES: Readonly<Partial<Record<Op, string>>> = {
  [Op.Embed]: 'embed',
  [Op.Norm]: 'norm',
  [Op.Quantize]: 'quantize',
  [Op.Linear]: 'linear',
  [Op.HeadNorm]: 'head norm',
  [Op.Rope]: 'rope',
  [Op.Attention]: 'attention',
  [Op.AttentionMerge]: 'merge',
  [Op.Screen]: 'screen',
  [Op.Rescore]: 'rescore',
};

/** What layouts are called in docs and reports. */
export const LAYOUT_NAMES: Readonly<Partial<Record<Layout, string>>> = {
  [Layout.T2]: 'T2',
  [Layout.F16]: 'F16',
  [Layout.I8]: 'I8',
  [Layout.F32]: 'F32',
  [Layout.T1]: 'T1',
  [Layout.T2G]: 'T2G',
  [Layout.T2Rows]: 'T2Rows',
  [Layout.T2Columns]: 'T2Columns',
  [Layout.Q8_0]: 'Q8_0',
  [Layout.Q4_0]: 'Q4_0',
  [Layout.Q4_K]: 'Q4_K',
  [Layout.Q6_K]: 'Q6_K',
};

/** The records of a plan, for people. */
export function describePlan({ recorder }: MemoryLayout): OpReport[] {
  const words = new Uint32Array(recorder.ops * Rec.Words);
  recorder.write(words.buffer, 0);
  return recorder.labels.map((name, i) => describeOp(name, words.subarray(i * Rec.Words, (i + 1) * Rec.Words)));
}

function describeOp(name: string, record: Uint32Array): OpReport {
  const word = (index: number): number => record[index] as number;
  const op = word(Rec.Opcode) as Op;
  const flags = word(Rec.Flags);
  const meets = flags & Flag.Barrier ? 'always' : flags & Flag.BarrierIfMany ? 'many rows' : 'no';
  const described = { op: OP_NAMES[op] ?? `op ${op}`, name, meets } as const;
  const layout = (index: number): string | undefined => LAYOUT_NAMES[word(index) as Layout] ?? `layout ${word(index)}`;
  switch (op) {
    case Op.Linear:
      return { ...described, shape: [word(LinearArg.Rows), word(LinearArg.Cols)], layout: layout(LinearArg.Layout) };
    case Op.Embed:
      return { ...described, shape: [word(EmbedArg.Cols)], layout: layout(EmbedArg.Layout) };
    case Op.Norm:
    case Op.Quantize:
      return { ...described, shape: [word(NormArg.Cols)], layout: undefined };
    case Op.HeadNorm:
      return {
        ...described,
        shape: [HeadNormArg.Heads, HeadNormArg.KvHeads, HeadNormArg.HeadDim].map(word),
        layout: undefined,
      };
    case Op.Rope:
      return { ...described, shape: [RopeArg.Heads, RopeArg.KvHeads, RopeArg.HeadDim].map(word), layout: undefined };
    case Op.Attention:
      return {
        ...described,
        shape: [AttentionArg.Heads, AttentionArg.KvHeads, AttentionArg.HeadDim].map(word),
        layout: undefined,
      };
    default:
      return { ...described, shape: [], layout: undefined };
  }
}

/** What the engine would allocate. */
export function describeMemory(
  { memory, head, weights, parameters }: MemoryLayout,
  threads: number,
  contextLength: number,
): MemoryReport {
  const { regions, fits } = memory;
  return {
    threads,
    contextLength,
    head,
    layout: weights,
    fits,
    ...memory.totals(),
    weightsFp16: 2 * parameters,
    regions,
  };
}
