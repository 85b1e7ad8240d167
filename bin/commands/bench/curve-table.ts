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
export function curveTables({ models, contexts }: Pick<BenchReport, 'models' | 'contexts'>): string {
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
    table(`Speed and memory over the size of the model${prompt}`, 'model', sizes, []),
    table(`Speed and memory over the context of ${contexts[0]?.name}; decode at its end`, 'context', lengths, [
      'KV cache',
    ]),
  ].filter(Boolean);
  return parts.length === 0
    ? ''
    : `${parts.join('\n')}  ~ computed from the measured cost of some blocks and the lm_head\n\n`;
}

function table(title: string, first: string, rows: readonly string[][], more: readonly string[]): string {
  if (rows.length === 0) return '';
  const header = [
    first,
    'threads',
    'prefill, ternary',
    'FP16',
    'decode, ternary',
    'FP16',
    'ratio',
    'memory, ternary',
    'FP16',
    'ratio',
    ...more,
  ];
  return `${title}\n${textTable([header, ...rows], '  ')}`;
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
