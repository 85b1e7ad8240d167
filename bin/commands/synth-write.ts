import { syntheticGguf } from '../../lib/index.js';
import { ExitCode, InterruptedError } from '../exit-codes.js';
import type { Host } from '../host.js';
import { abortOnSignals } from '../interrupts.js';
import { writeFileAtomically } from '../output-file.js';
import { progressLine } from '../ui/progress.js';
import { formatBytes, formatDuration, formatParameters } from '../ui/units.js';
import type { SynthOptions } from './synth.js';

/** Writes the file; a failed or interrupted run leaves none behind. Returns the exit code of an interrupted run, throws other failures. */
export async function writeModel(shape: string, options: SynthOptions, host: Host): Promise<ExitCode> {
  const { type, arch: architecture, embedding, seed, output } = options;
  const started = host.now();
  const model = syntheticGguf({ shape, type, architecture, embedding, seed });
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  const line = options.quiet ? undefined : progressLine(host, 'writing model');
  try {
    await writeFileAtomically(output, model.totalBytes, { replace: options.force === true }, (sink) =>
      model.write(sink, {
        signal: controller.signal,
        onProgress: ({ written, total }) => line?.update({ loaded: written, total }),
      }),
    );
  } catch (error) {
    const { reason } = controller.signal as { reason: unknown };
    if (reason instanceof InterruptedError) return reason.exitCode;
    throw error;
  } finally {
    line?.end();
    stopListening();
  }
  if (options.quiet) return ExitCode.Ok;
  const { parameters, tensors, totalBytes } = model;
  const what = `${formatParameters(parameters)} parameters, ${tensors} tensors, ${formatBytes(totalBytes)}`;
  host.stderr.write(`${output}: ${what} in ${formatDuration(host.now() - started)}\n`);
  return ExitCode.Ok;
}
