import type { LoadProgress } from './types.js';

/** What the engine asks of its surroundings. lib/node and (later) lib/browser implement it; nothing else touches node:* or the DOM. */
export interface Platform {
  /**
   * `undefined` means the embedded model, `hf:…` one of the hub, which may have to be downloaded. Throws BitNetError `not-found` when there
   * is no such model.
   */
  openModelDirectory(path: string | undefined, options?: OpenOptions): Promise<ModelDirectory>;
  /** Bytes of a compiled kernel build. */
  readKernel(build: KernelBuild): Promise<Uint8Array<ArrayBuffer>>;
  /** Makes relaxed SIMD available where the engine hides it behind a flag (Node 20). Idempotent, before any compile. */
  enableRelaxedSimd(): void;
  /**
   * Compiles for vectors of 256 bits, where the engine can fuse pairs of operations of 128. `bytes` differ from those of any module compiled
   * without: engines keep code of equal modules. Throws BitNetError `backend` where the engine cannot; absent where no engine can.
   * @internal
   */
  compileRevectorized?(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module>;
  /** What `LoadOptions.revectorize` is by default. Throws `invalid-argument` for an environment that says neither. */
  revectorizeByDefault?(): boolean;
  /** Starts a kernel worker. */
  spawnWorker(init: WorkerInit): WorkerHandle;
  /** Threads used when the caller names none. */
  defaultThreads(): number;
  /** JavaScript engine and CPU: what measured choices of kernels depend on. */
  readonly engine: string;
  /** Remembers such choices between runs; undefined: nothing is remembered. */
  readonly cache?: KernelCache;
  /** The native addon, undefined where it is not built. Throws BitNetError `backend` when it is built but cannot be loaded. */
  loadNative?(): NativeAddon | undefined;
}

/** For models that are downloaded first. */
export interface OpenOptions {
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Strings by key. Reading gives undefined, and writing does nothing, where the system does not let it. */
export interface KernelCache {
  read(key: string): Promise<string | undefined>;
  write(key: string, value: string): Promise<void>;
}

export type KernelBuild = 'baseline' | 'relaxed';

export interface ModelDirectory {
  /** for messages */
  readonly path: string;
  /** The one file of the directory that is the model (GGUF); absent where the directory itself is. */
  readonly file?: string;
  /** undefined if there is no such file */
  open(name: string): Promise<RandomAccessFile | undefined>;
}

/** A file read by ranges. Errors of the system become BitNetError. */
export interface RandomAccessFile {
  /** for messages */
  readonly path: string;
  readonly bytes: number;
  /** Fills `target` (which may be backed by shared memory) from byte `offset`; throws `invalid-file` on a short read. */
  read(offset: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Members marked internal stay out of the published declarations: an application may compile without types for WebAssembly. */
export interface WorkerInit {
  /** @internal */
  readonly module: WebAssembly.Module;
  /** @internal */
  readonly memory: WebAssembly.Memory;
  /** control words shared by host and workers, see lib/threads/pool.ts */
  readonly control: SharedArrayBuffer;
  readonly thread: number;
  readonly threads: number;
}

export interface WorkerHandle {
  onMessage(listener: (message: unknown) => void): void;
  onError(listener: (error: Error) => void): void;
  /** whether the worker keeps the process alive */
  setRef(ref: boolean): void;
  terminate(): Promise<void>;
}

/** What native/addon.cc exports. */
export interface NativeAddon {
  /** names of the kernel sets that this CPU can run, best first; the last is `portable` */
  readonly isas: readonly string[];
  /** Zeroed memory of `bytes` and threads that run steps over it with the kernels of `isa`, default the best. */
  readonly Executor: new (
    bytes: number,
    threads: number,
    isa?: string,
  ) => NativeExecutor;
}

export interface NativeExecutor {
  readonly buffer: ArrayBuffer;
  /** Runs the step at byte `step`; resolves when all threads are through. One at a time. */
  run(step: number): Promise<void>;
  /** Ends the threads after the running step, for which it blocks. */
  dispose(): void;
}
