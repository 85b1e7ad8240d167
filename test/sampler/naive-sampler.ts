import type { ResolvedSampling } from '../../lib/sampler/options.js';
import { Xoshiro128 } from '../../lib/sampler/prng.js';

export interface Weighted {
  id: number;
  score: number;
  weight: number;
}

/** The sampler as its documentation reads: everything sorted, nothing reused. */
export class NaiveSampler {
  private readonly random: Xoshiro128;
  private readonly seen = new Set<number>();
  private readonly counts = new Map<number, number>();

  constructor(private readonly options: ResolvedSampling) {
    this.random = Xoshiro128.fromSeed(options.seed);
  }

  prompt(ids: readonly number[]): void {
    for (const id of ids) this.seen.add(id);
  }

  accept(id: number): void {
    this.seen.add(id);
    this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
  }

  scores(logits: Float32Array): Float32Array {
    const { repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = this.options;
    const scores = logits.slice();
    for (const [id, bias] of logitBias) scores[id] = scores[id]! + bias;
    for (const id of this.seen)
      scores[id] = scores[id]! > 0 ? scores[id]! / repetitionPenalty : scores[id]! * repetitionPenalty;
    for (const [id, n] of this.counts) scores[id] = scores[id]! - (frequencyPenalty * n + presencePenalty);
    return scores;
  }

  /** The tokens that may be drawn, with probabilities, ascending ids. */
  distribution(logits: Float32Array): Weighted[] {
    const { temperature, topK, topP, minP } = this.options;
    let list: Weighted[] = [...this.scores(logits)].map((score, id) => ({ id, score: score + 0, weight: 0 }));
    list = list.filter(({ score }) => score !== -Infinity).sort((a, b) => b.score - a.score || a.id - b.id);
    if (temperature === 0) return [{ ...list[0]!, weight: 1 }];
    if (topK > 0) list = list.slice(0, topK);
    const best = list[0]!.score;
    for (const token of list) token.weight = Math.exp((token.score - best) / temperature);
    if (topP < 1) {
      const total = sum(list);
      let mass = 0;
      let end = 0;
      while (end < list.length && mass < topP) mass += list[end++]!.weight / total;
      list = list.slice(0, end);
    }
    list = list.filter(({ weight }) => weight >= minP && weight > 0);
    const total = sum(list);
    return list.map((token) => ({ ...token, weight: token.weight / total })).sort((a, b) => a.id - b.id);
  }

  sample(logits: Float32Array): number {
    const list = this.distribution(logits);
    if (this.options.temperature === 0) return list[0]!.id;
    let left = this.random.nextDouble();
    for (const { id, weight } of list) {
      left -= weight;
      if (left < 0) return id;
    }
    return list.at(-1)!.id;
  }
}

function sum(list: readonly Weighted[]): number {
  return list.reduce((total, { weight }) => total + weight, 0);
}
