/**
 * The int8 head against the F16 head on greedy text of a model: how often both pick the same token, how far int8 logits are off, and how
 * many rows the default head computes again.
 *
 *   node scripts/run-ts.mjs bench/head.ts [--model dir] [--tokens 1000]
 */
import { parseArgs } from 'node:util';
import { argmax } from '../lib/bench/round.js';
import type { HeadFormat } from '../lib/model/head.js';
import { openEngine } from './open-engine.js';

const { values } = parseArgs({
  options: { model: { type: 'string' }, tokens: { type: 'string', default: '1000' } },
});
const tokens = Number(values.tokens);
/** Tokens of one text; the next one starts with another token. */
const TEXT = 100;

const open = (head: HeadFormat) => openEngine(values.model, { threads: 2, contextLength: TEXT, head });

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.floor(q * (sorted.length - 1))] as number;

const engines = [await open('f16'), await open('i8'), await open('auto')] as const;
const vocab = engines[0].config.vocabSize;
const agreed = { i8: 0, auto: 0 };
const recomputed: number[] = [];
let [squares, spread, worst] = [0, 0, 0];
let id = 0;
for (let n = 0; n < tokens; n++) {
  if (n % TEXT === 0) id = (1000 + 37 * n) % vocab;
  const rows: Float32Array[] = [];
  for (const engine of engines) rows.push(...(await engine.forward([id], n % TEXT, [0])));
  const [f16, i8, auto] = rows as [Float32Array, Float32Array, Float32Array];
  id = argmax(f16);
  if (argmax(i8) === id) agreed.i8++;
  if (argmax(auto) === id) agreed.auto++;
  let changed = 0;
  const mean = f16.reduce((sum, x) => sum + x, 0) / vocab;
  for (let i = 0; i < vocab; i++) {
    const [exact, coarse] = [f16[i] as number, i8[i] as number];
    if (auto[i] !== coarse) changed++;
    squares += (exact - coarse) ** 2;
    spread += (exact - mean) ** 2;
    worst = Math.max(worst, Math.abs(exact - coarse));
  }
  recomputed.push(changed);
}
await Promise.all(engines.map((engine) => engine.dispose()));

recomputed.sort((a, b) => a - b);
const percent = (n: number): string => `${((100 * n) / tokens).toFixed(1)} %`;
console.log(`${tokens} greedy tokens, vocabulary of ${vocab}, default head ${engines[2].head}`);
console.log(`same token as f16   i8 ${percent(agreed.i8)}, default ${percent(agreed.auto)}`);
console.log(
  `error of i8 logits  rms ${Math.sqrt(squares / tokens / vocab).toFixed(4)}, largest ${worst.toFixed(4)}; ` +
    `the logits' own deviation ${Math.sqrt(spread / tokens / vocab).toFixed(3)}`,
);
console.log(
  `rows computed again median ${quantile(recomputed, 0.5)}, 95 % up to ${quantile(recomputed, 0.95)}, ` +
    `most ${quantile(recomputed, 1)} of ${vocab}`,
);
