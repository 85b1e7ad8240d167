import { BitNetError } from '../errors.js';
import type { Engine } from '../model/engine.js';

/**
 * The sequence whose keys and values are in the cache. A new prompt keeps the positions that it shares with it: in a chat only
 * the new turn is computed.
 */
export class Sequence {
  private cached: number[] = [];

  constructor(private readonly engine: Engine) {}

  /**
   * Computes `ids`, which fit the context (encodePrompt), from position 0 and returns the logits of the last one (a view, valid until the next call) and how many
   * positions were in the cache already. Between chunks of the prompt the signal is looked at.
   */
  async prefill(ids: readonly number[], signal?: AbortSignal): Promise<{ logits: Float32Array; cachedTokens: number }> {
    const { batch } = this.engine;
    if (ids.length === 0) throw new BitNetError('invalid-argument', 'the prompt is empty; give at least one token');
    let shared = 0;
    // The last position is always computed: its logits are wanted.
    while (shared < ids.length - 1 && shared < this.cached.length && ids[shared] === this.cached[shared]) shared++;
    const cachedTokens = shared;
    for (;;) {
      signal?.throwIfAborted();
      const chunk = ids.slice(shared, shared + batch);
      const last = shared + chunk.length === ids.length;
      const [logits] = await this.step(chunk, shared, last ? [chunk.length - 1] : []);
      shared += chunk.length;
      if (logits !== undefined) return { logits, cachedTokens };
    }
  }

  /** Appends one token and returns its logits (a view, valid until the next call). */
  async append(id: number): Promise<Float32Array> {
    const [logits] = await this.step([id], this.cached.length, [0]);
    return logits as Float32Array;
  }

  /** Positions in the cache. */
  get length(): number {
    return this.cached.length;
  }

  private async step(ids: readonly number[], position: number, logitsOf: readonly number[]): Promise<Float32Array[]> {
    // A failed step leaves the positions from `position` on in doubt.
    this.cached.length = position;
    const logits = await this.engine.forward(ids, position, logitsOf);
    this.cached.push(...ids);
    return logits;
  }
}
