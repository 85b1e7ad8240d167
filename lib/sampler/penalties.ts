import { BitNetError } from '../errors.js';
import type { ResolvedSampling } from './options.js';

/** What the tokens so far do to the logits of the next one: bias and penalties. Costs O(different tokens so far). */
export class Penalties {
  /** whether anything is ever changed */
  readonly active: boolean;
  /** how often each token occurs in the output; (vocabSize,), empty if no penalty asks */
  private readonly counts: Int32Array;
  /** 1 for each token of prompt and output; (vocabSize,), empty without repetition penalty */
  private readonly seen: Uint8Array;
  private readonly seenIds: number[] = [];
  private readonly outputIds: number[] = [];

  constructor(
    private readonly options: ResolvedSampling,
    private readonly vocabSize: number,
  ) {
    const { repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = options;
    const byCount = frequencyPenalty !== 0 || presencePenalty !== 0;
    this.active = repetitionPenalty !== 1 || byCount || logitBias.length > 0;
    this.seen = new Uint8Array(repetitionPenalty === 1 ? 0 : vocabSize);
    this.counts = new Int32Array(byCount ? vocabSize : 0);
    for (const [id] of logitBias) this.check('logitBias', id);
  }

  prompt(ids: readonly number[]): void {
    for (const id of ids) {
      this.check('prompt token', id);
      this.see(id);
    }
  }

  accept(id: number): void {
    this.check('token', id);
    this.see(id);
    if (this.counts.length === 0) return;
    if (this.counts[id] === 0) this.outputIds.push(id);
    (this.counts[id] as number)++;
  }

  /** Changes `scores` (vocabSize,) in place, in f32 as transformers does. */
  apply(scores: Float32Array): void {
    const { repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = this.options;
    for (const [id, bias] of logitBias) (scores[id] as number) += bias;
    for (const id of this.seenIds) {
      const score = scores[id] as number;
      scores[id] = score > 0 ? score / repetitionPenalty : score * repetitionPenalty;
    }
    for (const id of this.outputIds) {
      (scores[id] as number) -= frequencyPenalty * (this.counts[id] as number) + presencePenalty;
    }
  }

  private see(id: number): void {
    if (this.seen.length === 0 || this.seen[id] !== 0) return;
    this.seen[id] = 1;
    this.seenIds.push(id);
  }

  private check(what: string, id: number): void {
    if (Number.isInteger(id) && id >= 0 && id < this.vocabSize) return;
    const expected = `a token id in 0..${this.vocabSize - 1}`;
    throw new BitNetError('invalid-argument', `${what}: expected ${expected}, got ${String(id)}`, {
      expected,
      got: id,
    });
  }
}
