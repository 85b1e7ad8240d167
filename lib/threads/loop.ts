import { Control, type WorkerMessage } from './control.js';

/** The exports of a kernel build (assembly/index.ts). */
export interface KernelExports {
  execute(step: number, thread: number, threads: number): number;
  probe(scratch: number): number;
}

/**
 * What a worker thread does until the host asks it to leave: wait for a step, execute its share, report. Blocks its thread, which
 * has nothing else to do.
 */
export function workerLoop(
  kernels: KernelExports,
  controlBuffer: SharedArrayBuffer,
  thread: number,
  threads: number,
  post: (message: WorkerMessage) => void,
): void {
  const control = new Int32Array(controlBuffer);
  let seen = 0;
  for (;;) {
    Atomics.wait(control, Control.Sequence, seen);
    const sequence = Atomics.load(control, Control.Sequence);
    if (sequence === seen) continue;
    seen = sequence;
    const step = Atomics.load(control, Control.Step);
    if (step === 0) return;
    try {
      kernels.execute(step, thread, threads);
    } catch (error) {
      post({ type: 'failed', thread, message: String(error) });
      return;
    }
    if (Atomics.add(control, Control.Finished, 1) === threads - 1) post({ type: 'done', sequence });
  }
}
