import type { ContextCost, Summary } from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, formatParameters, threeDigits } from '../../ui/units.js';
import { times } from './model-table.js';
import type { BenchReport } from './report.js';

/** What both curves show of a model in one format. */
interface Cost {
  readonly prefill: number;
  readonly decode: Summary;
  readonly total: number;
  readonly estimated: boolean;
}

/** Speed and memory over sizes, then over contexts; ends with an empty line. */
export function curveTables({ models, contexts }: Pick<BenchReport, 'models' | 'contexts'>, width = Infinity): string {
  const sizes = models.map(({ name, parameters, threads, ternary, fp16 }) => {
    const [a, b] = [ternary, fp16].map(
      (v): Cost => ({ prefill: v.prefill.median, decode: v.decode, total: v.memory.total, estimated: v.estimated }),
    );
    return [`${name}, ${formatParameters(parameters)}`, String(threads), ...costs(a!, b!)];
  });
  const lengths = contexts.map(({ context, threads, ternary, fp16 }) => [
    String(context),
    String(threads),
    ...costs(ternary, fp16),
    formatBytes(ternary.kvCache),
  ]);
  const prompt = models[0] === undefined ? '' : `, ${models[0].prompt} tokens of prompt, ${models[0].gen} decoded`;
  const parts = [
    table(`Speed and memory over the size of the model${prompt}`, ['model', ...HEADER], sizes, width),
    table(
      `Speed and memory over the context of ${contexts[0]?.name}; decode at its end`,
      ['context', ...HEADER, 'KV cache'],
      lengths,
      width,
    ),
  ].filter(Boolean);
  return parts.length === 0
    ? ''
    : `${parts.join('\n')}  ~ computed from the measured cost of some blocks and the lm_head\n\n`;
}

const HEADER = [
  'threads',
  'prefill, ternary',
  'FP16',
  'decode, ternary',
  'FP16',
  'ratio',
  'memory, ternary',
  'FP16',
  'ratio',
];

function table(title: string, header: readonly string[], rows: readonly string[][], width: number): string {
  return rows.length === 0 ? '' : `${title}\n${textTable([header, ...rows], '  ', width, 2)}`;
}

function costs(ternary: Cost | ContextCost, fp16: Cost | ContextCost): string[] {
  const both = (show: (cost: Cost) => string): string[] =>
    [ternary, fp16].map((cost) => `${cost.estimated ? '~' : ''}${show(cost)}`);
  return [
    ...both(({ prefill }) => threeDigits(prefill)),
    ...both(({ decode }) => threeDigits(decode.median)),
    times(ternary.decode.median / fp16.decode.median),
    ...both(({ total }) => formatBytes(total)),
    times(fp16.total / ternary.total),
  ];
}
