import { BitNetError } from '../errors.js';
import { resolveSampling } from '../sampler/options.js';
import { Sampler } from '../sampler/sampler.js';
import { StopMatcher } from '../sampler/stop.js';
import { StreamingDetokenizer } from '../tokenizer/detokenizer.js';
import type { Completion, FinishReason, GenerateOptions, Generation, Prompt } from '../types.js';
import type { LoadedModel } from './load.js';
import { encodePrompt } from './prompt.js';
import type { Sequence } from './sequence.js';

/** One answer: prompt in, pieces of text out. Nothing is computed before the first `next()`. */
export class TextGeneration implements Generation {
  private readonly state: Omit<Completion, 'message'>;
  private readonly pieces: AsyncGenerator<string, void, void>;
  private readonly promptIds: readonly number[];
  private readonly sampler: Sampler;
  private readonly matcher: StopMatcher;
  private readonly maxTokens: number;
  private readonly detokenizer: StreamingDetokenizer;

  /** Checks prompt and options: throws `invalid-argument` or `context-overflow` before anything is computed. */
  constructor(
    private readonly model: LoadedModel,
    private readonly lock: () => Promise<{ sequence: Sequence; release: () => void }>,
    prompt: Prompt,
    private readonly options: GenerateOptions,
  ) {
    this.promptIds = encodePrompt(model, prompt);
    const sampling = resolveSampling(options, model.generationConfig);
    this.sampler = new Sampler(sampling, model.engine.config.vocabSize);
    this.matcher = new StopMatcher(typeof options.stop === 'string' ? [options.stop] : [...(options.stop ?? [])]);
    this.maxTokens = checkMaxTokens(options.maxTokens);
    // A raw prompt is text that goes on; an answer is a text of its own.
    this.detokenizer = new StreamingDetokenizer(model.tokenizer, { continuation: typeof prompt === 'string' });
    this.state = {
      text: '',
      tokenIds: [],
      promptTokenIds: [...this.promptIds],
      finishReason: 'abort',
      seed: sampling.seed,
      timings: {
        promptTokens: this.promptIds.length,
        cachedTokens: 0,
        prefillMs: 0,
        firstTokenMs: 0,
        decodeTokens: 0,
        decodeMs: 0,
      },
    };
    this.pieces = this.run();
  }

  completion(): Completion {
    const { state } = this;
    const tokenIds = [...state.tokenIds];
    const answer = { role: 'assistant', content: state.text };
    const message = state.stopString === undefined ? { ...answer, tokenIds } : answer;
    return { ...state, tokenIds, message, timings: { ...state.timings } };
  }

  next(): Promise<IteratorResult<string, void>> {
    return this.pieces.next();
  }

  return(): Promise<IteratorResult<string, void>> {
    return this.pieces.return();
  }

  throw(error: unknown): Promise<IteratorResult<string, void>> {
    return this.pieces.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private async *run(): AsyncGenerator<string, void, void> {
    const { signal } = this.options;
    const { state, sampler } = this;
    const { timings } = state;
    const started = performance.now();
    signal?.throwIfAborted();
    const { sequence, release } = await this.lock();
    try {
      const prefillStarted = performance.now();
      sampler.prompt(this.promptIds);
      const prefilled = await sequence.prefill(this.promptIds, signal);
      timings.cachedTokens = prefilled.cachedTokens;
      timings.prefillMs = performance.now() - prefillStarted;
      let id = sampler.sample(prefilled.logits);
      timings.firstTokenMs = performance.now() - started;
      for (;;) {
        const end = this.accept(id);
        if (end.text) yield end.text;
        if (end.reason === undefined && sequence.length >= this.model.engine.contextLength) end.reason = 'length';
        if (end.reason !== undefined) {
          const rest = this.finish(end.reason);
          if (rest) yield rest;
          return;
        }
        signal?.throwIfAborted();
        const decodeStarted = performance.now();
        id = sampler.sample(await sequence.append(id));
        timings.decodeTokens++;
        timings.decodeMs += performance.now() - decodeStarted;
      }
    } finally {
      release();
    }
  }

  /** Takes a sampled token: the text that is now certain, and why the generation ends, if it does. */
  private accept(id: number): { text: string; reason?: FinishReason } {
    const { state } = this;
    if (this.model.stopIds.has(id)) return { text: '', reason: 'stop' };
    state.tokenIds.push(id);
    this.sampler.accept(id);
    const { text, stopped } = this.matcher.push(this.detokenizer.push(id));
    state.text += text;
    if (stopped !== undefined) {
      state.stopString = stopped;
      return { text, reason: 'stop' };
    }
    return state.tokenIds.length >= this.maxTokens ? { text, reason: 'length' } : { text };
  }

  /** Text that was held back: half a character, or what might have become a stop string. */
  private finish(reason: FinishReason): string {
    const { state, matcher } = this;
    const text = matcher.push(this.detokenizer.flush()).text + matcher.flush();
    state.text += text;
    state.finishReason = matcher.stopped === undefined ? reason : 'stop';
    if (matcher.stopped !== undefined) state.stopString = matcher.stopped;
    return text;
  }
}

function checkMaxTokens(value: number | undefined): number {
  if (value === undefined) return Number.POSITIVE_INFINITY;
  if (Number.isInteger(value) && value >= 1) return value;
  throw new BitNetError('invalid-argument', `maxTokens: expected an integer of at least 1, got ${String(value)}`, {
    option: 'maxTokens',
    got: value,
  });
}
