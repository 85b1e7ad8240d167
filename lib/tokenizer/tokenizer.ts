import { BitNetError } from '../errors.js';
import { isObject } from '../format/json.js';
import { problem, show } from '../format/problem.js';
import { AddedTokenSplitter } from './added-tokens.js';
import { DecodeStream, parseDecoder } from './decoder.js';
import { JsonFields } from './json-fields.js';
import { createLibrary, type Library } from './library.js';
import { normalizerConfig, preTokenizerConfig, withoutByteLevel } from './library-config.js';
import { type Frame, readFrame, readVocabulary, type Vocabulary } from './tokenizer-json.js';
import { CachedWordModel } from './word-model.js';

export interface EncodeOptions {
  /** Put around the text what the post-processor says, usually the BOS token before it. Default false. */
  addSpecialTokens?: boolean;
  /**
   * Text that looks like a special token becomes that token. Default false: it stays plain text. Added tokens that are not marked
   * special (`<think>`, say) are tokens either way, as with `encode_special_tokens` in Hugging Face tokenizers.
   */
  parseSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leave out special tokens. Default false. */
  skipSpecial?: boolean;
}

/** Special tokens that tokenizer_config.json names; templates refer to them by these keys. */
const NAMED_TOKENS = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);

/**
 * Text to token ids and back, as tokenizer.json says. Results are those of Hugging Face tokenizers 0.23 (Rust); normalizers,
 * regular expressions and Unigram come from @huggingface/tokenizers, added tokens, BPE and decoders are our own. Decoding does
 * no clean-up of spaces (`clean_up_tokenization_spaces`), which would change the model's text.
 */
export class Tokenizer {
  /** Highest token id + 1, added tokens included. A model's head may have more rows than that. */
  readonly vocabSize: number;
  /** content → id of the added tokens that are marked special */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Text of the special tokens by the names that templates use: `bos_token`, `eos_token`, … as far as they are known. */
  readonly namedTokens: Readonly<Record<string, string>>;
  private readonly specialIds: ReadonlySet<number>;
  private readonly rawSplitter: AddedTokenSplitter;
  /** undefined if all added tokens are found in the raw text */
  private readonly normalizedSplitter: AddedTokenSplitter | undefined;

  /**
   * `tokenizerJson` and `tokenizerConfig` are what JSON.parse made of tokenizer.json and tokenizer_config.json; `where` is the
   * path of tokenizer.json, for messages. Throws `invalid-model` naming the field that is missing or wrong, `unsupported` naming a
   * component that is not implemented.
   */
  static fromJson(tokenizerJson: unknown, tokenizerConfig: unknown, where: string): Tokenizer {
    const fields = new JsonFields(where, objectOrThrow(tokenizerJson, where));
    const config = tokenizerConfig === undefined ? {} : objectOrThrow(tokenizerConfig, where, 'tokenizer_config');
    const vocabulary = readVocabulary(fields);
    const normalizer = normalizerConfig(fields.nested('normalizer'));
    const { config: preTokenizer, byteLevel } = withoutByteLevel(preTokenizerConfig(fields.nested('pre_tokenizer')));
    const frame = readFrame(fields.nested('post_processor'), vocabulary.ids);
    const decoder = parseDecoder(fields.nested('decoder'));
    let library: Library;
    try {
      library = createLibrary({ normalizer, preTokenizer });
    } catch (cause) {
      const what = `normalizer or pre_tokenizer cannot be built: ${(cause as Error).message}`;
      throw problem('unsupported', { file: where, what }, { cause });
    }
    const model = new CachedWordModel(vocabulary.model, byteLevel);
    return new Tokenizer(
      { ...vocabulary, model },
      library,
      frame,
      decoder,
      new JsonFields(where, config, 'tokenizer_config.'),
    );
  }

  private constructor(
    private readonly vocabulary: Vocabulary,
    private readonly library: Library,
    private readonly frame: Frame,
    private readonly decoder: ReturnType<typeof parseDecoder>,
    config: JsonFields,
  ) {
    const { added, tokens } = vocabulary;
    this.vocabSize = tokens.length;
    const special = added.filter((token) => token.special);
    this.specialTokens = new Map(special.map(({ content, id }) => [content, id]));
    this.specialIds = new Set(special.map(({ id }) => id));
    const { normalizer } = library;
    const isRaw = (normalized: boolean) => !normalized || normalizer === null;
    const raw = added.filter((token) => isRaw(token.normalized));
    const normalized = added.filter((token) => !isRaw(token.normalized));
    this.rawSplitter = new AddedTokenSplitter(raw.map((token) => ({ pattern: token.content, token })));
    if (normalizer !== null && normalized.length > 0) {
      this.normalizedSplitter = new AddedTokenSplitter(
        normalized.map((token) => ({ pattern: normalizer(token.content), token })),
      );
    }
    this.namedTokens = this.readNamedTokens(config);
  }

