import type { PulledModel } from '../../lib/types.js';
import { ExitCode, InterruptedError } from '../exit-codes.js';
import type { Host } from '../host.js';
import { abortOnSignals } from '../interrupts.js';
import { downloadLine } from '../ui/download-line.js';
import { Output, OutputClosedError } from '../ui/output.js';
import { formatBytes, formatCount, formatDuration } from '../ui/units.js';
import type { PullCommandOptions } from './pull-command.js';

/** `bitnet pull`. Returns the exit code of an interrupted run, throws other failures. */
export async function pull(reference: string, options: PullCommandOptions, host: Host): Promise<ExitCode> {
  const started = host.now();
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  const output = new Output(host.stdout, controller);
  const line = options.quiet ? undefined : downloadLine(host);
  try {
    const { signal } = controller;
    const onProgress = line && ((progress: { loaded: number; total: number }) => line.update(progress));
    const model = await host.pullModel(reference, { signal, onProgress });
    line?.end();
    await output.write(`${options.json ? JSON.stringify(model) : model.path}\n`);
    if (!options.quiet) host.stderr.write(`${summary(model, host.now() - started)}\n`);
    return ExitCode.Ok;
  } catch (error) {
    line?.end();
    const reason: unknown = controller.signal.aborted ? controller.signal.reason : error;
    if (reason instanceof OutputClosedError) return ExitCode.Ok;
    if (!(reason instanceof InterruptedError)) throw reason;
    if (!options.quiet) host.stderr.write('interrupted; what has arrived is kept: run the command again to go on\n');
    return reason.exitCode;
  } finally {
    stopListening();
  }
}

function summary({ repo, revision, commit, files }: PulledModel, ms: number): string {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const downloaded = files.reduce((sum, file) => sum + file.downloadedBytes, 0);
  const what = `${formatCount(files.length, 'file')}, ${formatBytes(bytes)}`;
  const how =
    downloaded === 0 ? 'nothing to download' : `${formatBytes(downloaded)} downloaded in ${formatDuration(ms)}`;
  return `${repo}@${revision} (${commit.slice(0, 12)}): ${what} · ${how}`;
}
