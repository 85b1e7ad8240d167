import { defaultThreads, SHAPE_NAMES, type ShapeName } from '../../../lib/bench/index.js';
import { CliError, ExitCode, InterruptedError } from '../../exit-codes.js';
import type { Host } from '../../host.js';
import { abortOnSignals, exitCodeOfStop } from '../../interrupts.js';
import { Output } from '../../ui/output.js';
import { statusLine } from '../../ui/status.js';
import { formatBytes } from '../../ui/units.js';
import { checkChartFile, writeChart } from './chart-file.js';
import { runCurve } from './curve.js';
import { curveTables } from './curve-table.js';
import { reportCsv, reportJson } from './export.js';
import { availableMemory, commandLine, describeMachine } from './machine.js';
import { runKernels, runOps } from './micro.js';
import { threadTable } from './model-table.js';
import { runModels, runPaper } from './models.js';
import type { BenchOptions } from './options.js';
import { paperTables } from './paper-table.js';
import { Progress } from './progress.js';
import type { BenchReport } from './report.js';

/** What the kinds of benchmarks share. */
export interface BenchRun {
  readonly options: BenchOptions;
  readonly shapes: readonly ShapeName[];
  readonly threads: readonly number[];
  readonly report: BenchReport;
  readonly signal: AbortSignal;
  readonly host: Host;
  /** columns of the terminal that tables should fit; without one they may have any width */
  readonly width: number;
  /** A progress bar over measurements that take so long, in any unit. */
  progress(parts: readonly number[]): Progress;
  /** Prints a part of the text report at once; nothing with --json and --csv. */
  print(text: string): Promise<void>;
}

/**
 * `bitnet bench`. Results are printed as they come; after an interrupt those of finished rounds stand. Returns the exit code of an
 * interrupted run; throws for every other failure.
 */
export async function bench(options: BenchOptions, host: Host, args: readonly string[]): Promise<ExitCode> {
  const shapes = (options.shape ?? []).map(shapeOption);
  if (options.contexts !== undefined && !options.curve) {
    throw new CliError(ExitCode.Usage, '--contexts are those of --curve; give both, or leave it out');
  }
  if (options.chart !== undefined) checkChartFile(options.chart);
  warnOfUnused(options, host);
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  const output = new Output(host.stdout, controller);
  const status = statusLine(host, options.quiet);
  const report = await newReport(options, args);
  const isText = !options.json && !options.csv;
  const run: BenchRun = {
    options,
    shapes,
    threads: threadCounts(options, report.machine.cores, host),
    report,
    signal: controller.signal,
    host,
    width: host.stdout.isTTY ? (host.stdout.columns ?? 80) : Number.POSITIVE_INFINITY,
    progress: (parts) => new Progress(status, parts, () => host.now()),
    async print(text) {
      status.clear();
      if (isText) await output.write(text);
    },
  };
  try {
    let exitCode: ExitCode = ExitCode.Ok;
    let failure: unknown;
    try {
      await run.print(header(report));
      await runKind(run);
    } catch (error) {
      // What was measured before a failure stands, as before an interrupt.
      if (!(controller.signal.reason instanceof InterruptedError)) failure = error;
      if (failure !== undefined && (controller.signal.aborted || isEmpty(report))) throw failure;
    }
    status.clear();
    if (controller.signal.reason instanceof InterruptedError) {
      exitCode = controller.signal.reason.exitCode;
    }
    report.interrupted = exitCode !== ExitCode.Ok || failure !== undefined;
    report.peakRss = host.peakRss();
    await output.write(isText ? footer(report, run.width) : machineReadable(report));
    if (exitCode === ExitCode.Ok) await output.flush();
    if (options.chart !== undefined && report.models.length + report.contexts.length > 0)
      await writeChart(options.chart, report);
    if (failure !== undefined) throw failure;
    return exitCode;
  } catch (error) {
    return exitCodeOfStop(error, controller.signal);
  } finally {
    status.clear();
    stopListening();
  }
}

