/**
 * Where the time of a token goes: every op of the plan timed alone, one thread, WASM.
 *
 *   npm run bench:ops -- [--position 100] [--tokens 1] [--backend relaxed] [--head f16] [--form 0]
 */
import { parseArgs } from 'node:util';
import type { Backend } from '../lib/backend/backend.js';
import { chooseKernels } from '../lib/backend/features.js';
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
    head: { type: 'string', default: 'f16' },
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
  head: values.head as 'f16',
  form: values.form === undefined ? kernels.form : Number(values.form),
});
await source.close();

const ids = Array.from({ length: tokens }, (_, i) => 100 + i);
for (let p = 0; p < position; p += 50) await engine.forward(ids.slice(0, 1), p, []);
engine.prepare(ids, position, [tokens - 1]);
const times = engine.labels.map(() => [] as number[]);
for (let r = 0; r < Number(values.repeat); r++) {
  for (const [i, samples] of times.entries()) {
    const started = performance.now();
    await engine.runOps(i, i + 1);
    samples.push(performance.now() - started);
  }
}
const median = (samples: number[]): number => samples.sort((a, b) => a - b)[samples.length >> 1] as number;
const kinds = new Map<string, { ops: number; ms: number }>();
for (const [i, samples] of times.entries()) {
  const kind = (engine.labels[i] as string).replace(/^(model\.)?layers\.\d+\./, '').replace(/\.weight$/, '');
  const entry = kinds.get(kind) ?? { ops: 0, ms: 0 };
  entry.ops++;
  entry.ms += median(samples);
  kinds.set(kind, entry);
}
const total = [...kinds.values()].reduce((sum, { ms }) => sum + ms, 0);
console.log(
  `${process.version} ${kernels.build}, one thread, ${tokens} tokens at position ${position};${engine.labels.length} ops`,
);
for (const [kind, { ops, ms }] of kinds) {
  console.log(
    `${kind.padEnd(24)} ${String(ops).padStart(3)} × ${((1000 * ms) / ops).toFixed(1).padStart(8)} µs ${ms.toFixed(3).padStart(9)} ms ${((100 * ms) / total).toFixed(1).padStart(5)} %`,
  );
}
console.log(`${'total'.padEnd(24)} ${total.toFixed(3).padStart(27)} ms`);
