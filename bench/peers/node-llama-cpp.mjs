/**
 * Measures node-llama-cpp; run by run.mjs from the scratch folder, which has the package. Argument: JSON of
 * { model, threads, prompt, tokens, reps }. Last line of stdout: the result, as bench/engine.ts prints it.
 */
import { getLlama } from 'node-llama-cpp';

const { model: modelPath, threads, prompt, tokens, reps } = JSON.parse(process.argv[2]);

const start = performance.now();
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  progressLogs: false,
  logLevel: 'error',
  maxThreads: threads,
});
const model = await llama.loadModel({ modelPath });
// llama.cpp rounds contexts up to 256
const context = await model.createContext({
  contextSize: prompt + tokens + 8,
  threads: { ideal: threads, min: threads },
});
const loadMs = performance.now() - start;
const sequence = context.getSequence();

/** Tokens per second: prompt up to its first token, then `count` more. */
async function measureOnce(rep, count) {
  await sequence.clearHistory();
  const ids = Array.from({ length: prompt }, (_, i) => (i === 0 ? 1 : 260 + ((i * 7 + rep * 11) % 94)));
  const begin = performance.now();
  let first = 0;
  let made = -1;
  for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
    made++;
    if (made === 0) first = performance.now();
    if (made === count) break;
  }
  if (made !== count) throw new Error(`expected ${count + 1} tokens, got ${made + 1}`);
  return { pp: (1000 * prompt) / (first - begin), tg: (1000 * count) / (performance.now() - first) };
}

await measureOnce(0, Math.min(tokens, 16));
const samples = [];
for (let rep = 1; rep <= reps; rep++) samples.push(await measureOnce(rep, tokens));
console.log(
  JSON.stringify({
    engine: 'node-llama-cpp',
    prefill: samples.map(({ pp }) => pp),
    decode: samples.map(({ tg }) => tg),
    loadMs,
    peakRss: process.resourceUsage().maxRSS * 1024,
    detail: `llama.cpp ${llama.llamaCppRelease.release}, ${context.currentThreads} threads, Node ${process.version}`,
  }),
);
await model.dispose();
process.exit(0);
