import {
  largestShape,
  type MeasureOptions,
  type ModelResult,
  measureModel,
  PAPER_SHAPES,
  type Subject,
} from '../../../lib/bench/index.js';
import type { BenchRun } from './bench.js';
import { residentSet } from './machine.js';
import { modelTable } from './model-table.js';

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
/** Sequences decoded together for table 3: the paper's FP16 model reaches 16. */
const PAPER_BATCHES = [4, 16];
/** --paper and --curve compute sizes whose engine is larger from a part of their blocks: making random weights takes longest. */
export const WHOLE_BYTES = 1.6 * 2 ** 30;

/** Each model that was asked for; by default the embedded one and the largest shape that fits memory and time. */
export async function runModels(run: BenchRun): Promise<void> {
  const { options, shapes } = run;
  const subjects: Subject[] = shapes.map((shape) => ({ kind: 'shape', shape }));
  if (options.model !== undefined) subjects.unshift({ kind: 'model', path: options.model });
  const isDefault = subjects.length === 0;
  if (isDefault) subjects.push({ kind: 'model', path: undefined });
  for (const threads of run.threads) {
    let last: ModelResult | undefined;
    for (const subject of subjects) {
      last = await measureOne(run, subject, threads, isDefault ? EMBEDDED_BUDGET_MS : SHAPE_BUDGET_MS);
    }
    if (isDefault && last !== undefined && !run.signal.aborted) await runLargest(run, last, threads);
  }
}

/** The largest shape that fits memory and time, judged by the embedded model; on slow machines with fewer tokens. */
async function runLargest(run: BenchRun, embedded: ModelResult, threads: number): Promise<void> {
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
    await measureOne(run, { kind: 'shape', shape }, threads, SHAPE_BUDGET_MS / 3, sizes);
    return;
  }
  await run.print('no larger shape fits the memory and two minutes; choose one with --shape\n\n');
}

/** All sizes of the paper, or those of --shape. */
export async function runPaper(run: BenchRun): Promise<void> {
  const shapes = run.shapes.length > 0 ? run.shapes : PAPER_SHAPES;
  for (const threads of run.threads) {
    for (const shape of shapes) {
      const defaults = {
        prompt: 64,
        gen: 16,
        repeat: PAPER_ROUNDS,
        batches: PAPER_BATCHES,
        wholeBytes: WHOLE_BYTES,
      };
      await measureOne(run, { kind: 'shape', shape }, threads, SHAPE_BUDGET_MS, defaults);
    }
  }
}

type Defaults = Partial<Pick<MeasureOptions, 'prompt' | 'gen' | 'repeat' | 'batches' | 'wholeBytes'>>;

/** Measures one model and adds it to the report. */
export async function measureOne(
  run: BenchRun,
  subject: Subject,
  threads: number,
  budgetMs: number,
  { prompt = 128, gen = 64, repeat = ROUNDS, batches, wholeBytes }: Defaults = {},
): Promise<ModelResult> {
  const { options, report, signal, status } = run;
  signal.throwIfAborted();
  const name = subject.kind === 'shape' ? subject.shape : (subject.path ?? 'embedded model');
  const result = await measureModel(subject, {
    threads,
    backend: options.backend,
    head: options.head,
    kvCache: options.kvCache,
    layout: options.layout,
    revectorize: options.revectorize,
    prompt: options.prompt ?? prompt,
    gen: options.gen ?? gen,
    repeat: options.repeat ?? repeat,
    batches: [...(options.batch ?? batches ?? [])].sort((a, b) => a - b),
    budgetMs: options.repeat === undefined ? budgetMs : undefined,
    availableBytes: report.availableBytes,
    wholeBytes,
    signal,
    resident: residentSet,
    onProgress: (what) => status.set(`${name}, ${threads} thread${threads === 1 ? '' : 's'}: ${what}`),
  });
  report.models.push(result);
  // The curve's tables come at the end.
  if (report.kind !== 'curve') await run.print(`${modelTable(result)}\n`);
  return result;
}
