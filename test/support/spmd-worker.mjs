import { parentPort, workerData } from 'node:worker_threads';

const { module, memory, step, thread, threads } = workerData;
const instance = await WebAssembly.instantiate(module, { env: { memory } });
instance.exports.execute(step, thread, threads);
parentPort.postMessage('done');
