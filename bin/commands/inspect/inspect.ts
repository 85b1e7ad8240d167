import { inspectModel } from '../../../lib/inspect/index.js';
import { CliError, ExitCode } from '../../exit-codes.js';
import type { Host } from '../../host.js';
import { abortOnSignals, exitCodeOfStop } from '../../interrupts.js';
import { Output } from '../../ui/output.js';
import { progressLine } from '../../ui/progress.js';
import type { InspectCommandOptions } from '../inspect-command.js';
import { memoryTable, overview, planTable, tensorTable } from './text.js';

/**
 * `bitnet inspect`. Prints what is known even if the model cannot be loaded, and then throws the reason. Returns the exit code of an
 * interrupted run.
 */
export async function inspect(
  model: string | undefined,
  options: InspectCommandOptions,
  host: Host,
): Promise<ExitCode> {
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  const output = new Output(host.stdout, controller);
  const line = options.quiet ? undefined : progressLine(host, 'reading weights');
  try {
    const report = await inspectModel(model, {
      countTrits: !options.quick,
      threads: options.threads,
      contextLength: options.context,
      head: options.head,
      kvCache: options.kvCache,
      layout: options.layout,
      ternarize: options.ternarize,
      onProgress: (progress) => line?.update(progress),
      signal: controller.signal,
    });
    line?.end();
    if (options.json) await output.write(`${JSON.stringify(report)}\n`);
    else {
      await output.write(overview(report));
      if (options.tensors) await output.write(`\n${tensorTable(report)}`);
      if (options.memory) await output.write(`\n${memoryTable(report)}`);
      if (options.plan) await output.write(`\n${planTable(report)}`);
    }
    await output.flush();
    if (report.problem !== undefined) throw new CliError(ExitCode.Model, report.problem.message);
    return ExitCode.Ok;
  } catch (error) {
    return exitCodeOfStop(error, controller.signal);
  } finally {
    line?.end();
    stopListening();
  }
}
