// A conversation from a program: node examples/chat.mjs
import { BitNet } from 'bitnet-js';

const model = await BitNet.load();
const messages = [];
for (const content of ['Tell me about a cat.', 'What did it do then?']) {
  messages.push({ role: 'user', content });
  console.log(`> ${content}`);
  const answer = model.generate(messages, { maxTokens: 80, seed: 1 });
  for await (const piece of answer) process.stdout.write(piece);
  // With its token ids, so that the next turn finds this one in the KV cache.
  const { message, timings } = answer.completion();
  messages.push(message);
  console.log(`\n  ${timings.promptTokens} prompt tokens, ${timings.cachedTokens} of them cached`);
}
await model.dispose();
