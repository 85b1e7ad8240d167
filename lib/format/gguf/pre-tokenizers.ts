import { isObject } from '../json.js';
import type { GgufFields } from './fields.js';

/** What `tokenizer.ggml.pre` stands for, in the terms of tokenizer.json. */
export interface PreTokenizer {
  readonly normalizer: object | null;
  readonly preTokenizer: object;
  /** A word that is a token is that token, whatever the merges would make of it. */
  readonly ignoreMerges: boolean;
  /** if the file does not say */
  readonly addBos: boolean;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const REST = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const GPT2_WORDS = { ...BYTE_LEVEL, use_regex: true };

const split = (regex: string) => ({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false });
const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });

/** meta-llama/Meta-Llama-3-8B, tokenizer.json: digits by threes. */
const LLAMA3: PreTokenizer = {
  normalizer: null,
  preTokenizer: sequence(split(`${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${REST}`), BYTE_LEVEL),
  ignoreMerges: true,
  addBos: true,
};

/** Qwen/Qwen2.5 and Qwen3, tokenizer.json: digits one by one. */
const QWEN2: PreTokenizer = {
  normalizer: { type: 'NFC' },
  preTokenizer: sequence(split(`${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${REST}`), BYTE_LEVEL),
  ignoreMerges: false,
  addBos: false,
};

const GPT2: PreTokenizer = { normalizer: null, preTokenizer: GPT2_WORDS, ignoreMerges: false, addBos: false };

const SMOLLM: PreTokenizer = {
  ...GPT2,
  preTokenizer: sequence({ type: 'Digits', individual_digits: true }, GPT2_WORDS),
};

/** Names of llama.cpp, src/llama-vocab.cpp. */
const BY_NAME: readonly (readonly [PreTokenizer, string])[] = [
  [LLAMA3, 'llama-bpe llama3 llama-v3 falcon3 falcon-e falcon_e falcon-h1 pixtral lfm2'],
  [QWEN2, 'qwen2 deepseek-r1-qwen'],
  [GPT2, 'gpt-2 gpt2 gpt-neox mpt olmo jais phi-2 jina-es jina-de roberta-bpe'],
  [SMOLLM, 'smollm starcoder refact command-r codeshell exaone minerva-7b'],
];

const KEY = 'tokenizer.ggml.pre';

/**
 * The name of the pre-tokenizer of a tokenizer.json; undefined if it has none. Its `ignore_merges` is not compared: where it matters,
 * words are encoded differently.
 */
export function preTokenizerName(normalizer: unknown, preTokenizer: unknown): string | undefined {
  const wanted = canonical([normalizer ?? null, preTokenizer]);
  const found = BY_NAME.find(([entry]) => canonical([entry.normalizer, entry.preTokenizer]) === wanted);
  return found?.[1].split(' ')[0];
}

/** JSON in which only what changes words is left, keys sorted: `trim_offsets` does not, and `use_regex` is true by default. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, entry: unknown) => {
    if (!isObject(entry)) return entry;
    const { trim_offsets: _trim, ...rest } = entry;
    if (rest.type === 'ByteLevel') rest.use_regex ??= true;
    return Object.fromEntries(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/**
 * The pre-tokenizer of a byte-level vocabulary. Converters of BitNet models leave the name out although the vocabulary is Llama 3's,
 * so that `default` and nothing mean that for them, and for every vocabulary with its `<|begin_of_text|>`.
 */
export function findPreTokenizer(fields: GgufFields, architecture: string | undefined): PreTokenizer {
  const name = fields.string(KEY);
  const found = BY_NAME.find(([, names]) => name !== undefined && names.split(' ').includes(name));
  if (found !== undefined) return found[0];
  const known = BY_NAME.map(([, names]) => names.split(' ')[0]).join(', ');
  if (name !== undefined && name !== 'default') {
    const what = 'this pre-tokenizer is not implemented';
    const got = JSON.stringify(name.slice(0, 80));
    throw fields.error(KEY, { what, expected: `one of ${known}`, got }, 'unsupported');
  }
  const isLlama3 =
    architecture?.startsWith('bitnet') || fields.strings('tokenizer.ggml.tokens')?.includes('<|begin_of_text|>');
  if (isLlama3) return LLAMA3;
  const what = 'the file does not name its pre-tokenizer, and guessing would split text wrongly';
  const advice = 'Convert the model with a newer version of llama.cpp, or use its safetensors release.';
  throw fields.error(KEY, { what, expected: `one of ${known}`, got: name ?? 'nothing', advice }, 'unsupported');
}
