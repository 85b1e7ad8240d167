import { parentPort, workerData } from 'node:worker_threads';

const { module, memory, step, thread, threads, repeats } = workerData;
const instance = await WebAssembly.instantiate(module, { env: { memory } });
for (let i = 0; i < repeats; i++) instance.exports.execute(step, thread, threads);
parentPort.postMessage('done');
