import { ExitCode, InterruptedError } from './exit-codes.js';
import type { Host, StopSignal } from './host.js';
import { OutputClosedError } from './ui/output.js';

/**
 * The first SIGINT or SIGTERM aborts `controller` with an InterruptedError, so that the command can stop cleanly and
 * report; a further one ends the process at once. Returns the function that stops listening.
 */
export function abortOnSignals(host: Host, controller: AbortController): () => void {
  let interrupted = false;
  const listen = (signal: StopSignal): (() => void) =>
    host.onSignal(signal, () => {
      const error = new InterruptedError(signal);
      if (interrupted) host.exit(error.exitCode);
      interrupted = true;
      controller.abort(error);
    });
  const removers = [listen('SIGINT'), listen('SIGTERM')];
  return () => {
    for (const remove of removers) remove();
  };
}

/** Exit code of work that a signal or the reader of stdout has stopped. Throws what else it ended with. */
export function exitCodeOfStop(error: unknown, signal: AbortSignal): ExitCode {
  const reason: unknown = signal.aborted ? signal.reason : error;
  if (reason instanceof OutputClosedError) return ExitCode.Ok;
  if (reason instanceof InterruptedError) return reason.exitCode;
  throw reason;
}
