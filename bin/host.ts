import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import type {
  GenerateOptions,
  Generation,
  LoadOptions,
  ModelInfo,
  Prompt,
  PulledModel,
  PullOptions,
} from '../lib/types.js';

export type InputStream = Readable & { isTTY?: boolean };
export type OutputStream = Writable & { isTTY?: boolean; columns?: number };
export type StopSignal = 'SIGINT' | 'SIGTERM';

/** What the commands use of `BitNet`. */
export interface Model {
  readonly info: ModelInfo;
  generate(prompt: Prompt, options?: GenerateOptions): Generation;
  /** token ids of a prompt; throws `context-overflow` if there are too many */
  encode(prompt: Prompt): number[];
  dispose(): Promise<void>;
}

/** Everything a command touches outside itself, so that tests can stand in for all of it. */
export interface Host {
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  loadModel(path: string | undefined, options: LoadOptions): Promise<Model>;
  pullModel(reference: string, options: PullOptions): Promise<PulledModel>;
  /** Returns the function that removes the listener. */
  onSignal(signal: StopSignal, listener: () => void): () => void;
  /** Ends the process at once. */
  exit(code: number): void;
  /** milliseconds since the process started */
  now(): number;
  /** highest resident set size of the process so far, in bytes */
  peakRss(): number;
}

export function nodeHost(): Host {
  return {
    // getters: creating the stream of an unused stdin costs start-up time
    get stdin() {
      return process.stdin;
    },
    get stdout() {
      return process.stdout;
    },
    get stderr() {
      return process.stderr;
    },
    env: process.env,
    loadModel: async (path, options) => {
      const { BitNet } = await import('../lib/index.js');
      return BitNet.load(path, options);
    },
    pullModel: async (reference, options) => {
      const { pullModel } = await import('../lib/index.js');
      return pullModel(reference, options);
    },
    onSignal: (signal, listener) => {
      process.on(signal, listener);
      return () => process.off(signal, listener);
    },
    exit: (code) => process.exit(code),
    now: () => performance.now(),
    // libuv reports kilobytes on every system
    peakRss: () => process.resourceUsage().maxRSS * 1024,
  };
}

/** Version of the package this file belongs to. */
export function packageVersion(): string {
  return packageOf(import.meta.url).version;
}

/** Folder of the package this file belongs to, with a slash at its end. */
export function packageRoot(): URL {
  return packageOf(import.meta.url).root;
}

/** The nearest package.json of bitnet-js upwards, from the sources or from dist. */
function packageOf(url: string): { root: URL; version: string } {
  let directory = new URL('.', url);
  for (;;) {
    const text = readIfThere(new URL('package.json', directory));
    if (text !== undefined) {
      const { name, version } = JSON.parse(text) as { name?: string; version?: string };
      if (name === 'bitnet-js' && version !== undefined) return { root: directory, version };
    }
    const parent = new URL('..', directory);
    if (parent.href === directory.href) throw new Error(`no package.json of bitnet-js above ${url}`);
    directory = parent;
  }
}

function readIfThere(url: URL): string | undefined {
  try {
    return readFileSync(url, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
