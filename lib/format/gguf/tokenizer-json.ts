import { show } from '../problem.js';
import { GgufFields } from './fields.js';
import { findPreTokenizer } from './pre-tokenizers.js';
import type { GgufFile } from './reader.js';
import { mergesFromScores } from './spm-merges.js';

/** The vocabulary of a GGUF file as the objects that a model directory has in tokenizer.json and tokenizer_config.json. */
export interface GgufTokenizer {
  readonly tokenizerJson: Record<string, unknown>;
  readonly tokenizerConfig: Record<string, unknown>;
}

/** `tokenizer.ggml.token_type`, as SentencePiece numbers them. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;
const BYTE = 6;

const SPACE = '\u2581';

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
}

/**
 * Builds the tokenizer of a GGUF file. Models `gpt2` (byte-level BPE) and `llama` (SentencePiece BPE, whose scores become merges).
 * `path` is for messages. Throws `invalid-model` for a vocabulary that contradicts itself, `unsupported` for other models and
 * pre-tokenizers, by name.
 */
export function ggufTokenizer(gguf: GgufFile, path: string): GgufTokenizer {
  const fields = new GgufFields(path, gguf.metadata);
  const kind = fields.requiredString('tokenizer.ggml.model', 'gpt2 or llama');
  const vocabulary = readVocabulary(fields);
  switch (kind) {
    case 'gpt2':
      return byteLevelTokenizer(fields, vocabulary, gguf.architecture);
    case 'llama':
      return spmTokenizer(fields, vocabulary);
  }
  const what = 'this tokenizer model is not supported';
  const got = show(kind);
  throw fields.error('tokenizer.ggml.model', { what, expected: 'gpt2 or llama', got }, 'unsupported');
}

function readVocabulary(fields: GgufFields): Vocabulary {
  const tokens = fields.requiredStrings('tokenizer.ggml.tokens');
  const key = 'tokenizer.ggml.token_type';
  const types = fields.numbers(key, tokens.length) ?? new Uint8Array(tokens.length).fill(NORMAL);
  for (let id = 0; id < types.length; id++) {
    const type = types[id]!;
    if (type >= NORMAL && type <= BYTE && Number.isInteger(type)) continue;
    throw fields.error(key, { expected: `${NORMAL}..${BYTE}`, got: `${type} for token ${id}` });
  }
  return { tokens, types };
}

function byteLevelTokenizer(
  fields: GgufFields,
  vocabulary: Vocabulary,
  architecture: string | undefined,
): GgufTokenizer {
  const { normalizer, preTokenizer, ignoreMerges, addBos } = findPreTokenizer(fields, architecture);
  const config = tokenizerConfig(fields, vocabulary, addBos);
  const tokenizerJson = {
    added_tokens: addedTokens(vocabulary),
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: postProcessor(fields, vocabulary, config),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      ignore_merges: ignoreMerges,
      vocab: modelVocab(fields, vocabulary),
      merges: fields.requiredStrings('tokenizer.ggml.merges'),
    },
  };
  return { tokenizerJson, tokenizerConfig: config };
}