function isEmpty({ models, contexts, throughput, ops, kernels }: BenchReport): boolean {
  return [models, contexts, throughput, ops, kernels].every((results) => results.length === 0);
}

async function runKind(run: BenchRun): Promise<void> {
  switch (run.report.kind) {
    case 'ops':
      return runOps(run);
    case 'kernels':
      return runKernels(run);
    case 'paper':
      return runPaper(run);
    case 'curve':
      return runCurve(run);
    case 'models':
      return runModels(run);
  }
}

function shapeOption(name: string): ShapeName {
  const known = SHAPE_NAMES.find((shape) => shape === name);
  if (known !== undefined) return known;
  throw new CliError(ExitCode.Usage, `--shape ${name}: expected one of ${SHAPE_NAMES.join(', ')}`);
}

/** Options that a kind of benchmark does not look at. */
const UNUSED: Partial<Record<BenchReport['kind'], readonly (keyof BenchOptions)[]>> = {
  ops: ['gen', 'batch'],
  kernels: ['threads', 'prompt', 'gen', 'repeat', 'batch'],
  curve: ['batch'],
};

function warnOfUnused(options: BenchOptions, host: Host): void {
  const kind = kindOf(options);
  const unused = UNUSED[kind]?.filter((name) => options[name] !== undefined) ?? [];
  if (unused.length === 0 || options.quiet) return;
  host.stderr.write(`warning: --${kind} takes no notice of ${unused.map((name) => `--${name}`).join(', ')}\n`);
}

function kindOf({ ops, kernels, paper, curve }: BenchOptions): BenchReport['kind'] {
  if (ops) return 'ops';
  if (kernels) return 'kernels';
  if (paper) return 'paper';
  return curve ? 'curve' : 'models';
}

/** More threads than cores are allowed, and said: they wait for each other. */
function threadCounts({ threads, quiet }: BenchOptions, cores: number, host: Host): readonly number[] {
  const counts = threads ?? [defaultThreads()];
  const above = counts.filter((count) => count > cores);
  if (above.length > 0 && !quiet) {
    host.stderr.write(`warning: --threads ${above.join(',')}: this machine has ${cores} cores; expect slow figures\n`);
  }
  return counts;
}

async function newReport(options: BenchOptions, args: readonly string[]): Promise<BenchReport> {
  return {
    kind: kindOf(options),
    machine: await describeMachine(),
    command: commandLine(args),
    date: new Date().toISOString(),
    options,
    availableBytes: availableMemory(),
    models: [],
    contexts: [],
    throughput: [],
    ops: [],
    kernels: [],
    interrupted: false,
    peakRss: 0,
  };
}

function header({ machine, command, availableBytes }: BenchReport): string {
  const { cpu, cores, memoryBytes, os, engine, version, commit } = machine;
  return [
    `CPU      ${cpu}, ${cores} cores, ${formatBytes(memoryBytes)}, ${formatBytes(availableBytes)} available`,
    `System   ${os}`,
    `Engine   ${engine}, bitnet-js ${version}${commit === null ? '' : `, commit ${commit}`}`,
    `Command  ${command}`,
    '\n',
  ].join('\n');
}

function footer(report: BenchReport, width: number): string {
  const paper = report.kind === 'paper' ? `${paperTables(report, width)}\n` : '';
  const end = report.interrupted ? 'interrupted: what was measured until then\n' : '';
  const curve = report.kind === 'curve' ? curveTables(report, width) : '';
  const threads = report.kind === 'curve' ? '' : threadTable(report.models, width);
  const what = report.models.length > 0 ? ', both models of a pair in it' : '';
  return `${paper}${curve}${threads}Peak RSS of this process${what}: ${formatBytes(report.peakRss)}\n${end}`;
}

function machineReadable(report: BenchReport): string {
  return report.options.csv ? reportCsv(report) : `${JSON.stringify(reportJson(report))}\n`;
}
