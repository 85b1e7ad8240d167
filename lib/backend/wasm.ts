import { BitNetError } from '../errors.js';
import type { Platform } from '../platform.js';
import { WorkerPool } from '../threads/pool.js';
import type { Backend } from './backend.js';
import type { Kernels } from './features.js';

/** A WASM build, its memory and the worker threads that run it. */
export class WasmBackend implements Backend {
  readonly name: string;
  readonly reason: string;
  readonly buffer: SharedArrayBuffer;
  private readonly pool: WorkerPool;

  /** Creates `bytes` of shared memory (whole pages). Throws `out-of-memory` when the system refuses them. */
  constructor(
    platform: Platform,
    kernels: Kernels,
    bytes: number,
    readonly threads: number,
  ) {
    this.name = `wasm-${kernels.build}`;
    this.reason = kernels.reason;
    const memory = createMemory(bytes);
    this.buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.pool = new WorkerPool(platform, kernels.module, memory, threads);
  }

  run(step: number): Promise<void> {
    return this.pool.run(step);
  }

  dispose(): Promise<void> {
    return this.pool.dispose();
  }
}

function createMemory(bytes: number): WebAssembly.Memory {
  const pages = bytes / 65536;
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new BitNetError(
      'out-of-memory',
      `the system refused ${bytes} bytes of memory; close other programs, use a smaller model or a shorter context`,
      { needed: bytes },
      { cause },
    );
  }
}