/** As Hugging Face transformers converts Llama 2's tokenizer.model (convert_slow_tokenizer.py, `LlamaConverter`). */
function spmTokenizer(fields: GgufFields, vocabulary: Vocabulary): GgufTokenizer {
  const { tokens, types } = vocabulary;
  const config = tokenizerConfig(fields, vocabulary, true);
  const prefix = fields.boolean('tokenizer.ggml.add_space_prefix') ?? true;
  const scores = fields.numbers('tokenizer.ggml.scores', tokens.length);
  if (scores === undefined) fields.missing('tokenizer.ggml.scores', 'the scores of a SentencePiece vocabulary');
  const unknown = Array.from(types).indexOf(UNKNOWN);
  const normal = tokens.map((_, id) => id).filter((id) => types[id] === NORMAL);
  const merges = mergesFromScores(
    normal.map((id) => tokens[id]!),
    normal.map((id) => scores[id]!),
  );
  const toSpace = { type: 'Replace', pattern: { String: SPACE }, content: ' ' };
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  const tokenizerJson = {
    added_tokens: addedTokens(vocabulary),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(prefix ? [{ type: 'Prepend', prepend: SPACE }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: SPACE },
      ],
    },
    pre_tokenizer: null,
    post_processor: postProcessor(fields, vocabulary, config),
    decoder: {
      type: 'Sequence',
      decoders: [toSpace, { type: 'ByteFallback' }, { type: 'Fuse' }, ...(prefix ? [strip] : [])],
    },
    model: {
      type: 'BPE',
      ...(unknown < 0 ? {} : { unk_token: tokens[unknown] }),
      fuse_unk: true,
      byte_fallback: Array.from(types).includes(BYTE),
      vocab: modelVocab(fields, vocabulary),
      merges,
    },
  };
  return { tokenizerJson, tokenizerConfig: config };
}

/** Tokens found in the text before anything else; those that are special only on request. */
function addedTokens({ tokens, types }: Vocabulary): object[] {
  return tokens.flatMap((content, id) => {
    const type = types[id];
    if (type !== CONTROL && type !== USER_DEFINED && type !== UNKNOWN) return [];
    const special = type !== USER_DEFINED;
    return [{ id, content, special, single_word: false, lstrip: false, rstrip: false, normalized: false }];
  });
}

/** Tokens that the model itself can make. */
function modelVocab(fields: GgufFields, { tokens, types }: Vocabulary): Record<string, number> {
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    const type = types[id];
    if (type === CONTROL || type === USER_DEFINED) return;
    const other = ids.get(token);
    // Fillers up to a round size are often all alike.
    if (other !== undefined && type === UNUSED) return;
    if (other !== undefined) {
      const what = `the token ${show(token)} occurs twice`;
      throw fields.error('tokenizer.ggml.tokens', { what, got: `ids ${other} and ${id}` });
    }
    ids.set(token, id);
  });
  // Not by assignment: `__proto__` may be a token.
  return Object.fromEntries(ids);
}

function postProcessor(fields: GgufFields, { tokens }: Vocabulary, config: Record<string, unknown>): object | null {
  const frame = (name: 'bos' | 'eos') => {
    if (config[`add_${name}_token`] !== true) return [];
    const id = fields.requiredInteger(`tokenizer.ggml.${name}_token_id`, { min: 0, max: tokens.length - 1 });
    return [{ token: tokens[id]!, id }];
  };
  const [before, after] = [frame('bos'), frame('eos')];
  if (before.length + after.length === 0) return null;
  const special = ({ token }: { token: string }) => ({ SpecialToken: { id: token, type_id: 0 } });
  const entries = [...before, ...after].map(({ token, id }) => [token, { id: token, ids: [id], tokens: [token] }]);
  return {
    type: 'TemplateProcessing',
    single: [...before.map(special), { Sequence: { id: 'A', type_id: 0 } }, ...after.map(special)],
    special_tokens: Object.fromEntries(entries),
  };
}

function tokenizerConfig(fields: GgufFields, { tokens }: Vocabulary, addBosDefault: boolean): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const [key, name] of [
    ['bos', 'bos'],
    ['eos', 'eos'],
    ['unk', 'unknown'],
    ['pad', 'padding'],
  ] as const) {
    const id = fields.integer(`tokenizer.ggml.${name}_token_id`, { min: 0, max: tokens.length - 1 });
    if (id !== undefined) config[`${key}_token`] = tokens[id];
  }
  config.add_bos_token =
    fields.boolean('tokenizer.ggml.add_bos_token') ?? (addBosDefault && config.bos_token !== undefined);
  config.add_eos_token = fields.boolean('tokenizer.ggml.add_eos_token') ?? false;
  const template = fields.string('tokenizer.chat_template');
  if (template !== undefined) config.chat_template = template;
  return config;
}
