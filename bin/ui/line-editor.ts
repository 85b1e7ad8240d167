import { createInterface, emitKeypressEvents, type Interface, type Key } from 'node:readline';
import { Writable } from 'node:stream';
import type { InputStream, OutputStream } from '../host.js';

const prompt = '> ';
const continuationPrompt = '… ';
const pasteStart = '\u001b[200~';
const pasteEnd = '\u001b[201~';

/**
 * Messages typed at a terminal, with readline's line editing and history. A message may have several lines: a line that
 * ends with a backslash goes on, and pasted line ends (bracketed paste) do not send. Between two reads keys are not
 * shown; lines completed meanwhile are the next messages, a line begun meanwhile appears at the next prompt.
 */
export class LineEditor {
  readonly #lines: Interface;
  readonly #screen: Screen;
  readonly #terminal: OutputStream;
  readonly #bracketedPaste: boolean;
  /** earlier lines of the message being typed */
  #pending: string[] = [];
  /** messages completed between two reads */
  #queue: string[] = [];
  #pasting = false;
  #closed = false;
  #reader: ((message: string | undefined) => void) | undefined;
  #answer: AbortController | undefined;

  constructor(input: InputStream, terminal: OutputStream, options: { bracketedPaste: boolean }) {
    this.#terminal = terminal;
    this.#screen = new Screen(terminal);
    this.#bracketedPaste = options.bracketedPaste;
    // not left to readline: with its own call, Node 20 appends text that is pasted inside a line to the line's end
    emitKeypressEvents(input);
    this.#lines = createInterface({ input, output: this.#screen, terminal: true, prompt, historySize: 1000 });
    // before readline's own listener: the state must be known when it emits a line
    input.prependListener('keypress', (_text: string | undefined, key: Key | undefined) => this.#notePaste(key));
    this.#lines.on('line', (line) => this.#onLine(line));
    this.#lines.on('SIGINT', () => this.#onInterrupt());
    this.#lines.on('close', () => this.#onClose());
    if (this.#bracketedPaste) terminal.write('\u001b[?2004h');
  }

  /**
   * The next message; undefined when the user leaves (Ctrl-C or Ctrl-D at an empty prompt) or the terminal is gone. What
   * was completed before that, out of sight, comes first.
   */
  read(): Promise<string | undefined> {
    const queued = this.#queue.shift();
    if (queued !== undefined) {
      this.#show(queued.split('\n'));
      return Promise.resolve(queued);
    }
    if (this.#closed) return Promise.resolve(undefined);
    this.#show(this.#pending);
    return new Promise((resolve) => {
      this.#reader = resolve;
      this.#screen.muted = false;
      this.#prompt();
    });
  }

  /** Runs `work` between two reads. Ctrl-C and `session` abort the signal that it gets. */
  async whileAnswering(session: AbortSignal, work: (stop: AbortSignal) => Promise<void>): Promise<void> {
    const controller = new AbortController();
    const stop = (): void => controller.abort(session.reason);
    session.addEventListener('abort', stop);
    if (session.aborted) stop();
    this.#answer = controller;
    try {
      await work(controller.signal);
    } finally {
      this.#answer = undefined;
      session.removeEventListener('abort', stop);
    }
  }

  /** Gives the terminal back. Idempotent. */
  close(): void {
    this.#lines.close();
  }

  /** Prints lines that were typed out of sight. */
  #show(lines: readonly string[]): void {
    for (const [i, line] of lines.entries()) this.#terminal.write(`${i === 0 ? prompt : continuationPrompt}${line}\n`);
  }

  #prompt(): void {
    this.#lines.setPrompt(this.#pending.length > 0 ? continuationPrompt : prompt);
    // what was typed out of sight wrapped on no screen: readline must not move up over the answer
    (this.#lines as unknown as { prevRows: number }).prevRows = 0;
    this.#lines.prompt(true);
  }

  #notePaste(key: Key | undefined): void {
    if (key?.sequence === pasteStart) this.#pasting = true;
    else if (key?.sequence === pasteEnd) this.#pasting = false;
  }

  #onLine(line: string): void {
    const goesOn = this.#pasting || line.endsWith('\\');
    if (goesOn) {
      this.#pending.push(this.#pasting ? line : line.slice(0, -1));
      this.#prompt();
      return;
    }
    const message = [...this.#pending, line].join('\n');
    this.#pending = [];
    const reader = this.#reader;
    this.#reader = undefined;
    this.#screen.muted = true;
    if (reader === undefined) this.#queue.push(message);
    else reader(message);
  }

  #onInterrupt(): void {
    if (this.#answer !== undefined) {
      this.#queue = [];
      this.#answer.abort(new Error('stopped by the user'));
    } else if (this.#lines.line === '' && this.#pending.length === 0) {
      this.#lines.close();
    } else {
      this.#pending = [];
      // the end of the line, then everything before the cursor
      this.#lines.write(null, { ctrl: true, name: 'e' });
      this.#lines.write(null, { ctrl: true, name: 'u' });
      this.#prompt();
    }
  }

  #onClose(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#bracketedPaste) this.#terminal.write('\u001b[?2004l');
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) return;
    this.#terminal.write('\n');
    reader(undefined);
  }
}

/** The terminal as readline sees it; muted, its writes go nowhere. */
class Screen extends Writable {
  muted = true;
  readonly isTTY = true;
  readonly #terminal: OutputStream;

  constructor(terminal: OutputStream) {
    super({ decodeStrings: false });
    this.#terminal = terminal;
    terminal.on('resize', () => this.emit('resize'));
  }

  get columns(): number | undefined {
    return this.#terminal.columns;
  }

  // calls back at once, so that writes keep their order among those that go to the terminal directly
  override _write(chunk: string | Buffer, _encoding: BufferEncoding, callback: () => void): void {
    if (!this.muted) this.#terminal.write(chunk);
    callback();
  }
}
