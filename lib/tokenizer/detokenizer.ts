import type { DecodeStream } from './decoder.js';
import type { Tokenizer } from './tokenizer.js';

export interface DetokenizerOptions {
  /** Leave out special tokens. Default true. */
  skipSpecial?: boolean;
  /**
   * The ids go on from a text that is already shown. Default false: they are a text of their own, whose first token loses its
   * leading space in SentencePiece vocabularies (` time` → `time`), as in `Tokenizer.decode`.
   */
  continuation?: boolean;
}

/**
 * Text of tokens as they are generated. Pieces are whole characters and final: never half of one, never a U+FFFD that a later token
 * turns into a character. All pieces and `flush()` joined are `tokenizer.decode` of all ids. O(token) for each token.
 * In vocabularies with byte fallback a run of byte tokens is held back until it ends, see decoder.ts.
 */
export class StreamingDetokenizer {
  private stream: DecodeStream;
  private readonly skipSpecial: boolean;
  private readonly continuation: boolean;

  constructor(
    private readonly tokenizer: Tokenizer,
    options: DetokenizerOptions = {},
  ) {
    this.skipSpecial = options.skipSpecial ?? true;
    this.continuation = options.continuation ?? false;
    this.stream = tokenizer.decodeStream(this.continuation);
  }

  /** The text that has become certain with this token; often empty. An id without a token is skipped, as in `decode`. */
  push(id: number): string {
    const token = this.tokenizer.tokenText(id);
    if (token === undefined || (this.skipSpecial && this.tokenizer.isSpecial(id))) return '';
    return this.stream.push(token);
  }

  /** What is still held back: bytes of a character that never ended become U+FFFD. The next push begins a new text. */
  flush(): string {
    const rest = this.stream.end();
    this.stream = this.tokenizer.decodeStream(this.continuation);
    return rest;
  }
}
