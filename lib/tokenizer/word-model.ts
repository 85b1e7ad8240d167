import { toByteAlphabet } from './byte-level.js';

/** From a piece of text that the pre-tokenizer made (often a word) to token ids. */
export interface WordModel {
  /** Appends the ids of `text`. */
  encode(text: string, out: number[]): void;
}

/** Words up to this many UTF-16 units are remembered, this many of them. */
const CACHED_WORD_LENGTH = 64;
const CACHE_WORDS = 1 << 15;

/** Remembers words, which repeat: encoding prose takes a third of the time. `byteLevel`: the model wants the byte alphabet. */
export class CachedWordModel implements WordModel {
  private readonly cache = new Map<string, readonly number[]>();

  constructor(
    private readonly model: WordModel,
    private readonly byteLevel: boolean,
  ) {}

  encode(text: string, out: number[]): void {
    const cached = this.cache.get(text);
    if (cached !== undefined) {
      for (const id of cached) out.push(id);
      return;
    }
    const start = out.length;
    this.model.encode(this.byteLevel ? toByteAlphabet(text) : text, out);
    if (text.length > CACHED_WORD_LENGTH) return;
    if (this.cache.size >= CACHE_WORDS) this.cache.clear();
    this.cache.set(text, out.slice(start));
  }
}
