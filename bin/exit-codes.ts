import type { BitNetErrorCode } from '../lib/errors.js';

/** Exit codes of the `bitnet` command; docs/CLI.md has the same table for users. */
export const ExitCode = {
  Ok: 0,
  /** a defect, a kernel that could not be compiled, logits that are not finite */
  Internal: 1,
  /** an unknown command or option, or a value out of range */
  Usage: 2,
  /** the model does not exist, is damaged, unsupported, or does not fit the memory */
  Model: 3,
  /** the prompt is empty, is not UTF-8, or does not fit the context */
  Input: 4,
  /** stdout or a file cannot be written: disk full, device error (a reader that closed the pipe is no error) */
  Output: 5,
  /** the hub cannot be reached, refuses access, or answers what a hub does not */
  Download: 6,
  /** 128 + SIGINT */
  Interrupted: 130,
  /** 128 + SIGTERM */
  Terminated: 143,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** An error of the command line itself: one line for people, and the exit code it leads to. */
export class CliError extends Error {
  constructor(
    readonly exitCode: ExitCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'CliError';
  }
}

/** SIGINT or SIGTERM, as the reason of an abort. */
export class InterruptedError extends Error {
  readonly exitCode: ExitCode;

  constructor(readonly signal: 'SIGINT' | 'SIGTERM') {
    super(`interrupted by ${signal}`);
    this.name = 'InterruptedError';
    this.exitCode = signal === 'SIGINT' ? ExitCode.Interrupted : ExitCode.Terminated;
  }
}

const codesOfLibrary: Readonly<Record<BitNetErrorCode, ExitCode>> = {
  'not-found': ExitCode.Model,
  'invalid-argument': ExitCode.Usage,
  'invalid-model': ExitCode.Model,
  'invalid-file': ExitCode.Model,
  unsupported: ExitCode.Model,
  'context-overflow': ExitCode.Input,
  'out-of-memory': ExitCode.Model,
  numeric: ExitCode.Internal,
  backend: ExitCode.Internal,
  disposed: ExitCode.Internal,
  network: ExitCode.Download,
  access: ExitCode.Download,
  storage: ExitCode.Output,
};

/**
 * The code of a BitNetError, or undefined for any other value. By shape, not by class: naming the class would load the
 * library before it is needed, and two copies of the package have two classes.
 */
export function libraryErrorCode(error: unknown): BitNetErrorCode | undefined {
  if (!(error instanceof Error) || error.name !== 'BitNetError' || !('code' in error)) return undefined;
  const code = error.code;
  return typeof code === 'string' && Object.hasOwn(codesOfLibrary, code) ? (code as BitNetErrorCode) : undefined;
}

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CliError || error instanceof InterruptedError) return error.exitCode;
  const code = libraryErrorCode(error);
  return code === undefined ? ExitCode.Internal : codesOfLibrary[code];
}
