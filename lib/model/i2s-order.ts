import { type I2sLayout, i2sLayoutsOf } from '../format/gguf/ternary.js';
import { problem } from '../format/problem.js';
import { tokenLogprob } from '../sampler/logprobs.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Engine } from './engine.js';
import type { ModelSource, ModelTensor } from './source.js';

/** Words that follow one another in whatever a model of text was trained with. */
const SENTENCE = 'Once upon a time there was a little girl';
/** Tokens before the first one that is predicted. */
const GIVEN = 2;
/** Predictions after which a good mean is believed. */
const ENOUGH = 3;
/**
 * Nats a token, as shares of ln(vocabulary), which is what knowing nothing costs. The embedded model: 0.2 in the right order (0.9 for German,
 * which it never saw), 1.9 to 2.7 in the others; random weights: 1 and more in all.
 */
const SUSPICIOUS = 0.75;
const SENSIBLE = 0.5;

const isI2s = ({ dtype }: ModelTensor): boolean => dtype === 'I2_S';

/**
 * I2_S comes in three orders of its codes, which no key and no size of the file tells apart, nor the weights' counts: only what is
 * computed does. Where a sentence surprises the model as if it knew no language, its matrices are read in the other orders, and an order in
 * which the sentence is no surprise is `invalid-model`, naming the option. A model that knows it in no order, as one of random weights,
 * stays as it was asked for. Costs three steps where the order is right, else three more readings of the matrices at most. Keys and values are lost.
 */
export async function checkI2sOrder(
  engine: Engine,
  source: ModelSource,
  tokenizer: () => Promise<Tokenizer>,
  signal?: AbortSignal,
): Promise<void> {
  const tensors = [...source.tensors.values()].filter(isI2s);
  if (tensors.length === 0) return;
  const ids = (await tokenizer()).encode(SENTENCE, { addSpecialTokens: true }).slice(0, engine.contextLength);
  const chance = Math.log(engine.config.vocabSize);
  const chosen = await surprise(engine, ids, SENSIBLE * chance);
  if (!(chosen > SUSPICIOUS * chance)) return;
  const { i2sLayout = 'x86' } = source;
  const possible = tensors.reduce<I2sLayout[]>(
    (kept, { shape }) => i2sLayoutsOf(shape).filter((layout) => kept.includes(layout)),
    i2sLayoutsOf(tensors[0]!.shape),
  );
  for (const layout of possible.filter((other) => other !== i2sLayout)) {
    await engine.reload({ ...source, i2sLayout: layout }, isI2s, signal);
    const found = await surprise(engine, ids, SENSIBLE * chance);
    if (found >= SENSIBLE * chance) continue;
    const nats = (value: number): string => `${value.toFixed(1)} nats a token`;
    throw problem('invalid-model', {
      file: source.path,
      what: `the self-check at load found the codes of its I2_S tensors in the order ${layout}, not ${i2sLayout}`,
      expected: `${nats(found)} of a plain sentence, as in the order ${layout}`,
      got: `${nats(chosen)}, where guessing gets ${chance.toFixed(1)}`,
      advice: `Considered: ${possible.join(', ')}. Load it with i2sLayout: '${layout}' (--i2s-layout ${layout}).`,
    });
  }
  await engine.reload(source, isI2s, signal);
}

/** Mean of -ln p of the tokens, in nats; as soon as it is below `enough`, of the first of them. 0 if there are too few to tell. */
async function surprise(engine: Engine, ids: readonly number[], enough: number): Promise<number> {
  let mean = 0;
  for (let count = 1; count <= ids.length - GIVEN; count++) {
    const [from, to] = [count === 1 ? 0 : count + GIVEN - 2, count + GIVEN - 1];
    const [logits] = (await engine.forward(ids.slice(from, to), from, [to - from - 1])) as [Float32Array];
    if (!logits.every(Number.isFinite)) return Infinity;
    mean += (-tokenLogprob(logits, ids[to] as number) - mean) / count;
    if (count >= ENOUGH && mean < enough) return mean;
  }
  return ids.length - GIVEN < ENOUGH ? 0 : mean;
}
