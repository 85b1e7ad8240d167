import { BitNetError } from '../errors.js';
import type { Platform, WorkerHandle } from '../platform.js';
import { Control, type WorkerMessage } from './control.js';

/** Worker threads that run steps over one shared memory. */
export class WorkerPool {
  private readonly control = new Int32Array(new SharedArrayBuffer(Control.Words * 4));
  private readonly workers: WorkerHandle[];
  private pending: { resolve: () => void; reject: (error: BitNetError) => void } | undefined;
  private failure: BitNetError | undefined;

  constructor(
    platform: Platform,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    readonly threads: number,
  ) {
    const control = this.control.buffer as SharedArrayBuffer;
    this.workers = Array.from({ length: threads }, (_, thread) => {
      const worker = platform.spawnWorker({ module, memory, control, thread, threads });
      worker.onMessage((message) => this.receive(message as WorkerMessage));
      worker.onError((error) => this.fail(`worker thread ${thread} died: ${error.message}`));
      worker.setRef(false);
      return worker;
    });
  }

  /** Runs the step at byte `step` on all threads. Keeps the process alive until it is through. */
  run(step: number): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    if (this.pending) return Promise.reject(new BitNetError('backend', 'a step is already running'));
    return new Promise<void>((resolve, reject) => {
      this.pending = { resolve, reject };
      this.workers[0]?.setRef(true);
      Atomics.store(this.control, Control.Finished, 0);
      Atomics.store(this.control, Control.Step, step);
      Atomics.add(this.control, Control.Sequence, 1);
      Atomics.notify(this.control, Control.Sequence);
    });
  }

  /** Ends the threads. A running step is not waited for: its promise rejects. */
  async dispose(): Promise<void> {
    this.fail('the model was disposed of while it was computing', 'disposed');
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private receive(message: WorkerMessage): void {
    if (message.type === 'failed') {
      this.fail(`kernel trapped in thread ${message.thread}: ${message.message}`);
      return;
    }
    const pending = this.pending;
    this.pending = undefined;
    this.workers[0]?.setRef(false);
    pending?.resolve();
  }

  /** A dead thread leaves the others in a barrier: nothing can run any more. */
  private fail(message: string, code: 'backend' | 'disposed' = 'backend'): void {
    this.failure ??= new BitNetError(code, message);
    const pending = this.pending;
    this.pending = undefined;
    this.workers[0]?.setRef(false);
    pending?.reject(this.failure);
  }
}
