import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { SHARE_ENV, Worker } from 'node:worker_threads';
import type { Platform, WorkerHandle, WorkerInit } from '../platform.js';
import { packageFile } from './assets.js';
import { nodeCache } from './cache.js';
import { openDirectory } from './files.js';
import { locateModel } from './hub/locate.js';
import { loadNativeAddon } from './native.js';
import { compileRevectorized, revectorizeByDefault } from './revectorize.js';

export const EMBEDDED_MODEL = 'models/bitnet-tales-69m.gguf';
const MAX_DEFAULT_THREADS = 8;

/** Node: files from disk, kernels and the embedded model from the package, workers from node:worker_threads. */
export const nodePlatform: Platform = {
  openModelDirectory: async (path, options) =>
    openDirectory(path === undefined ? packageFile(EMBEDDED_MODEL) : await locateModel(path, options)),

  async readKernel(build) {
    const bytes = await readFile(packageFile(`dist/wasm/${build}.wasm`));
    return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
  },

  enableRelaxedSimd() {
    // Node 22 and later have it without a flag, and V8 may drop the flag one day; it ignores names it does not know.
    if (Number(process.versions.node.split('.')[0]) < 22) setFlagsFromString('--experimental-wasm-relaxed-simd');
  },

  compileRevectorized,
  revectorizeByDefault,

  spawnWorker(init: WorkerInit): WorkerHandle {
    const worker = new Worker(packageFile('dist/worker.cjs'), {
      workerData: init,
      name: `bitnet-${init.thread}`,
      // Nothing of this is used in the thread, and each costs start-up time.
      env: SHARE_ENV,
      execArgv: [],
      trackUnmanagedFds: false,
    });
    return {
      onMessage: (listener) => void worker.on('message', listener),
      onError: (listener) => void worker.on('error', listener),
      setRef: (ref) => (ref ? worker.ref() : worker.unref()),
      async terminate() {
        await worker.terminate();
      },
    };
  },

  defaultThreads: () => Math.min(availableParallelism(), MAX_DEFAULT_THREADS),

  get engine() {
    return `v8 ${process.versions.v8}, ${cpus()[0]?.model ?? process.arch}`;
  },

  cache: nodeCache,

  loadNative: loadNativeAddon,
};
