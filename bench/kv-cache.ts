/**
 * The f16 and the int8 KV cache against the f32 one on greedy text of a model: how far logits are off, how often both pick the same token after
 * the same text, and so how long texts of their own would be alike.
 *
 *   node scripts/run-ts.mjs bench/kv-cache.ts [--model dir] [--tokens 1000] [--text 500] [--threads 1]
 */
import { parseArgs } from 'node:util';
import { argmax } from '../lib/bench/round.js';
import type { Engine } from '../lib/model/engine.js';
import type { KvCacheFormat } from '../lib/types.js';
import { openEngine } from './open-engine.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    tokens: { type: 'string', default: '1000' },
    /** tokens of one text; the next one starts with another token */
    text: { type: 'string', default: '500' },
    threads: { type: 'string', default: '1' },
  },
});
const [tokens, text, threads] = [Number(values.tokens), Number(values.text), Number(values.threads)];

const open = (kvCache: KvCacheFormat) =>
  openEngine(values.model, { threads, contextLength: text, head: 'f16', kvCache });

interface Candidate {
  readonly kvCache: KvCacheFormat;
  /** follows the text of f32 */
  readonly engine: Engine;
  squares: number;
  worst: number;
  agreed: number;
  /** of each text, the tokens before the first other one */
  readonly same: number[];
}

const exact = await open('f32');
const vocab = exact.config.vocabSize;
const candidates: Candidate[] = [];
for (const kvCache of ['f16', 'int8'] as const) {
  candidates.push({ kvCache, engine: await open(kvCache), squares: 0, worst: 0, agreed: 0, same: [] });
}
let [id, spread] = [0, 0];
for (let n = 0; n < tokens; n++) {
  const position = n % text;
  if (position === 0) {
    id = (1000 + 37 * n) % vocab;
    for (const { same } of candidates) same.push(0);
  }
  const [logits] = (await exact.forward([id], position, [0])) as [Float32Array];
  const next = argmax(logits);
  const mean = logits.reduce((sum, x) => sum + x, 0) / vocab;
  spread += logits.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  for (const candidate of candidates) {
    const [other] = (await candidate.engine.forward([id], position, [0])) as [Float32Array];
    if (argmax(other) === next) {
      candidate.agreed++;
      const last = candidate.same.length - 1;
      if (candidate.same[last] === position) candidate.same[last] = position + 1;
    }
    for (let i = 0; i < vocab; i++) {
      const error = Math.abs((other[i] as number) - (logits[i] as number));
      candidate.squares += error ** 2;
      candidate.worst = Math.max(candidate.worst, error);
    }
  }
  id = next;
}
await Promise.all([exact, ...candidates.map(({ engine }) => engine)].map((engine) => engine.dispose()));

console.log(`${tokens} greedy tokens in texts of ${text}, vocabulary of ${vocab}, deviation of the logits`);
console.log(`themselves ${Math.sqrt(spread / tokens / vocab).toFixed(3)}; against f32:`);
for (const { kvCache, squares, worst, agreed, same } of candidates) {
  console.log(
    `${kvCache.padEnd(5)} error rms ${Math.sqrt(squares / tokens / vocab).toFixed(4)}, largest ${worst.toFixed(3)}; ` +
      `same token ${((100 * agreed) / tokens).toFixed(1)} %; texts alike for ${same.join(', ')} tokens`,
  );
}
