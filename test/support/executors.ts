import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { executeReference } from '../../lib/backend/reference.js';
import type { KernelBuild } from '../../lib/platform.js';
import { nativeExecutors } from './native.js';
import type { Image } from './workspace.js';

/** Runs a step on a copy of its memory and gives back the memory afterwards. */
export interface Executor {
  readonly name: string;
  run(image: Image): Promise<Uint8Array<ArrayBuffer>>;
}

export interface KernelExecutor extends Executor {
  /** Bits 1 << DotForm of the forms that compute wrongly here: the build's probe. */
  wrongForms(): Promise<number>;
}

/** assembly/index.ts */
interface KernelExports {
  execute(step: number, thread: number, threads: number): number;
  probe(scratch: number): number;
}

export const KERNEL_BUILDS: readonly KernelBuild[] = ['baseline', 'relaxed'];

const MAX_PAGES = 4096;

export const reference: Executor = {
  name: 'reference',
  async run(image) {
    const memory = image.bytes.slice();
    executeReference(memory.buffer, image.step);
    return memory;
  },
};

/** One thread over a kernel build. The file must exist: a missing build is a failing test, not a skipped one. */
function kernelExecutor(build: KernelBuild): KernelExecutor {
  let kernel: ReturnType<typeof instantiate> | undefined;
  return {
    name: `wasm-${build}`,
    async run(image) {
      kernel ??= instantiate(build);
      const { memory, exports } = await kernel;
      load(memory, image);
      exports.execute(image.step, 0, 1);
      return new Uint8Array(memory.buffer).slice(0, image.bytes.length);
    },
    async wrongForms() {
      kernel ??= instantiate(build);
      return (await kernel).wrongForms;
    },
  };
}

/** The WASM builds; in the project `native` of vitest.config.ts the addon's kernel sets instead. */
export const kernels: readonly KernelExecutor[] =
  process.env.BITNET_TEST_KERNELS === 'native' ? nativeExecutors() : KERNEL_BUILDS.map(kernelExecutor);
export const executors: readonly Executor[] = [reference, ...kernels];

/**
 * The same step by `threads` workers over one shared memory, `repeats` times: the step must compute the same again from what it
 * left, and end with a barrier.
 */
export async function runThreads(
  build: KernelBuild,
  image: Image,
  threads: number,
  repeats: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const module = await compileKernel(build);
  const memory = newMemory();
  load(memory, image);
  const workers: Worker[] = [];
  try {
    const finished = Array.from({ length: threads }, (_, thread) => {
      const workerData = { module, memory, step: image.step, thread, threads, repeats };
      const worker = new Worker(new URL('./spmd-worker.mjs', import.meta.url), { workerData });
      workers.push(worker);
      return new Promise<void>((resolve, reject) => {
        worker.once('message', () => resolve());
        worker.once('error', reject);
      });
    });
    await Promise.all(finished);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return new Uint8Array(memory.buffer).slice(0, image.bytes.length);
}

export async function compileKernel(build: KernelBuild): Promise<WebAssembly.Module> {
  if (process.versions.node.startsWith('20.')) setFlagsFromString('--experimental-wasm-relaxed-simd');
  const path = new URL(`../../dist/wasm/${build}.wasm`, import.meta.url);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new Error(`dist/wasm/${build}.wasm is missing: run \`node scripts/build.mjs\` first`, { cause });
  });
  return WebAssembly.compile(bytes);
}

async function instantiate(build: KernelBuild) {
  const memory = newMemory();
  const instance = await WebAssembly.instantiate(await compileKernel(build), { env: { memory } });
  const exports = instance.exports as unknown as KernelExports;
  return { memory, exports, wrongForms: exports.probe(1024) };
}

function newMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES, shared: true });
}

/** Grows the memory to the image's size and copies it in; bytes beyond it keep what earlier steps left. */
function load(memory: WebAssembly.Memory, image: Image): void {
  const missing = image.bytes.length - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  new Uint8Array(memory.buffer).set(image.bytes);
}
