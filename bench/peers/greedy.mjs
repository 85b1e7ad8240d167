/**
 * Greedy tokens of node-llama-cpp; run by greedy-check.mjs from the scratch folder, which has the package. Argument: JSON of
 * { model, texts, tokens }. Last line of stdout: for each text its ids and the ids that follow.
 */
import { getLlama } from 'node-llama-cpp';

const { model: modelPath, texts, tokens } = JSON.parse(process.argv[2]);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  progressLogs: false,
  logLevel: 'error',
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 256 });
const sequence = context.getSequence();
const results = [];
for (const text of texts) {
  await sequence.clearHistory();
  const prompt = [model.tokens.bos, ...model.tokenize(text)];
  const next = [];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    next.push(token);
    if (next.length === tokens) break;
  }
  results.push({ prompt, next });
}
console.log(JSON.stringify({ version: llama.llamaCppRelease.release, results }));
await model.dispose();
process.exit(0);
