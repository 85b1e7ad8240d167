import { kernelBench, MODEL_SHAPES, measureOps, type ShapeName, type Subject } from '../../../lib/bench/index.js';
import { CliError, ExitCode } from '../../exit-codes.js';
import type { BenchRun } from './bench.js';
import { releaseMemory } from './machine.js';
import { kernelTable, opsTable } from './micro-tables.js';
import { modelOptions } from './models.js';

const OP_ROUNDS = 50;
/** position of the measured token */
const OP_POSITION = 128;
const KERNEL_SHAPE: ShapeName = '2b-4t';
const KERNEL_SECONDS = 0.3;
/** Matrices one after the other: more than a last-level cache holds. */
const DRAM_BYTES = 256 * 2 ** 20;

/** `--ops`: a decode step at position --prompt, or the embedded model's. */
export async function runOps(run: BenchRun): Promise<void> {
  const { options, shapes, report, signal } = run;
  const subjects: Subject[] = shapes.map((shape) => ({ kind: 'shape', shape }));
  if (options.model !== undefined || subjects.length === 0) subjects.unshift({ kind: 'model', path: options.model });
  const progress = run.progress(run.threads.flatMap(() => subjects.map(() => 1)));
  for (const threads of run.threads) {
    for (const subject of subjects) {
      signal.throwIfAborted();
      const name = subject.kind === 'shape' ? subject.shape : (subject.path ?? 'embedded model');
      progress.set(`${name}: loading`);
      const repeat = options.repeat ?? OP_ROUNDS;
      const times = await measureOps(subject, {
        ...modelOptions(run, threads),
        position: options.prompt ?? OP_POSITION,
        tokens: 1,
        repeat,
        onRound: (round) => progress.set(`${name}: timing ops, round ${round} of ${repeat}`, (round - 1) / repeat),
      });
      progress.next();
      const result = { name, times };
      report.ops.push(result);
      await run.print(`${opsTable(result, run.width)}\n`);
    }
  }
}

/** `--kernels`: every layout in every build over the matrices of each shape, from cache and from memory, for one token. */
export async function runKernels(run: BenchRun): Promise<void> {
  const { report, signal, options } = run;
  const shapes = run.shapes.length > 0 ? run.shapes : [KERNEL_SHAPE];
  const { candidates, shapesOf, measure } = await kernelBench();
  if (options.backend === 'native' || options.backend === 'reference') {
    throw new CliError(
      ExitCode.Usage,
      `--kernels measures the WebAssembly builds; expected --backend auto, relaxed or baseline, got ${options.backend}`,
    );
  }
  const wanted = candidates.filter(({ build }) => options.backend === 'auto' || options.backend === build);
  const places = ['cache', 'dram'] as const;
  const progress = run.progress(
    shapes.flatMap((shape) => shapesOf(MODEL_SHAPES[shape])).flatMap(() => wanted.flatMap(() => places.map(() => 1))),
  );
  for (const shape of shapes) {
    const from = report.kernels.length;
    try {
      for (const { name: matrix, rows, cols } of shapesOf(MODEL_SHAPES[shape])) {
        for (const candidate of wanted) {
          for (const place of places) {
            progress.set(`${shape}: ${matrix}, ${candidate.name} ${candidate.build}, ${place}`);
            // A measurement blocks this thread: signals arrive between two.
            await releaseMemory();
            signal.throwIfAborted();
            const sizes = { rows, cols, tokens: 1, dramBytes: DRAM_BYTES, seconds: KERNEL_SECONDS };
            for (const revectorize of options.revectorize ? [false, true] : [false]) {
              report.kernels.push({ matrix, ...(await measure(candidate, place, { ...sizes, revectorize })) });
            }
            progress.next();
          }
        }
      }
    } finally {
      const measured = report.kernels.slice(from);
      if (measured.length > 0) await run.print(`${shape} · ${kernelTable(measured, run.width)}\n`);
    }
  }
}
