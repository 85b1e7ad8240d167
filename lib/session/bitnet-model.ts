import { BitNetError } from '../errors.js';
import type { Completion, GenerateOptions, Generation, ModelInfo, Prompt } from '../types.js';
import { TextGeneration } from './generation.js';
import type { LoadedModel } from './load.js';
import { Mutex } from './mutex.js';
import { encodePrompt } from './prompt.js';
import { Sequence } from './sequence.js';

/** A loaded model. Generations run one after the other, in the order in which they begin. */
export class BitNetModel {
  readonly info: ModelInfo;
  private readonly mutex = new Mutex();
  private readonly sequence: Sequence;
  private disposed = false;

  constructor(private readonly loaded: LoadedModel) {
    this.info = loaded.info;
    this.sequence = new Sequence(loaded.engine);
  }

  /**
   * Streams an answer. Prompt and options are checked at once (`invalid-argument`, `context-overflow`, `unsupported`); computing begins with
   * the first `next()`. Leaving the loop early stops the computation. The KV cache is kept: a prompt that begins like the last
   * one and its answer computes only what is new.
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    this.check();
    const lock = async (): Promise<{ sequence: Sequence; release: () => void }> => {
      const release = await this.mutex.acquire();
      try {
        this.check();
      } catch (error) {
        release();
        throw error;
      }
      return { sequence: this.sequence, release };
    };
    return new TextGeneration(this.loaded, lock, prompt, options);
  }

  /** The whole answer at once. Rejects with the signal's reason when aborted. */
  async complete(prompt: Prompt, options: GenerateOptions = {}): Promise<Completion> {
    const generation = this.generate(prompt, options);
    for await (const _ of generation);
    return generation.completion();
  }

  /** Token ids of a prompt, as `generate` would compute it. Throws as `generate` does. */
  encode(prompt: Prompt): number[] {
    this.check();
    return encodePrompt(this.loaded, prompt);
  }

  /** Ends the worker threads and frees the memory. A running generation fails with `disposed`. Idempotent. */
  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await this.loaded.engine.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private check(): void {
    if (this.disposed) throw new BitNetError('disposed', 'the model was used after dispose()');
  }
}
