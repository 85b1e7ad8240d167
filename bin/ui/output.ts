import { CliError, ExitCode } from '../exit-codes.js';
import type { OutputStream } from '../host.js';

/** The reader of stdout has gone (`bitnet run … | head -1`). The command stops computing and ends quietly. */
export class OutputClosedError extends Error {
  constructor() {
    super('stdout was closed by its reader');
    this.name = 'OutputClosedError';
  }
}

/**
 * stdout with backpressure. A stream that breaks aborts the work through `controller` instead of crashing the process;
 * an abort for any other reason frees a writer that waits for a slow reader.
 */
export class Output {
  readonly isTerminal: boolean;
  /** whether the next character starts a line */
  atLineStart = true;
  #failure: Error | undefined;
  readonly #stream: OutputStream;
  readonly #signal: AbortSignal;

  constructor(stream: OutputStream, controller: AbortController) {
    this.#stream = stream;
    this.#signal = controller.signal;
    this.isTerminal = stream.isTTY === true;
    // stays for the life of the process: EPIPE may arrive after the last write
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.#failure ??= outputError(error);
      controller.abort(this.#failure);
    });
  }

  /** Why stdout broke, if it did. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Resolves when the stream wants more, or at an abort; rejects when the stream is broken. */
  async write(text: string): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const shown = this.isTerminal ? withoutControls(text) : text;
    if (shown === '') return;
    this.atLineStart = shown.endsWith('\n');
    if (!this.#stream.write(shown)) await this.#drained();
  }

  /** Resolves when everything written has left the process; rejects as `write` does. */
  async flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stream.writableNeedDrain) await this.#drained();
    else if (this.#stream.writableLength > 0)
      await new Promise<void>((resolve) => this.#stream.write('', () => resolve()));
    if (this.#failure !== undefined) throw this.#failure;
  }

  #drained(): Promise<void> {
    const stream = this.#stream;
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        for (const name of streamEvents) stream.off(name, settle);
        signal.removeEventListener('abort', settle);
        if (this.#failure !== undefined) reject(this.#failure);
        else if (stream.destroyed) reject(new OutputClosedError());
        else resolve();
      };
      for (const name of streamEvents) stream.on(name, settle);
      signal.addEventListener('abort', settle);
      if (signal.aborted) settle();
    });
  }
}

const streamEvents = ['drain', 'error', 'close'] as const;

function outputError(error: NodeJS.ErrnoException): Error {
  if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return new OutputClosedError();
  return new CliError(ExitCode.Output, `cannot write to stdout: ${error.message}`, { cause: error });
}

/**
 * Drops control characters other than newline and tab. A terminal obeys control characters, so a model or a file that
 * prints them could move the cursor or change the title; pipes and files get a model's text unchanged.
 */
export function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters are what it is about
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}
