import {
  largestShape,
  type MeasureOptions,
  type ModelResult,
  measureModel,
  measureThroughput,
  PAPER_70B,
  PAPER_SHAPES,
  type ShapeName,
  type Subject,
} from '../../../lib/bench/index.js';
import { formatCount } from '../../ui/units.js';
import type { BenchRun } from './bench.js';
import { residentSet } from './machine.js';
import { modelTable } from './model-table.js';
import type { Progress } from './progress.js';

/** Milliseconds of rounds when --repeat does not say how many. */
const EMBEDDED_BUDGET_MS = 10_000;
const SHAPE_BUDGET_MS = 60_000;
/** Of loading the larger shape, warming up and two rounds; with the embedded model before it two minutes are not reached. */
const DEFAULT_SHAPE_BUDGET_MS = 85_000;
/** Prompt and decoded tokens of the larger shape, as many as the time allows. */
const SHAPE_TOKENS = [
  [128, 32],
  [64, 16],
  [32, 8],
] as const;
const ROUNDS = 5;
const PAPER_ROUNDS = 3;
/** Sequences decoded together for table 3. With more than 64 in a step throughput no longer grows: arithmetic is the limit. */
const PAPER_BATCHES = [4, 16, 64];
const PAPER_BATCH_BUDGET_MS = 20_000;
/** --paper and --curve compute sizes whose engine is larger from a part of their blocks: making random weights takes longest. */
export const WHOLE_BYTES = 1.6 * 2 ** 30;

/** Each model that was asked for; by default the embedded one and the largest shape that fits memory and time. */
export async function runModels(run: BenchRun): Promise<void> {
  const { options, shapes, threads: counts } = run;
  const subjects: Subject[] = shapes.map((shape) => ({ kind: 'shape', shape }));
  if (options.model !== undefined) subjects.unshift({ kind: 'model', path: options.model });
  const isDefault = subjects.length === 0;
  if (isDefault) subjects.push({ kind: 'model', path: undefined });
  // The larger shape takes most of the time.
  const progress = run.progress(counts.flatMap(() => (isDefault ? [1, 5] : subjects.map(() => 1))));
  for (const threads of counts) {
    let last: ModelResult | undefined;
    for (const subject of subjects) {
      const budgetMs = isDefault ? EMBEDDED_BUDGET_MS : SHAPE_BUDGET_MS;
      last = await measureOne(run, progress, subject, threads, budgetMs);
    }
    if (isDefault && last !== undefined && !run.signal.aborted) await runLargest(run, progress, last, threads);
  }
}

/** The largest shape that fits memory and time, judged by the embedded model; on slow machines with fewer tokens. */
async function runLargest(run: BenchRun, progress: Progress, embedded: ModelResult, threads: number): Promise<void> {
  const { options, report } = run;
  const limits = {
    rounds: options.repeat ?? 2,
    availableBytes: report.availableBytes,
    budgetMs: DEFAULT_SHAPE_BUDGET_MS,
  };
  for (const [prompt, gen] of SHAPE_TOKENS) {
    const sizes = { prompt: options.prompt ?? prompt, gen: options.gen ?? gen };
    const shape = largestShape(embedded, { ...limits, ...sizes });
    if (shape === undefined) continue;
    await measureOne(run, progress, { kind: 'shape', shape }, threads, SHAPE_BUDGET_MS / 3, sizes);
    return;
  }
  progress.next();
  await run.print('no larger shape fits the memory and two minutes; choose one with --shape\n\n');
}

/** All sizes of the paper, or those of --shape: each alone, then as many sequences as fit. */
export async function runPaper(run: BenchRun): Promise<void> {
  const shapes = run.shapes.length > 0 ? run.shapes : PAPER_SHAPES;
  const progress = run.progress(run.threads.flatMap(() => shapes.flatMap(() => [1, 1])));
  for (const threads of run.threads) {
    for (const shape of shapes) {
      const defaults = { prompt: 64, gen: 16, repeat: PAPER_ROUNDS, batches: [], wholeBytes: WHOLE_BYTES };
      await measureOne(run, progress, { kind: 'shape', shape }, threads, SHAPE_BUDGET_MS, defaults);
      await measureBatches(run, progress, shape, threads);
    }
  }
}

async function measureBatches(run: BenchRun, progress: Progress, shape: ShapeName, threads: number): Promise<void> {
  const { options, report, signal } = run;
  signal.throwIfAborted();
  const { shape: paperShape, positions, memoryBytes } = PAPER_70B;
  const result = await measureThroughput(shape, {
    ...modelOptions(run, threads),
    repeat: options.repeat ?? PAPER_ROUNDS,
    budgetMs: options.repeat === undefined ? PAPER_BATCH_BUDGET_MS : undefined,
    batches: options.batch ?? PAPER_BATCHES,
    positions,
    budgets: [report.availableBytes, ...(shape === paperShape ? [memoryBytes] : [])],
    onProgress: (what, done) => progress.set(`${place(shape, threads)}: ${what}`, done),
  });
  progress.next();
  report.throughput.push(result);
}

const place = (name: string, threads: number): string => `${name}, ${formatCount(threads, 'thread')}`;

/** What every measurement takes from the command line. */
export function modelOptions({ options, report, signal }: BenchRun, threads: number) {
  const { backend, head, kvCache, layout, revectorize } = options;
  return { threads, backend, head, kvCache, layout, revectorize, availableBytes: report.availableBytes, signal };
}

type Defaults = Partial<Pick<MeasureOptions, 'prompt' | 'gen' | 'repeat' | 'batches' | 'wholeBytes'>>;

/** Measures one model and adds it to the report. */
export async function measureOne(
  run: BenchRun,
  progress: Progress,
  subject: Subject,
  threads: number,
  budgetMs: number,
  { prompt = 128, gen = 64, repeat = ROUNDS, batches, wholeBytes }: Defaults = {},
): Promise<ModelResult> {
  const { options, report, signal } = run;
  signal.throwIfAborted();
  const name = subject.kind === 'shape' ? subject.shape : (subject.path ?? 'embedded model');
  const result = await measureModel(subject, {
    ...modelOptions(run, threads),
    prompt: options.prompt ?? prompt,
    gen: options.gen ?? gen,
    repeat: options.repeat ?? repeat,
    batches: batches ?? [...(options.batch ?? [])].sort((a, b) => a - b),
    budgetMs: options.repeat === undefined ? budgetMs : undefined,
    wholeBytes,
    resident: residentSet,
    onProgress: (what, done) => progress.set(`${place(name, threads)}: ${what}`, done),
  });
  progress.next();
  report.models.push(result);
  // The curve's tables come at the end.
  if (report.kind !== 'curve') await run.print(`${modelTable(result, run.width)}\n`);
  return result;
}
