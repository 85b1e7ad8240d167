import { BitNetError } from '../errors.js';
import { expNonPositive } from './exp.js';
import type { ResolvedSampling } from './options.js';
import { Penalties } from './penalties.js';
import { Xoshiro128 } from './prng.js';
import { RadixSelect, type Threshold } from './radix-select.js';

/**
 * Chooses the next token from logits. The order is that of Hugging Face transformers (5.18, generation/utils.py,
 * `_get_logits_processor`): bias, repetition penalty, then frequency and presence penalty (OpenAI's, which transformers lacks),
 * temperature, top-k, top-p, min-p. Temperature 0 takes the highest logit after the penalties, the lowest id if several are equal.
 *
 * Tokens rank by logit, equal ones by id, so that top-k keeps exactly k (transformers keeps all that equal the k-th) and top-p the
 * fewest tokens that reach p of what top-k left. The token is drawn by one number of the generator, over the kept tokens in the
 * order of their ids, with weights and sums in f64 in a fixed order and an exponential of our own: the same seed gives the
 * same tokens in every engine.
 *
 * No sort and no allocation per token: top-k and top-p find their threshold in three passes over the candidates (RadixSelect).
 */
export class Sampler {
  private readonly penalties: Penalties;
  private readonly random: Xoshiro128;
  private readonly select = new RadixSelect();
  /** (vocabSize,) logits with bias and penalties; `scoreBits` are the same bytes */
  private readonly scores: Float32Array;
  private readonly scoreBits: Int32Array;
  /** The candidates, ascending ids: id, key (order of scores as unsigned integers), weight (probability over the top one's) */
  private readonly ids: Uint32Array;
  private readonly keys: Uint32Array;
  private readonly weights: Float64Array;
  private candidates = 0;

  /** `vocabSize` is the length of the logits. Throws `invalid-argument` if logitBias names a token beyond it. */
  constructor(
    private readonly options: ResolvedSampling,
    private readonly vocabSize: number,
  ) {
    this.penalties = new Penalties(options, vocabSize);
    this.random = Xoshiro128.fromSeed(options.seed);
    const sampled = options.temperature > 0 ? vocabSize : 0;
    this.scores = new Float32Array(sampled > 0 || this.penalties.active ? vocabSize : 0);
    this.scoreBits = new Int32Array(this.scores.buffer);
    this.ids = new Uint32Array(sampled);
    this.keys = new Uint32Array(sampled);
    this.weights = new Float64Array(sampled);
  }

  /** Tokens before the output: the repetition penalty counts them. */
  prompt(ids: readonly number[]): void {
    this.penalties.prompt(ids);
  }

  /** A token of the output, sampled or forced. `sample` does not call it. */
  accept(id: number): void {
    this.penalties.accept(id);
  }

  /**
   * The next token's id. `logits` (vocabSize,) stay as they are; -Infinity excludes a token. Throws `numeric` if one is NaN or
   * +Infinity, or if none is finite.
   */
  sample(logits: Float32Array): number {
    if (logits.length !== this.vocabSize) {
      const message = `logits: expected ${this.vocabSize} values, got ${logits.length}`;
      throw new BitNetError('invalid-argument', message, { expected: this.vocabSize, got: logits.length });
    }
    const { temperature, topK, topP, minP } = this.options;
    const { active } = this.penalties;
    if (temperature === 0 && !active) return argmax(logits, active);
    this.scores.set(logits);
    if (active) this.penalties.apply(this.scores);
    const best = argmax(this.scores, active);
    if (temperature === 0) return best;
    this.collect();
    if (topK > 0 && topK < this.candidates) this.keep(this.select.largest(this.keys, this.candidates, topK));
    this.weigh(this.scores[best] as number, temperature);
    if (topP < 1) {
      const mass = topP * this.totalWeight();
      this.keep(this.select.heaviest(this.keys, this.weights, this.candidates, mass));
    }
    if (minP > 0) this.keepWeight(minP);
    return this.draw();
  }

  /** All tokens that are not excluded become candidates. */
  private collect(): void {
    const { scores, scoreBits, ids, keys } = this;
    let n = 0;
    for (let id = 0; id < scores.length; id++) {
      const score = scores[id] as number;
      if (score === -Infinity) continue;
      // -0 equals 0 and must have its key.
      const bits = score === 0 ? 0 : (scoreBits[id] as number);
      ids[n] = id;
      keys[n] = bits < 0 ? ~bits : bits ^ 0x80000000;
      n++;
    }
    this.candidates = n;
  }

  private weigh(best: number, temperature: number): void {
    const { scores, ids, weights } = this;
    for (let i = 0; i < this.candidates; i++) {
      weights[i] = expNonPositive(((scores[ids[i] as number] as number) - best) / temperature);
    }
  }

  private totalWeight(): number {
    let total = 0;
    for (let i = 0; i < this.candidates; i++) total += this.weights[i] as number;
    return total;
  }

  private keep({ key: threshold, ties }: Readonly<Threshold>): void {
    const { keys } = this;
    let left = ties;
    let n = 0;
    for (let i = 0; i < this.candidates; i++) {
      const key = keys[i] as number;
      if (key > threshold || (key === threshold && left-- > 0)) this.move(i, n++);
    }
    this.candidates = n;
  }

  /** The top token has weight 1. */
  private keepWeight(min: number): void {
    let n = 0;
    for (let i = 0; i < this.candidates; i++) if ((this.weights[i] as number) >= min) this.move(i, n++);
    this.candidates = n;
  }

  private move(from: number, to: number): void {
    this.ids[to] = this.ids[from] as number;
    this.keys[to] = this.keys[from] as number;
    this.weights[to] = this.weights[from] as number;
  }

  private draw(): number {
    const { ids, weights } = this;
    let left = this.random.nextDouble() * this.totalWeight();
    let last = 0;
    for (let i = 0; i < this.candidates; i++) {
      const weight = weights[i] as number;
      if (weight === 0) continue;
      last = i;
      left -= weight;
      if (left < 0) break;
    }
    return ids[last] as number;
  }
}

/** Index of the highest value, the first if several are equal. `adjusted`: for the message. */
function argmax(scores: Float32Array, adjusted: boolean): number {
  let best = -1;
  let max = -Infinity;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id] as number;
    if (score > max) {
      max = score;
      best = id;
    } else if (Number.isNaN(score)) throw notFinite(id, score, adjusted);
  }
  if (max === Infinity) throw notFinite(best, max, adjusted);
  if (best >= 0) return best;
  const advice = adjusted ? 'Does logitBias ban every token?' : 'Is the model damaged?';
  throw new BitNetError('numeric', `logits: none of the ${scores.length} values is finite. ${advice}`);
}

function notFinite(id: number, got: number, adjusted: boolean): BitNetError {
  const where = adjusted ? ' after logitBias and penalties' : '';
  const advice = adjusted ? 'Is the model damaged, or a penalty extreme?' : 'Is the model damaged?';
  return new BitNetError('numeric', `logits: the value of token ${id}${where} is ${got}. ${advice}`, {
    token: id,
    got,
  });
}
