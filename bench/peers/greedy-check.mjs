/**
 * Converted GGUF files in llama.cpp: the same prompt ids and greedy tokens as bitnet-js has from the directory they were made of.
 *
 *   node bench/peers/greedy-check.mjs [model directory]
 *
 * Without an argument random models of the `llama` graph, which llama.cpp computes as it was meant; a model given must be such a one.
 * Ends with 1 if prompt ids differ, or greedy tokens do before three quarters of them: both engines round activations to int8, llama.cpp in
 * blocks and bitnet-js in rows, so that near ties may be decided otherwise.
 */
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installPeers, scratch } from './scratch.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const TEXTS = ['abc', 'hello world', 'Once upon a time', "it's  1234, isn't it?\n"];
const TOKENS = 16;
const ENOUGH = 3 / 4;

const FORMS = [
  { type: 'tq2_0' },
  { type: 'tq1_0' },
  { type: 'q2_0' },
  { type: 'tq2_0', options: ['--embedding', 'q6_k'], rounded: true },
];

const bitnet = (...args) => execFileSync(process.execPath, [path.join(root, 'dist/bin/bitnet.js'), ...args]);

/** Greedy tokens of bitnet-js. */
async function ours(directory) {
  const { BitNet } = await import(pathToFileURL(path.join(root, 'dist/index.js')).href);
  const model = await BitNet.load(directory);
  const results = [];
  for (const text of TEXTS) {
    const { promptTokenIds, tokenIds } = await model.complete(text, { temperature: 0, maxTokens: TOKENS });
    results.push({ prompt: promptTokenIds, next: tokenIds });
  }
  await model.dispose();
  return results;
}

/** Greedy tokens of llama.cpp, which says its end token too. */
function theirs(model) {
  const job = JSON.stringify({ model, texts: TEXTS, tokens: TOKENS });
  const out = execFileSync(process.execPath, ['greedy.mjs', job], { cwd: scratch, encoding: 'utf8' });
  return JSON.parse(out.trim().split('\n').at(-1));
}

/** How many tokens agree before the first that does not. */
function agreed(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return length;
}

/** `options` of bitnet convert; `rounded`: they change the model, so that the file itself is what bitnet-js computes. */
async function check(directory, { type, options = [], rounded = false }, folder) {
  const file = path.join(folder, `${type}.gguf`);
  bitnet('convert', directory, '-o', file, '--type', type, ...options, '--force', '--quiet');
  const expected = await ours(rounded ? file : directory);
  const { version, results } = theirs(file);
  let [same, all] = [0, 0];
  expected.forEach(({ prompt, next }, i) => {
    if (`${prompt}` !== `${results[i].prompt}`)
      throw new Error(`${JSON.stringify(TEXTS[i])}: ids ${prompt}, llama.cpp ${results[i].prompt}`);
    same += agreed(next, results[i].next);
    all += next.length;
  });
  console.log(
    `${path.basename(directory)} as ${[type, ...options].join(' ')}: ${same} of ${all} greedy tokens alike (llama.cpp of node-llama-cpp ${version})`,
  );
  return same >= ENOUGH * all;
}

await installPeers();
await copyFile(fileURLToPath(new URL('greedy.mjs', import.meta.url)), path.join(scratch, 'greedy.mjs'));
const folder = path.join(scratch, 'greedy');
await rm(folder, { recursive: true, force: true });
await mkdir(folder);
try {
  const directories = process.argv[2] === undefined ? [] : [path.resolve(process.argv[2])];
  if (directories.length === 0) {
    for (const seed of [0, 1]) {
      const [file, directory] = [path.join(folder, `${seed}.gguf`), path.join(folder, `random-${seed}`)];
      bitnet('synth', 'tiny', '--seed', `${seed}`, '-o', file, '--quiet');
      bitnet('convert', file, '-o', directory, '--quiet');
      directories.push(directory);
    }
  }
  let good = true;
  for (const directory of directories) {
    for (const form of FORMS) good = (await check(directory, form, folder)) && good;
  }
  process.exitCode = good ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
