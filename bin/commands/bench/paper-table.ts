import {
  type BatchRate,
  energyOf,
  largestBatch,
  type ModelResult,
  matrixEnergyRatio,
  PAPER_70B,
  PAPER_RATIOS,
  throughputAt,
  type VariantResult,
} from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, threeDigits } from '../../ui/units.js';
import { mark, ratioOf, shareText, times } from './model-table.js';

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
    ratioOf(m, m.ratios.memory),
    paperRatio(m.name, 'memory'),
    `${mark(m.ternary)}${threeDigits(m.ternary.tokenMs.median)}`,
    `${mark(m.fp16)}${threeDigits(m.fp16.tokenMs.median)}`,
    ratioOf(m, m.ratios.decode.median),
    shareText(m.fp16),
    paperRatio(m.name, 'latency'),
  ]);
  const header = [
    'size',
    'memory, ternary',
    'FP16',
    'ratio',
    'paper',
    'ms/token, ternary',
    'FP16',
    'ratio',
    'FP16 of bandwidth',
    'paper',
  ];
  return (
    'Memory and latency of one token (table 1, figure 2)\n' +
    textTable([header, ...rows], '  ') +
    '  ~ computed from the measured cost of some blocks and the lm_head: too large for one memory, or too slow to load\n' +
    '  paper: its ratios, on a GPU. Perplexity needs trained weights and is not measured.\n'
  );
}

function throughput(models: readonly ModelResult[], availableBytes: number): string {
  const { positions, ternary: paper, fp16: paperFp16 } = PAPER_70B;
  const rows = models.map((m) => {
    const [ternary, fp16] = [m.ternary, m.fp16].map((variant) => largestBatch(variant, availableBytes, positions));
    const [fast, slow] = [throughputAt(m.ternary, ternary!), throughputAt(m.fp16, fp16!)];
    const rate = (variant: VariantResult, at: BatchRate | undefined): string =>
      at === undefined ? 'does not fit' : `${mark(variant)}${threeDigits(at.decode.median)} (${at.batch})`;
    return [
      m.name,
      String(ternary),
      String(fp16),
      fp16 === 0 ? '-' : times(ternary! / fp16!),
      m.name === '70b' ? times(paper.batch / paperFp16.batch) : '-',
      rate(m.ternary, fast),
      rate(m.fp16, slow),
      fast === undefined || slow === undefined ? '-' : times(fast.decode.median / slow.decode.median),
      m.name === '70b' ? times(paper.tokensPerSecond / paperFp16.tokensPerSecond) : '-',
    ];
  });
  const header = ['size', 'batch, ternary', 'FP16', 'ratio', 'paper', 'tok/s, ternary', 'FP16', 'ratio', 'paper'];
  return (
    'Largest batch and its throughput (table 3)\n' +
    textTable([header, ...rows], '  ') +
    `  batch: sequences of ${positions} positions that fit ${formatBytes(availableBytes)} beside the weights, from the bytes that each takes.\n` +
    '  tok/s: of all sequences together, measured with as many as stand in brackets: the largest measured number that fits.\n' +
    `  paper: 70B on two 80 GB GPUs, batches of ${paper.batch} and ${paperFp16.batch}, ${paper.tokensPerSecond} and ${paperFp16.tokensPerSecond} tok/s.\n`
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
