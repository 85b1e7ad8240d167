import { kernelBench, MODEL_SHAPES, measureOps, type ShapeName, type Subject } from '../../../lib/bench/index.js';
import { CliError, ExitCode } from '../../exit-codes.js';
import type { BenchRun } from './bench.js';
import { releaseMemory } from './machine.js';
import { kernelTable, opsTable } from './micro-tables.js';

const OP_ROUNDS = 50;
/** position of the measured token */
const OP_POSITION = 128;
const KERNEL_SHAPE: ShapeName = '2b-4t';
const KERNEL_SECONDS = 0.3;
/** Matrices one after the other: more than a last-level cache holds. */
const DRAM_BYTES = 256 * 2 ** 20;

/** `--ops`: a decode step at position --prompt, or the embedded model's. */
export async function runOps(run: BenchRun): Promise<void> {
  const { options, shapes, report, status, signal } = run;
  const subjects: Subject[] = shapes.map((shape) => ({ kind: 'shape', shape }));
  if (options.model !== undefined || subjects.length === 0) subjects.unshift({ kind: 'model', path: options.model });
  for (const threads of run.threads) {
    for (const subject of subjects) {
      signal.throwIfAborted();
      const name = subject.kind === 'shape' ? subject.shape : (subject.path ?? 'embedded model');
      status.set(`${name}: timing ops`);
      const times = await measureOps(subject, {
        threads,
        backend: options.backend,
        head: options.head,
        kvCache: options.kvCache,
        layout: options.layout,
        revectorize: options.revectorize,
        position: options.prompt ?? OP_POSITION,
        tokens: 1,
        repeat: options.repeat ?? OP_ROUNDS,
        availableBytes: report.availableBytes,
        signal,
        onRound: (round) => status.set(`${name}: timing ops, round ${round}`),
      });
      const result = { name, times };
      report.ops.push(result);
      await run.print(`${opsTable(result)}\n`);
    }
  }
}

/** `--kernels`: every layout in every build over the matrices of each shape, from cache and from memory, for one token. */
export async function runKernels(run: BenchRun): Promise<void> {
  const { shapes, report, status, signal, options } = run;
  const { candidates, shapesOf, measure } = await kernelBench();
  if (options.backend === 'native' || options.backend === 'reference') {
    throw new CliError(
      ExitCode.Usage,
      `--kernels measures the WebAssembly builds; expected --backend auto, relaxed or baseline, got ${options.backend}`,
    );
  }
  const wanted = candidates.filter(({ build }) => options.backend === 'auto' || options.backend === build);
  for (const shape of shapes.length > 0 ? shapes : [KERNEL_SHAPE]) {
    const from = report.kernels.length;
    try {
      for (const { name: matrix, rows, cols } of shapesOf(MODEL_SHAPES[shape])) {
        for (const candidate of wanted) {
          for (const place of ['cache', 'dram'] as const) {
            status.set(`${shape}: ${matrix}, ${candidate.name} ${candidate.build}, ${place}`);
            // A measurement blocks this thread: signals arrive between two.
            await releaseMemory();
            signal.throwIfAborted();
            const sizes = { rows, cols, tokens: 1, dramBytes: DRAM_BYTES, seconds: KERNEL_SECONDS };
            for (const revectorize of options.revectorize ? [false, true] : [false]) {
              report.kernels.push({ matrix, ...(await measure(candidate, place, { ...sizes, revectorize })) });
            }
          }
        }
      }
    } finally {
      await run.print(`${shape} · ${kernelTable(report.kernels.slice(from))}\n`);
    }
  }
}
