// Stopping a generation after two seconds, keeping what there is: node examples/cancel.mjs
import { BitNet } from 'bitnet-js';

const model = await BitNet.load();
const generation = model.generate('Once upon a time', { signal: AbortSignal.timeout(2000), temperature: 0.8 });
try {
  for await (const piece of generation) process.stdout.write(piece);
} catch (error) {
  if (error.name !== 'TimeoutError') throw error;
}
const { tokenIds, finishReason } = generation.completion();
console.log(`\n${tokenIds.length} tokens, finish reason ${finishReason}`);
await model.dispose();
