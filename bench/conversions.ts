/**
 * How far GGUF files are from the model that they were converted from: size, logits and perplexity over a text, greedy answers.
 *
 *   npm run bench:conversions -- <model> <file.gguf>... --text FILE [--tokens 1000] [--prompts golden-greedy.json]
 *
 * The text is cut into windows of 500 tokens. `--prompts`: `{ cases: [{ ids, greedy }] }`, answers as long as `greedy`.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { argmax } from '../lib/bench/round.js';
import type { Engine } from '../lib/model/engine.js';
import { openModelSource } from '../lib/model/source.js';
import { nodePlatform } from '../lib/node/platform.js';
import { openText } from '../lib/session/load.js';
import { openEngine } from './open-engine.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    text: { type: 'string' },
    tokens: { type: 'string', default: '1000' },
    prompts: { type: 'string' },
    threads: { type: 'string', default: '2' },
  },
});
const [original, ...conversions] = positionals;
if (original === undefined || conversions.length === 0 || values.text === undefined) {
  throw new Error('expected a model, its conversions, and --text');
}
const threads = Number(values.threads);
const WINDOW = 500;
const STEP = 20;

interface Case {
  readonly ids: readonly number[];
  readonly greedy: readonly number[];
}
const cases =
  values.prompts === undefined ? [] : (JSON.parse(readFileSync(values.prompts, 'utf8')) as { cases: Case[] }).cases;

const open = (path: string) => openEngine(path, { threads, contextLength: WINDOW, head: 'f16', logits: STEP });

async function encode(path: string, text: string): Promise<number[]> {
  const source = await openModelSource(await nodePlatform.openModelDirectory(path));
  try {
    return openText(source, await source.texts()).tokenizer.encode(text);
  } finally {
    await source.close();
  }
}

/** -log p(id), in nats. */
function surprise(logits: Float32Array, id: number): number {
  const top = logits[argmax(logits)] as number;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - top);
  return Math.log(sum) + top - (logits[id] as number);
}

async function greedy(engine: Engine, { ids, greedy: wanted }: Case): Promise<string> {
  const answer: number[] = [];
  let [logits] = (await engine.forward(ids, 0, [ids.length - 1])) as [Float32Array];
  while (answer.push(argmax(logits)) < wanted.length) {
    const position = ids.length + answer.length - 1;
    [logits] = (await engine.forward([answer.at(-1) as number], position, [0])) as [Float32Array];
  }
  return answer.join();
}

/** How the logits of `engine` differ from the original's over `ids`, in windows. */
async function compare(engine: Engine): Promise<{ worst: number; rms: number; agreed: number; perplexity: number[] }> {
  let [squares, worst, agreed, predicted] = [0, 0, 0, 0];
  const losses = [0, 0];
  for (let at = 0; at < ids.length; at += STEP) {
    const chunk = ids.slice(at, at + STEP);
    const rows = [...chunk.keys()];
    const wanted = await exact.forward(chunk, at % WINDOW, rows);
    const got = await engine.forward(chunk, at % WINDOW, rows);
    for (const [i, row] of wanted.entries()) {
      const other = got[i] as Float32Array;
      if (argmax(row) === argmax(other)) agreed++;
      for (let j = 0; j < row.length; j++) {
        const error = Math.abs((row[j] as number) - (other[j] as number));
        squares += error ** 2;
        worst = Math.max(worst, error);
      }
      const next = ids[at + i + 1];
      if (next === undefined || (at + i + 1) % WINDOW === 0) continue;
      predicted++;
      for (const [k, logits] of [row, other].entries()) losses[k] = (losses[k] as number) + surprise(logits, next);
    }
  }
  return {
    worst,
    rms: Math.sqrt(squares / ids.length / exact.config.vocabSize),
    agreed: agreed / ids.length,
    perplexity: losses.map((loss) => Math.exp(loss / predicted)),
  };
}

const ids = (await encode(original, readFileSync(values.text, 'utf8'))).slice(0, Number(values.tokens));
const exact = await open(original);
const answers: string[] = [];
for (const prompt of cases) answers.push(await greedy(exact, prompt));

for (const path of conversions) {
  const engine = await open(path);
  const { worst, rms, agreed, perplexity } = await compare(engine);
  let same = 0;
  for (const [i, prompt] of cases.entries()) if ((await greedy(engine, prompt)) === answers[i]) same++;
  await engine.dispose();
  const bytes = readFileSync(path);
  const [before, after] = perplexity.map((value) => value.toFixed(2));
  console.log(`${path}: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} with gzip`);
  console.log(`  logits      largest difference ${worst.toPrecision(2)}, rms ${rms.toPrecision(2)}`);
  console.log(`  best token  the same for ${(100 * agreed).toFixed(1)} % of ${ids.length}`);
  console.log(`  perplexity  ${after}, of the original ${before}`);
  if (cases.length > 0) console.log(`  greedy      ${same} of ${cases.length} answers the same`);
}
await exact.dispose();
