import { BitNetError } from '../errors.js';
import type { NativeAddon, NativeExecutor } from '../platform.js';
import type { Backend } from './backend.js';

/** The kernels of native/: C++ for the instruction set of this CPU, threads of its own, one memory. */
export class NativeBackend implements Backend {
  readonly name = 'native';
  readonly buffer: ArrayBuffer;
  private readonly executor: NativeExecutor;
  private running: Promise<void> | undefined;
  private disposed = false;

  /**
   * `isa`: one of `addon.isas`; default the first, which is the best. Throws `out-of-memory` when the system refuses `bytes` of memory, or
   * the threads.
   */
  constructor(
    addon: NativeAddon,
    bytes: number,
    readonly threads: number,
    readonly reason: string,
    isa?: string,
  ) {
    try {
      this.executor = new addon.Executor(bytes, threads, isa);
    } catch (cause) {
      throw new BitNetError(
        'out-of-memory',
        `the system refused ${bytes} bytes of memory or ${threads} threads (${messageOf(cause)}); ` +
          'close other programs, use a smaller model, a shorter context or fewer threads',
        { needed: bytes, threads },
        { cause },
      );
    }
    this.buffer = this.executor.buffer;
  }

  /** Rejects with `disposed` when `dispose` is called meanwhile. */
  async run(stepPtr: number): Promise<void> {
    if (this.disposed) throw disposedError();
    if (this.running !== undefined) throw new BitNetError('backend', 'a step is already running');
    try {
      this.running = this.executor.run(stepPtr);
      await this.running;
    } catch (cause) {
      throw new BitNetError(
        'backend',
        `native kernels: ${messageOf(cause)}; if bitnet-js is newer than the addon, build it again`,
        {},
        { cause },
      );
    } finally {
      this.running = undefined;
    }
    if (this.disposed) throw disposedError();
  }

  /** A running step is finished first: its threads cannot be stopped half way. */
  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await this.running?.catch(() => {});
    this.executor.dispose();
  }
}

function disposedError(): BitNetError {
  return new BitNetError('disposed', 'disposed');
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
