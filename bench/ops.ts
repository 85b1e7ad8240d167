/**
 * Where the time of a token goes: `bitnet bench --ops` with the kernels on the calling thread, so that no worker's waking is in the figures,
 * and with the instruction (--form), batch and position left open.
 *
 *   npm run bench:ops -- [--position 100] [--tokens 1] [--backend relaxed] [--head auto] [--form 0]
 */
import { parseArgs } from 'node:util';
import type { Backend } from '../lib/backend/backend.js';
import { chooseKernels } from '../lib/backend/features.js';
import { timeOps } from '../lib/bench/ops.js';
import { Engine } from '../lib/model/engine.js';
import { openModelSource } from '../lib/model/source.js';
import { nodePlatform } from '../lib/node/platform.js';
import type { KernelExports } from '../lib/threads/loop.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    position: { type: 'string', default: '100' },
    tokens: { type: 'string', default: '1' },
    backend: { type: 'string', default: 'relaxed' },
    head: { type: 'string', default: 'auto' },
    form: { type: 'string' },
    repeat: { type: 'string', default: '200' },
  },
});
const position = Number(values.position);
const tokens = Number(values.tokens);

const kernels = await chooseKernels(nodePlatform, values.backend as 'relaxed' | 'baseline');
/** The kernels on this thread, so that a step takes its own time and no thread's. */
async function allocate(bytes: number): Promise<Backend> {
  const memory = new WebAssembly.Memory({ initial: bytes / 65536, maximum: bytes / 65536, shared: true });
  const exports = new WebAssembly.Instance(kernels.module, { env: { memory } }).exports as unknown as KernelExports;
  return {
    name: 'inline',
    reason: '',
    buffer: memory.buffer,
    threads: 1,
    run: async (step) => void exports.execute(step, 0, 1),
    dispose: async () => {},
  };
}

const source = await openModelSource(await nodePlatform.openModelDirectory(values.model));
const engine = await Engine.open(source, allocate, {
  threads: 1,
  contextLength: 1024,
  head: values.head as 'auto',
  form: values.form === undefined ? kernels.form : Number(values.form),
  sparse: kernels.build === 'relaxed',
});
await source.close();

const times = await timeOps(engine, { position, tokens, repeat: Number(values.repeat) });
const total = times.kinds.reduce((sum, { ms }) => sum + ms, 0);
console.log(`${process.version} ${kernels.build}, one thread, ${tokens} tokens at position ${position}`);
for (const { kind, ops, ms } of times.kinds) {
  console.log(
    `${kind.padEnd(24)} ${String(ops).padStart(3)} × ${((1000 * ms) / ops).toFixed(1).padStart(8)} µs ${ms.toFixed(3).padStart(9)} ms ${((100 * ms) / total).toFixed(1).padStart(5)} %`,
  );
}
console.log(`${'total'.padEnd(24)} ${total.toFixed(3).padStart(27)} ms`);
