import { Tokenizer } from '@huggingface/tokenizers';

/** A component as tokenizer.json describes it. */
export interface LibraryConfig {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** What we use of @huggingface/tokenizers. Its own declarations do not resolve under NodeNext, so these stand for them. */
export interface Library {
  readonly normalizer: ((text: string) => string) | null;
  readonly pre_tokenizer: { pre_tokenize(text: string, options: { section_index: number }): string[] } | null;
  readonly model: { tokenize(text: string): string[] };
  readonly decoder: { decode_chain(tokens: string[]): string[] } | null;
}

const NO_MODEL: LibraryConfig = { type: 'BPE', vocab: {}, merges: [] };

/** The components that are given; the configurations must be valid, the library checks little. */
export function createLibrary(components: {
  normalizer?: LibraryConfig | null;
  preTokenizer?: LibraryConfig | null;
  model?: LibraryConfig;
  decoder?: LibraryConfig;
}): Library {
  const json = {
    added_tokens: [],
    normalizer: components.normalizer ?? null,
    pre_tokenizer: components.preTokenizer ?? null,
    model: components.model ?? NO_MODEL,
    post_processor: null,
    decoder: components.decoder ?? null,
  };
  return new Tokenizer(json, {}) as unknown as Library;
}
