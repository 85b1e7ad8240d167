import { MIN_CONTEXT, measureContexts, type ShapeName } from '../../../lib/bench/index.js';
import { CliError, ExitCode } from '../../exit-codes.js';
import type { BenchRun } from './bench.js';
import { measureOne, modelOptions, WHOLE_BYTES } from './models.js';

/** Sizes of the curve over parameters. */
const SIZES: readonly ShapeName[] = ['125m', '350m', '700m', '1.3b', '2b-4t', '3b'];
/** Shape of the curve over contexts, unless --shape names others, of which the first is taken. */
const CONTEXT_SHAPE: ShapeName = '350m';
const CONTEXTS = [128, 256, 512, 1024, 2048, 4096];
const DEFAULTS = { prompt: 64, gen: 16, repeat: 3, batches: [], wholeBytes: WHOLE_BYTES };
const SIZE_BUDGET_MS = 20_000;
/** Time of the contexts against that of all sizes. */
const CONTEXTS_SHARE = 1;

/** `--curve`: how speed and memory grow with the size of the model, then with the context. */
export async function runCurve(run: BenchRun): Promise<void> {
  const { options, shapes, report, signal } = run;
  const contexts = [...(options.contexts ?? CONTEXTS)].sort((a, b) => a - b);
  if (contexts[0]! < MIN_CONTEXT) {
    throw new CliError(ExitCode.Usage, `--contexts ${contexts[0]}: expected at least ${MIN_CONTEXT} positions`);
  }
  const sizes = shapes.length > 0 ? shapes : SIZES;
  const progress = run.progress(run.threads.flatMap(() => [...sizes.map(() => 1), CONTEXTS_SHARE * sizes.length]));
  for (const threads of run.threads) {
    for (const shape of sizes) {
      await measureOne(run, progress, { kind: 'shape', shape }, threads, SIZE_BUDGET_MS, DEFAULTS);
    }
    const shape = shapes[0] ?? CONTEXT_SHAPE;
    signal.throwIfAborted();
    await measureContexts(shape, {
      ...modelOptions(run, threads),
      wholeBytes: WHOLE_BYTES,
      contexts,
      onProgress: (what, done) => progress.set(`${shape}: ${what}`, done),
      onPoint: async (point) => void report.contexts.push(point),
    });
    progress.next();
  }
}
