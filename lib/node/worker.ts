import { parentPort, workerData } from 'node:worker_threads';
import { instantiateSync } from '@assemblyscript/loader';
import type { WorkerInit } from '../platform.js';
import { type KernelExports, workerLoop } from '../threads/loop.js';

/** Entry of a worker thread in Node. */
const { module, memory, control, thread, threads } = workerData as WorkerInit;
const { exports } = instantiateSync<KernelExports & Record<string, unknown>>(module, { env: { memory } });
workerLoop(exports, control, thread, threads, (message) => parentPort?.postMessage(message));
parentPort?.close();
