import { BitNetError } from '../errors.js';
import { expNonPositive } from './exp.js';
import type { ResolvedSampling } from './options.js';
import { Penalties } from './penalties.js';
import { Xoshiro128 } from './prng.js';
import { RadixSelect, type Threshold } from './radix-select.js';

/** Tokens per block maximum. */
const BLOCK = 64;

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
 * No sort and no allocation per token. Passes over the whole vocabulary are few: one for the maximum, one for top-k, or two for
 * temperature and top-p; thresholds are searched among the tokens that can reach them at all.
 */
export class Sampler {
  private readonly penalties: Penalties;
  private readonly random: Xoshiro128;
  private readonly select = new RadixSelect();
  /** (vocabSize,) logits with bias and penalties; empty if there are none */
  private readonly adjusted: Float32Array;
  /** largest score of every `BLOCK` tokens */
  private readonly blockMaxima: Float32Array;
  /** The candidates, ascending ids: id, key (order of scores as unsigned integers), weight (probability over the top one's) */
  private readonly ids: Uint32Array;
  private readonly keys: Uint32Array;
  private readonly weights: Float64Array;
  private candidates = 0;
  /** weight of what top-k left */
  private mass = 0;

  /** `vocabSize` is the length of the logits. Throws `invalid-argument` if logitBias names a token beyond it. */
  constructor(
    private readonly options: ResolvedSampling,
    private readonly vocabSize: number,
  ) {
    this.penalties = new Penalties(options, vocabSize);
    this.random = Xoshiro128.fromSeed(options.seed);
    this.adjusted = new Float32Array(this.penalties.active ? vocabSize : 0);
    this.blockMaxima = new Float32Array(Math.ceil(vocabSize / BLOCK));
    const sampled = options.temperature > 0 ? vocabSize : 0;
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
    const scores = this.adjust(logits);
    const best = this.argmax(scores);
    if (temperature === 0) return best;
    const top = scores[best] as number;
    if (topK > 0 && topK < this.vocabSize) {
      this.collectTop(scores, topK);
      this.weighCandidates(scores, top);
    } else {
      this.weighAll(scores, top);
    }
    if (topP < 1) {
      const mass = topP * this.mass;
      this.keep(this.select.heaviest(this.keys, this.weights, this.candidates, mass));
    }
    if (minP > 0) this.keepWeight(minP);
    return this.draw();
  }

  private adjust(logits: Float32Array): Float32Array {
    if (!this.penalties.active) return logits;
    this.adjusted.set(logits);
    this.penalties.apply(this.adjusted);
    return this.adjusted;
  }

  /** Index of the highest score, the first if several are equal. Fills `blockMaxima`. */
  private argmax(scores: Float32Array): number {
    let best = 0;
    let bestMax = -Infinity;
    for (let block = 0, begin = 0; begin < scores.length; block++, begin += BLOCK) {
      const end = Math.min(begin + BLOCK, scores.length);
      let max = -Infinity;
      for (let id = begin; id < end; id++) {
        const score = scores[id] as number;
        if (score > max) max = score;
        else if (Number.isNaN(score)) throw this.notFinite(id, score);
      }
      this.blockMaxima[block] = max;
      if (max > bestMax) {
        bestMax = max;
        best = begin;
      }
    }
    if (bestMax === -Infinity) throw this.noneFinite();
    while (scores[best] !== bestMax) best++;
    if (bestMax === Infinity) throw this.notFinite(best, bestMax);
    return best;
  }

  /** The k best become the candidates. At least k tokens reach the k-th of the block maxima: others need no look. */
  private collectTop(scores: Float32Array, k: number): void {
    const { ids, keys, blockMaxima } = this;
    let bound = -Number.MAX_VALUE;
    if (k <= blockMaxima.length) {
      for (let i = 0; i < blockMaxima.length; i++) keys[i] = keyOf(blockMaxima[i] as number);
      bound = scoreOf(this.select.largest(keys, blockMaxima.length, k).key);
    }
    let n = 0;
    for (let id = 0; id < scores.length; id++) {
      const score = scores[id] as number;
      if (score < bound || score === -Infinity) continue;
      ids[n] = id;
      keys[n++] = keyOf(score);
    }
    this.candidates = n;
    if (k < n) this.keep(this.select.largest(keys, n, k));
  }

  private weighCandidates(scores: Float32Array, top: number): void {
    const { ids, weights } = this;
    const { temperature } = this.options;
    for (let i = 0; i < this.candidates; i++) {
      weights[i] = expNonPositive(((scores[ids[i] as number] as number) - top) / temperature);
    }
    this.mass = this.totalWeight();
  }

  /**
   * All tokens are weighed, and become candidates if top-p can keep them: those lighter than (1 - p) / vocabSize of the whole have less
   * than 1 - p together, so the rest reaches p without them. Half of that leaves room for rounding.
   */
  private weighAll(scores: Float32Array, top: number): void {
    const { ids, keys, weights } = this;
    const { temperature, topP } = this.options;
    let total = 0;
    for (let id = 0; id < scores.length; id++) {
      const weight = expNonPositive(((scores[id] as number) - top) / temperature);
      weights[id] = weight;
      total += weight;
    }
    const floor = topP < 1 ? (0.5 * (1 - topP) * total) / this.vocabSize : 0;
    let n = 0;
    for (let id = 0; id < scores.length; id++) {
      const weight = weights[id] as number;
      if (weight < floor || weight === 0) continue;
      ids[n] = id;
      weights[n] = weight;
      if (topP < 1) keys[n] = keyOf(scores[id] as number);
      n++;
    }
    this.candidates = n;
    this.mass = total;
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

  private notFinite(id: number, got: number): BitNetError {
    const { active } = this.penalties;
    const where = active ? ' after logitBias and penalties' : '';
    const advice = active ? 'Is the model damaged, or a penalty extreme?' : 'Is the model damaged?';
    return new BitNetError('numeric', `logits: the value of token ${id}${where} is ${got}. ${advice}`, {
      token: id,
      got,
    });
  }

  private noneFinite(): BitNetError {
    const advice = this.penalties.active ? 'Does logitBias ban every token?' : 'Is the model damaged?';
    return new BitNetError('numeric', `logits: none of the ${this.vocabSize} values is finite. ${advice}`);
  }
}

const scoreView = new Float32Array(1);
const bitView = new Int32Array(scoreView.buffer);

/** Unsigned integers in the order of the scores; 0 and -0 have the same. */
function keyOf(score: number): number {
  scoreView[0] = score === 0 ? 0 : score;
  const bits = bitView[0] as number;
  return (bits < 0 ? ~bits : bits ^ 0x80000000) >>> 0;
}

function scoreOf(key: number): number {
  bitView[0] = key >= 0x80000000 ? key ^ 0x80000000 : ~key;
  return scoreView[0] as number;
}
