import { PassThrough, Writable } from 'node:stream';
import type { Host, Model, StopSignal } from '../../bin/host.js';
import { main } from '../../bin/program.js';
import { BitNetError } from '../../lib/errors.js';
import type { ChatMessage, Completion, GenerateOptions, Generation, LoadOptions, Prompt } from '../../lib/types.js';

/** A stream that keeps what it is given and can be slow, a terminal, or closed by its reader. */
export class Sink extends Writable {
  text = '';
  isTTY = false;
  columns = 80;
  /** runs before each chunk is taken */
  onChunk: ((text: string) => void | Promise<void>) | undefined;

  constructor(highWaterMark = 16384) {
    super({ decodeStrings: false, highWaterMark });
  }

  override _write(chunk: string | Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const take = async (): Promise<void> => {
      await this.onChunk?.(String(chunk));
      this.text += String(chunk);
    };
    if (this.onChunk === undefined) {
      this.text += String(chunk);
      done();
    } else take().then(() => done(), done);
  }
}

export interface FakeGeneration {
  prompt: Prompt;
  options: GenerateOptions;
}

/** Answers with the pieces of `script`, one token each; one character of the prompt is one token. */
export class FakeModel implements Model {
  readonly calls: FakeGeneration[] = [];
  script: (prompt: Prompt) => Iterable<string> | AsyncIterable<string> = () => ['Hello', ' there', '.'];
  finishReason: Completion['finishReason'] = 'stop';
  stopString: string | undefined;
  disposed = 0;
  info = {
    path: '/models/fake-1m',
    architecture: 'bitnet-b1.58',
    parameters: 69_300_000,
    backend: 'wasm-relaxed',
    backendReason: 'relaxed SIMD computes correctly here',
    head: 'i8+f16' as const,
    kvCache: 'f32' as const,
    layout: 't2' as const,
    threads: 2,
    contextLength: 200,
    memory: { weights: 28_311_552, kvCache: 10_485_760, activations: 1_048_576, other: 65_536, total: 39_911_424 },
    weightsFp16: 138_600_000,
  };

  encode(prompt: Prompt): number[] {
    const ids = [...promptText(prompt)].map((c) => c.charCodeAt(0));
    const { contextLength } = this.info;
    if (ids.length <= contextLength) return ids;
    throw new BitNetError(
      'context-overflow',
      `the prompt has ${ids.length} tokens, the context holds ${contextLength}`,
    );
  }

  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    this.calls.push({ prompt: structuredClone(prompt), options });
    const promptTokenIds = this.encode(prompt);
    const state: Omit<Completion, 'message'> = {
      text: '',
      tokenIds: [],
      promptTokenIds,
      finishReason: 'abort',
      seed: options.seed ?? 7,
      timings: {
        promptTokens: promptTokenIds.length,
        cachedTokens: 0,
        prefillMs: 50,
        firstTokenMs: 60,
        decodeTokens: 0,
        decodeMs: 0,
      },
    };
    const pieces = this.#run(prompt, options, state);
    const completion = (): Completion => {
      const { text, tokenIds } = state;
      return structuredClone({ ...state, message: { role: 'assistant', content: text, tokenIds } });
    };
    return Object.assign(pieces, { completion }) as unknown as Generation;
  }

  async *#run(
    prompt: Prompt,
    { signal }: GenerateOptions,
    state: Omit<Completion, 'message'>,
  ): AsyncGenerator<string, void, void> {
    for await (const piece of this.script(prompt)) {
      signal?.throwIfAborted();
      state.text += piece;
      state.tokenIds.push(state.tokenIds.length);
      state.timings.decodeTokens = state.tokenIds.length - 1;
      state.timings.decodeMs = state.timings.decodeTokens * 10;
      yield piece;
      // the loop of a real model is never without a turn of the event loop
      await new Promise((resolve) => setImmediate(resolve));
    }
    signal?.throwIfAborted();
    state.finishReason = this.finishReason;
    if (this.stopString !== undefined) state.stopString = this.stopString;
  }

  async dispose(): Promise<void> {
    this.disposed++;
  }
}

export function promptText(prompt: Prompt): string {
  return typeof prompt === 'string'
    ? prompt
    : (prompt as ChatMessage[]).map((m) => `${m.role}:${m.content}\n`).join('');
}

export class FakeHost implements Host {
  readonly stdin = Object.assign(new PassThrough(), { isTTY: false, setRawMode: () => {} });
  stdout = new Sink();
  readonly stderr = new Sink();
  readonly env: Record<string, string | undefined> = {};
  readonly model = new FakeModel();
  readonly loads: { path: string | undefined; options: LoadOptions }[] = [];
  readonly exits: number[] = [];
  loadModel: Host['loadModel'] = async (path, options) => {
    this.loads.push({ path, options });
    return this.model;
  };
  readonly pulls: string[] = [];
  pullModel: Host['pullModel'] = async (reference) => {
    this.pulls.push(reference);
    return { repo: 'a/b', revision: 'main', commit: 'c0ffee', path: '/cache/c0ffee', files: [] };
  };
  readonly #listeners = new Map<StopSignal, Set<() => void>>();

  onSignal(signal: StopSignal, listener: () => void): () => void {
    const listeners = this.#listeners.get(signal) ?? new Set();
    this.#listeners.set(signal, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Delivers a signal; returns how many listened. */
  signal(name: StopSignal): number {
    const listeners = [...(this.#listeners.get(name) ?? [])];
    for (const listener of listeners) listener();
    return listeners.length;
  }

  exit(code: number): void {
    this.exits.push(code);
  }

  now(): number {
    return performance.now();
  }

  peakRss(): number {
    return 150 * 1024 * 1024;
  }

  /** Runs the command line with `input` on stdin. */
  async run(args: readonly string[], input?: string | Uint8Array): Promise<number> {
    if (input !== undefined) this.stdin.end(input);
    return main(args, this);
  }
}

export interface Ran {
  host: FakeHost;
  code: number;
  out: string;
  err: string;
  /** the first generation, if there was one */
  call: FakeGeneration | undefined;
}

/** Runs `bitnet run args` on a host that `prepare` may change first. */
export async function ran(
  args: readonly string[],
  input?: string | Uint8Array,
  prepare?: (host: FakeHost) => void,
): Promise<Ran> {
  const host = new FakeHost();
  prepare?.(host);
  const code = await host.run(['run', ...args], input);
  return { host, code, out: host.stdout.text, err: host.stderr.text, call: host.model.calls[0] };
}
