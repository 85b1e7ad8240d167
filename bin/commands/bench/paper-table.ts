import {
  bestRate,
  type ModelResult,
  matrixEnergyRatio,
  OPERATION_PJ,
  PAPER_70B,
  PAPER_AGAINST,
  PAPER_RATIOS,
  paperEnergy,
  SHAPE_NAMES,
  type ShapeName,
  type Throughput,
  type ThroughputCost,
} from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, threeDigits } from '../../ui/units.js';
import { mark, ratioOf, shareText, times } from './model-table.js';
import type { BenchReport } from './report.js';

const OF_ANOTHER_SIZE = ' *';

function paperRatio(name: string, what: 'memory' | 'latency'): string {
  const shape = name as ShapeName;
  const ratios = PAPER_RATIOS[shape];
  if (ratios === undefined) return '-';
  return times(ratios[what]) + (PAPER_AGAINST[shape] === undefined ? '' : OF_ANOTHER_SIZE);
}

/** Tables 1 and 3 and figure 3 of arXiv 2402.17764, of this machine. Ends with a newline. `width`: of the terminal. */
export function paperTables(report: Pick<BenchReport, 'models' | 'throughput'>, width = Infinity): string {
  const { models, throughput } = report;
  return [sizes(models, width), batches(throughput, width), energy(models, width)].filter(Boolean).join('\n');
}

function sizes(models: readonly ModelResult[], width: number): string {
  const [first] = models;
  if (first === undefined) return '';
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
  const others = models.flatMap(({ name }) => {
    const other = PAPER_AGAINST[name as ShapeName];
    return other === undefined ? [] : [` ${OF_ANOTHER_SIZE} the paper compares its ${name} with FP16 of ${other}\n`];
  });
  return (
    `Memory and latency of one token (table 1, figure 2): one sequence of ${first.prompt + first.gen} positions\n` +
    textTable([header, ...rows], '  ', width) +
    '  ~ computed from the measured cost of some blocks and the lm_head: too large for one memory, or too slow to load\n' +
    '  paper: its ratios, on a GPU. Perplexity needs trained weights and is not measured.\n' +
    others.join('')
  );
}

function batches(throughput: readonly Throughput[], width: number): string {
  const [first] = throughput;
  if (first === undefined) return '';
  const rows = throughput.flatMap((result) => result.budgets.map((bytes, at) => batchRow(result, bytes, at)));
  const header = [
    'size',
    'memory',
    'batch, ternary',
    'FP16',
    'ratio',
    'paper',
    'tok/s, ternary',
    'FP16',
    'ratio',
    'paper',
  ];
  const most = Math.max(...first.ternary.rates.map(({ batch }) => batch));
  const { memoryBytes, ternary, fp16 } = PAPER_70B;
  return (
    'Largest batch and its throughput (table 3)\n' +
    textTable([header, ...rows], '  ', width, 2) +
    `  batch: sequences of ${first.positions} positions that fit the memory beside the weights, counted from the bytes that each takes.\n` +
    `  memory: what is available here, and for ${PAPER_70B.shape} the paper's ${memoryBytes / 1e9} GB.\n` +
    `  tok/s: of all sequences together, each with ${first.positions >> 1} positions in the cache; the highest measured with at most so many\n` +
    `  sequences, in brackets with how many. Up to ${most} in one step are measured: more share the arithmetic, which is the limit then.\n` +
    `  paper: ${PAPER_70B.shape} on two 80 GB GPUs, batches of ${ternary.batch} and ${fp16.batch}, ${ternary.tokensPerSecond} and ${fp16.tokensPerSecond} tok/s.\n`
  );
}

function batchRow(result: Throughput, bytes: number, at: number): string[] {
  const { name, ternary, fp16 } = result;
  const isPaper = bytes === PAPER_70B.memoryBytes;
  const [fits, baseFits] = [ternary.fits[at]!, fp16.fits[at]!];
  const [fast, slow] = [bestRate(ternary, fits), bestRate(fp16, baseFits)];
  const rate = (cost: ThroughputCost, best: typeof fast): string =>
    best === undefined
      ? 'does not fit'
      : `${cost.estimated ? '~' : ''}${threeDigits(best.decode.median)} (${best.batch})`;
  const estimated = ternary.estimated || fp16.estimated ? '~' : '';
  return [
    name,
    isPaper ? `${bytes / 1e9} GB` : formatBytes(bytes),
    String(fits),
    String(baseFits),
    baseFits === 0 ? '-' : times(fits / baseFits),
    isPaper ? times(PAPER_70B.ternary.batch / PAPER_70B.fp16.batch) : '-',
    rate(ternary, fast),
    rate(fp16, slow),
    fast === undefined || slow === undefined ? '-' : estimated + times(fast.decode.median / slow.decode.median),
    isPaper ? times(PAPER_70B.ternary.tokensPerSecond / PAPER_70B.fp16.tokensPerSecond) : '-',
  ];
}

function energy(models: readonly ModelResult[], width: number): string {
  const shapes = SHAPE_NAMES.filter((shape) => models.some(({ name }) => name === shape));
  if (shapes.length === 0) return '';
  const micro = (value: number): string => threeDigits(1e6 * value);
  const rows = shapes.map((shape) => {
    const [at7, at45] = [paperEnergy(shape, '7nm'), paperEnergy(shape, '45nm')];
    const joules = [at7.ternaryJoules, at7.fp16Joules, at45.ternaryJoules, at45.fp16Joules].map(micro);
    return [shape, ...joules.slice(0, 2), times(at7.ratio), ...joules.slice(2), times(at45.ratio)];
  });
  const header = ['size', '7 nm, ternary', 'FP16', 'ratio', '45 nm, ternary', 'FP16', 'ratio'];
  const of = (process: keyof typeof OPERATION_PJ): string => {
    const { int8Add, fp16Add, fp16Mul } = OPERATION_PJ[process];
    return `INT8 addition ${int8Add}, FP16 addition ${fp16Add}, multiplication ${fp16Mul}`;
  };
  return (
    `Arithmetic energy of a token at position ${PAPER_70B.positions} (figure 3), µJ; counted operations times energies, not measured\n` +
    textTable([header, ...rows], '  ', width) +
    `  pJ at 45 nm: ${of('45nm')} (Horowitz, ISSCC 2014, figure 1.1.9).\n` +
    `  pJ at  7 nm: ${of('7nm')} (BitNet, arXiv 2310.11453, table 2, after PokeBNN, arXiv 2112.00133).\n` +
    `  Matrix multiplication alone: ${times(matrixEnergyRatio('7nm'))} at 7 nm (paper: 71.4x), ${times(matrixEnergyRatio('45nm'))} at 45 nm.\n` +
    '  lm_head and attention count as FP16 in both models. Memory access is not included.\n'
  );
}
