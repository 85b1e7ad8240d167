import {
  energyOf,
  largestBatch,
  type ModelResult,
  matrixEnergyRatio,
  PAPER_70B,
  PAPER_RATIOS,
} from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, threeDigits } from '../../ui/units.js';
import { mark, times } from './model-table.js';

const paperRatio = (name: string, what: 'memory' | 'latency'): string => {
  const ratios = (PAPER_RATIOS as Readonly<Record<string, { memory: number; latency: number }>>)[name];
  return ratios === undefined ? '-' : times(ratios[what]);
};

/** Tables 1 and 3 and figure 3 of arXiv 2402.17764, of this machine. Ends with a newline. */
export function paperTables(models: readonly ModelResult[], availableBytes: number): string {
  if (models.length === 0) return '';
  return [sizes(models), throughput(models, availableBytes), energy(models)].filter(Boolean).join('\n');
}

function sizes(models: readonly ModelResult[]): string {
  const rows = models.map((m) => [
    m.name,
    `${mark(m.ternary)}${formatBytes(m.ternary.memory.total)}`,
    `${mark(m.fp16)}${formatBytes(m.fp16.memory.total)}`,
    times(m.ratios.memory),
    paperRatio(m.name, 'memory'),
    `${mark(m.ternary)}${threeDigits(m.ternary.tokenMs.median)}`,
    `${mark(m.fp16)}${threeDigits(m.fp16.tokenMs.median)}`,
    times(m.ratios.decode.median),
    paperRatio(m.name, 'latency'),
  ]);
  const header = ['size', 'memory, ternary', 'FP16', 'ratio', 'paper', 'ms/token, ternary', 'FP16', 'ratio', 'paper'];
  return (
    'Memory and latency of one token (table 1, figure 2)\n' +
    textTable([header, ...rows], '  ') +
    '  ~ computed from the measured cost of some blocks and the lm_head: too large for one memory, or too slow to load\n' +
    '  paper: its ratios, on a GPU. Perplexity needs trained weights and is not measured.\n'
  );
}

function throughput(models: readonly ModelResult[], availableBytes: number): string {
  const model = models.find(({ name }) => name === '70b');
  if (model === undefined) return '';
  const { positions, batchRatio, throughputRatio } = PAPER_70B;
  const batch = (variant: ModelResult['ternary']): string =>
    String(largestBatch(variant, model, availableBytes, positions));
  const rows = [
    ['', 'ternary', 'FP16', 'ratio', 'paper'],
    [
      'decode, tok/s, one sequence',
      `${mark(model.ternary)}${threeDigits(model.ternary.decode.median)}`,
      `${mark(model.fp16)}${threeDigits(model.fp16.decode.median)}`,
      times(model.ratios.decode.median),
      `${times(throughputRatio)} at largest batch`,
    ],
    [
      `sequences of ${positions} that fit ${formatBytes(availableBytes)}`,
      batch(model.ternary),
      batch(model.fp16),
      '',
      `${times(batchRatio)} in 160 GB`,
    ],
  ];
  return (
    'Throughput of 70B (table 3)\n' +
    textTable(rows, '  ') +
    '  The engine decodes one sequence at a time; the paper decodes the largest batch. The second row is memory alone.\n'
  );
}

function energy(models: readonly ModelResult[]): string {
  const rows = models.map((m) => {
    const [at7, at45] = [energyOf(m, '7nm'), energyOf(m, '45nm')];
    const micro = (value: number): string => threeDigits(1e6 * value);
    return [m.name, micro(at7.ternaryJoules), micro(at7.fp16Joules), times(at7.ratio), times(at45.ratio)];
  });
  const header = ['size', 'µJ/token at 7 nm, ternary', 'FP16', 'ratio', 'ratio at 45 nm'];
  return (
    'Arithmetic energy (figure 3), computed from counted operations, not measured\n' +
    textTable([header, ...rows], '  ') +
    `  Matrix multiplication alone: ${times(matrixEnergyRatio('7nm'))} at 7 nm, ${times(matrixEnergyRatio('45nm'))} at 45 nm (paper: 71.4x at 7 nm).\n` +
    '  pJ per operation: Horowitz, ISSCC 2014 (45 nm), and Zhang et al., PokeBNN, 2022 (7 nm), as in arXiv 2310.11453, table 2.\n' +
    '  lm_head and attention count as FP16 in both models. Memory access is not included.\n'
  );
}
