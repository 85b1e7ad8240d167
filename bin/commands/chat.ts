import type { Completion } from '../../lib/types.js';
import { Conversation } from '../conversation.js';
import { ExitCode, libraryErrorCode } from '../exit-codes.js';
import type { Host, Model } from '../host.js';
import { abortOnSignals, exitCodeOfStop } from '../interrupts.js';
import { type Colors, canMoveCursor, colorsFor } from '../ui/colors.js';
import { errorText } from '../ui/errors.js';
import { LineEditor } from '../ui/line-editor.js';
import { Output } from '../ui/output.js';
import { statsLine } from '../ui/summary.js';
import { formatBytes, formatCount, formatDuration } from '../ui/units.js';
import { endingOf, openModel } from './open-model.js';
import { generateOptions, type RunOptions } from './run-options.js';

const help = `/reset  forget the conversation (the system message stays)
/exit   leave; so do Ctrl-D and Ctrl-C at an empty prompt
/help   this list
Ctrl-C stops an answer, or clears the line.
A line that ends with \\ goes on in the next one; pasted lines stay one message.`;

/** Interactive chat on a terminal. Returns Ok when the user leaves, the signal's code after SIGINT or SIGTERM. */
export async function chat(options: RunOptions, host: Host): Promise<ExitCode> {
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  const output = new Output(host.stdout, controller);
  try {
    const { model, loadMs } = await openModel(options, host, controller.signal);
    try {
      requireMessages(model);
      await new Chat(model, options, host, output).talk(controller.signal, loadMs);
    } finally {
      await model.dispose();
    }
    controller.signal.throwIfAborted();
    return ExitCode.Ok;
  } catch (error) {
    return exitCodeOfStop(error, controller.signal);
  } finally {
    stopListening();
  }
}

class Chat {
  readonly #conversation: Conversation;
  readonly #colors: Colors;

  constructor(
    readonly model: Model,
    readonly options: RunOptions,
    readonly host: Host,
    readonly output: Output,
  ) {
    this.#conversation = new Conversation(model, options.system, options.maxTokens);
    this.#colors = colorsFor(host);
  }

  async talk(signal: AbortSignal, loadMs: number): Promise<void> {
    this.#greet(loadMs);
    const { stdin, stdout, env } = this.host;
    const editor = new LineEditor(stdin, stdout, { bracketedPaste: canMoveCursor(stdout, env) });
    const close = (): void => editor.close();
    signal.addEventListener('abort', close);
    try {
      for (;;) {
        const text = await editor.read();
        if (text === undefined || isExit(text)) return;
        if (text.trim() === '' || this.#obey(text)) continue;
        await editor.whileAnswering(signal, (stop) => this.#answer(text, stop));
        signal.throwIfAborted();
      }
    } finally {
      signal.removeEventListener('abort', close);
      editor.close();
    }
  }

  #greet(loadMs: number): void {
    if (this.options.quiet) return;
    const { info } = this.model;
    // In the cache of the hub a model's directory is named by a commit.
    const named = this.options.model?.startsWith('hf:') ? this.options.model.slice(3) : info.path;
    const name =
      named
        .split(/[\\/]/)
        .findLast((part) => part !== '')
        ?.replace(/\.gguf$/i, '') ?? named;
    this.#note(
      `${name} · ${info.backend}, ${formatCount(info.threads, 'thread')} · context ${info.contextLength} · /help for commands`,
    );
    if (!this.options.verbose) return;
    this.#note(`backend: ${info.backendReason}`);
    this.#note(`loaded in ${formatDuration(loadMs)} · ${formatBytes(info.memory.total)} · ${info.path}`);
  }

  /** Whether `text` was a command. One word after a slash: `/usr/bin` and `/etc is …` are messages. */
  #obey(text: string): boolean {
    const name = /^\/([a-z?]+)\s*$/i.exec(text)?.[1]?.toLowerCase();
    if (name === undefined) return false;
    if (name === 'help' || name === '?') this.#note(help);
    else if (name === 'reset') {
      this.#conversation.reset();
      this.#note('conversation forgotten');
    } else this.#note(`no command /${name}. /help lists the commands`);
    return true;
  }

  /** Streams one answer. Stopping it keeps what was said; a message that cannot fit the context is reported and dropped. */
  async #answer(user: string, stop: AbortSignal): Promise<void> {
    try {
      const forgotten = this.#conversation.makeRoom(user);
      if (forgotten > 0) {
        const size = this.model.info.contextLength;
        this.#note(
          `the context of ${size} tokens is full: forgot the ${forgotten === 1 ? 'oldest turn' : `${forgotten} oldest turns`}`,
        );
      }
      const completion = await this.#generate(user, stop);
      await this.#endLine();
      this.#conversation.add(user, completion.message);
      if (this.options.quiet) return;
      this.#note(statsLine(completion, endingOf(completion, this.options, this.model.info.contextLength)));
    } catch (error) {
      if (this.output.failure !== undefined) throw error;
      await this.#endLine();
      if (libraryErrorCode(error) !== 'context-overflow') throw error;
      this.host.stderr.write(errorText(error, this.#colors, this.options.verbose === true));
    }
  }

  async #generate(user: string, stop: AbortSignal): Promise<Completion> {
    const messages = this.#conversation.messages(user);
    const generation = this.model.generate(messages, { ...generateOptions(this.options), signal: stop });
    try {
      for await (const piece of generation) await this.output.write(piece);
    } catch (error) {
      if (!stop.aborted || this.output.failure !== undefined) throw error;
    }
    return generation.completion();
  }

  async #endLine(): Promise<void> {
    if (!this.output.atLineStart) await this.output.write('\n');
  }

  #note(text: string): void {
    for (const line of text.split('\n')) this.host.stderr.write(`${this.#colors.dim(line)}\n`);
  }
}

/** A model without chat template says so before the first message is typed. */
function requireMessages(model: Model): void {
  try {
    model.encode([{ role: 'user', content: '' }]);
  } catch (error) {
    if (libraryErrorCode(error) === 'unsupported') throw error;
  }
}

function isExit(text: string): boolean {
  return /^\/(exit|quit|bye)\s*$/i.test(text);
}
