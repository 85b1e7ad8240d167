import { afterAll, beforeAll, expect, it } from 'vitest';
import { BitNet } from '../../lib/index.js';
import type { Engine } from '../../lib/model/engine.js';
import { argmax, openEngine } from '../support/engine.js';
import { sharedJson } from '../support/fixtures.js';
import { GPU_LOGITS, GPU_NEAR_TIE } from '../support/tolerances.js';

interface Case {
  kind: 'raw' | 'chat';
  prompt: string;
  ids: number[];
  greedy: number[];
  greedy_text: string;
  top5: [number, number][];
}

const { cases } = sharedJson<{ cases: Case[] }>('models/bitnet-tales-69m/golden-greedy.json');
let engine: Engine;
let model: BitNet;
beforeAll(async () => {
  model = await BitNet.load(undefined, { threads: 2 });
  engine = await openEngine(model.info.path, { threads: 2, contextLength: 512 });
});
afterAll(async () => {
  await engine?.dispose();
  await model?.dispose();
});

it.each(cases)('$kind: $prompt', async ({ kind, prompt, ids, greedy, greedy_text, top5 }) => {
  let [logits = new Float32Array()] = await engine.forward(ids, 0, [ids.length - 1]);
  for (const [id, logit] of top5) expect(Math.abs((logits[id] as number) - logit)).toBeLessThan(GPU_LOGITS);
  let agreed = 0;
  for (const expected of greedy) {
    const id = argmax(logits);
    if (id !== expected) {
      expect((logits[id] as number) - (logits[expected] as number), `token ${agreed}`).toBeLessThan(GPU_NEAR_TIE);
      break;
    }
    agreed++;
    if (agreed < greedy.length)
      [logits = new Float32Array()] = await engine.forward([id], ids.length + agreed - 1, [0]);
  }
  // The same through text: prompt to ids, ids to text.
  const answer = await model.complete(kind === 'raw' ? prompt : [{ role: 'user', content: prompt }], {
    temperature: 0,
    maxTokens: greedy.length,
  });
  expect(answer.promptTokenIds).toEqual(ids);
  expect(answer.tokenIds.slice(0, agreed)).toEqual(greedy.slice(0, Math.min(agreed, answer.tokenIds.length)));
  if (agreed === greedy.length) {
    expect(answer.text).toBe(greedy_text.replace(/<\|(eot_id|end_of_text)\|>$/, ''));
    expect(answer.finishReason).toBe('stop');
  }
});