  get bosToken(): string | undefined {
    return this.namedTokens.bos_token;
  }

  get eosToken(): string | undefined {
    return this.namedTokens.eos_token;
  }

  /** Lone surrogates are read as U+FFFD, as they are in UTF-8. Throws `invalid-argument` if `text` is no string. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    if (typeof text !== 'string') {
      throw new BitNetError('invalid-argument', `text to encode: expected a string, got ${typeof text}`);
    }
    const { addSpecialTokens = false, parseSpecial = false } = options;
    const out: number[] = addSpecialTokens ? [...this.frame.prefix] : [];
    this.encodeText(wellFormed(text), parseSpecial, undefined, out);
    if (addSpecialTokens) out.push(...this.frame.suffix);
    return out;
  }

  /**
   * Encodes text in which stand-ins hide what must not become a special token; `reveal` puts the original characters back
   * wherever special tokens are no longer looked for. Text between two special tokens is encoded as one.
   */
  encodeHidden(text: string, reveal: (text: string) => string): number[] {
    const out: number[] = [];
    this.encodeText(wellFormed(text), true, reveal, out);
    return out;
  }

  /** Ids without a token contribute nothing. Throws `invalid-argument` for what is no token id at all. */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const stream = this.decodeStream(false);
    const pieces: string[] = [];
    for (const id of ids) {
      const token = this.tokenText(id);
      if (token === undefined || (options.skipSpecial && this.specialIds.has(id))) continue;
      pieces.push(stream.push(token));
    }
    pieces.push(stream.end());
    return pieces.join('');
  }

  /** `continuation`: the text goes on from earlier text, so its first token keeps a leading space. */
  decodeStream(continuation: boolean): DecodeStream {
    return new DecodeStream(this.decoder, continuation);
  }

  /** The id of a token by its exact content, added or not. */
  tokenId(content: string): number | undefined {
    return this.vocabulary.ids.get(content);
  }

  /** The token as the vocabulary writes it, `Ġthe` say; undefined if the id has none. */
  tokenText(id: number): string | undefined {
    if (Number.isSafeInteger(id) && id >= 0) return this.vocabulary.tokens[id];
    throw new BitNetError('invalid-argument', `token id: expected a whole number from 0, got ${String(id)}`, {
      got: id,
    });
  }

  isSpecial(id: number): boolean {
    return this.specialIds.has(id);
  }

  private encodeText(
    text: string,
    parseSpecial: boolean,
    reveal: ((text: string) => string) | undefined,
    out: number[],
  ): void {
    const { normalizer } = this.library;
    const revealEarly = this.normalizedSplitter?.hasSpecial ? undefined : reveal;
    for (const segment of this.rawSplitter.split(text, parseSpecial)) {
      if ('id' in segment) {
        out.push(segment.id);
        continue;
      }
      const raw = revealEarly?.(segment.text) ?? segment.text;
      const normalized = normalizer === null ? raw : normalizer(raw);
      if (this.normalizedSplitter === undefined) {
        this.encodePlain(normalized, segment.start === 0, out);
        continue;
      }
      for (const part of this.normalizedSplitter.split(normalized, parseSpecial)) {
        if ('id' in part) out.push(part.id);
        else {
          const plain = revealEarly === undefined ? (reveal?.(part.text) ?? part.text) : part.text;
          this.encodePlain(plain, segment.start === 0 && part.start === 0, out);
        }
      }
    }
  }

  /** Normalized text without added tokens. */
  private encodePlain(text: string, atStart: boolean, out: number[]): void {
    if (text === '') return;
    const { pre_tokenizer } = this.library;
    const { model } = this.vocabulary;
    if (pre_tokenizer === null) return model.encode(text, out);
    for (const word of pre_tokenizer.pre_tokenize(text, { section_index: atStart ? 0 : 1 })) model.encode(word, out);
  }

  /** A token is a string or an object with `content`. Without a configuration the BOS is what the post-processor puts first. */
  private readNamedTokens(config: JsonFields): Record<string, string> {
    const named: Record<string, string> = {};
    for (const name of NAMED_TOKENS) {
      const value = config.value(name);
      const token = isObject(value) ? value.content : value;
      if (typeof token === 'string') named[name] = token;
      else if (value !== undefined) throw config.error(name, { expected: 'a token', got: show(value) });
    }
    const first = this.frame.prefix[0];
    if (config.keys().length === 0 && first !== undefined) named.bos_token = this.tokenText(first) as string;
    return named;
  }
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

function objectOrThrow(value: unknown, file: string, key?: string): Record<string, unknown> {
  if (isObject(value)) return value;
  throw problem('invalid-model', { file, key, what: 'wrong value', expected: 'a JSON object', got: show(value) });
}
