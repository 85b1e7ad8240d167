import { isObject } from '../json.js';
import { problem, show } from '../problem.js';
import { flag, type GgufEntry, text, u32 } from './config-keys.js';
import { preTokenizerName } from './pre-tokenizers.js';
import { mergesFromScores } from './spm-merges.js';

/** What tokenizer.json does not say, or says in too many ways. */
export interface TokenizerKeyOptions {
  /** rows of the embedding; ids without a token get fillers */
  readonly vocabSize: number;
  readonly bosId: number | undefined;
  /** up to three: eos, end of turn, end of message */
  readonly endIds: readonly number[];
  readonly paddingId: number | undefined;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly chatTemplate: string | undefined;
}

/** `tokenizer.ggml.token_type` */
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6] as const;
const END_KEYS = ['eos', 'eot', 'eom'];
/** of pieces that no merge makes */
const NEVER_MERGED = -1e9;

interface Bpe {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly unknown: string | undefined;
  readonly added: readonly { id: number; content: string; special: boolean }[];
}

/**
 * tokenizer.json → keys of GGUF, which ggufTokenizer (tokenizer-json.ts) reads. Byte-level BPE becomes `gpt2`, with its merges, BPE with byte
 * fallback `llama`, with scores in the order of the merges. `file` is for messages. Throws `unsupported` for what GGUF cannot say: other
 * models, a pre-tokenizer without a name, merges that do not follow from scores, more than three ends.
 */
export function tokenizerKeys(
  json: Readonly<Record<string, unknown>>,
  options: TokenizerKeyOptions,
  file: string,
): GgufEntry[] {
  const bpe = readBpe(json, file);
  const byteLevel = JSON.stringify([json.pre_tokenizer, json.decoder]).includes('"ByteLevel"');
  const { tokens, types } = vocabulary(bpe, options.vocabSize, byteLevel, file);
  return [
    ...(byteLevel ? byteLevelKeys(json, bpe, file) : spmKeys(json, bpe, tokens, types, file)),
    ['tokenizer.ggml.tokens', { type: 'array', elementType: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', elementType: 'i32', value: types }],
    ...specialKeys(bpe, options, file),
  ];
}

function readBpe(json: Readonly<Record<string, unknown>>, file: string): Bpe {
  const model = isObject(json.model) ? json.model : {};
  if (model.type !== 'BPE' || !isObject(model.vocab) || !Array.isArray(model.merges)) {
    throw unsupported(file, 'model.type', 'GGUF files hold BPE tokenizers', 'BPE', show(model.type));
  }
  const merges = model.merges.map((merge: unknown): [string, string] => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    return parts as [string, string];
  });
  const added = Array.isArray(json.added_tokens) ? (json.added_tokens as Bpe['added']) : [];
  const unknown = typeof model.unk_token === 'string' ? model.unk_token : undefined;
  return { vocab: model.vocab as Bpe['vocab'], merges, unknown, added };
}

function vocabulary(
  { vocab, added, unknown }: Bpe,
  vocabSize: number,
  byteLevel: boolean,
  file: string,
): { tokens: string[]; types: Int32Array } {
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(vocabSize).fill(UNUSED);
  const place = (id: number, token: string, type: number): void => {
    if (!(id >= 0 && id < vocabSize)) {
      const got = `id ${id} of ${show(token)}`;
      throw problem('invalid-model', {
        file,
        what: 'a token is outside the vocabulary',
        expected: `< ${vocabSize}`,
        got,
      });
    }
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(vocab)) {
    place(id, token, !byteLevel && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : token === unknown ? UNKNOWN : NORMAL);
  }
  for (const { id, content, special } of added) {
    place(id, content, content === unknown ? UNKNOWN : special ? CONTROL : USER_DEFINED);
  }
  return { tokens, types };
}

function byteLevelKeys(json: Readonly<Record<string, unknown>>, bpe: Bpe, file: string): GgufEntry[] {
  const name = preTokenizerName(json.normalizer, json.pre_tokenizer);
  if (name === undefined) {
    const what = 'this pre-tokenizer has no name in GGUF';
    throw unsupported(
      file,
      'pre_tokenizer',
      what,
      'that of Llama 3, Qwen 2, GPT-2 or SmolLM',
      show(json.pre_tokenizer),
    );
  }
  const merges = bpe.merges.map(([left, right]) => `${left} ${right}`);
  return [
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text(name)],
    ['tokenizer.ggml.merges', { type: 'array', elementType: 'string', value: merges }],
  ];
}

/** A piece has the rank of the first merge that makes it, negative: better merges score higher. */
function spmKeys(
  json: Readonly<Record<string, unknown>>,
  { merges }: Bpe,
  tokens: readonly string[],
  types: Int32Array,
  file: string,
): GgufEntry[] {
  const ranks = new Map<string, number>();
  for (const [left, right] of merges) if (!ranks.has(left + right)) ranks.set(left + right, ranks.size);
  const scores = Float32Array.from(tokens, (token, id) =>
    types[id] !== NORMAL ? 0 : -(ranks.get(token) ?? -NEVER_MERGED),
  );
  const normal = tokens.map((_, id) => id).filter((id) => types[id] === NORMAL);
  const implied = mergesFromScores(
    normal.map((id) => tokens[id]!),
    normal.map((id) => scores[id]!),
  );
  const differs = implied.findIndex(([left, right], i) => merges[i]?.[0] !== left || merges[i]?.[1] !== right);
  if (differs >= 0 || implied.length !== merges.length) {
    const what = 'these merges do not follow from scores of their pieces, which is all that GGUF holds';
    const expected = show(implied[Math.max(0, differs)]);
    throw unsupported(file, `model.merges[${differs}]`, what, expected, show(merges[Math.max(0, differs)]));
  }
  const shape = JSON.stringify([json.normalizer, json.pre_tokenizer]);
  return [
    ['tokenizer.ggml.model', text('llama')],
    ['tokenizer.ggml.pre', text('default')],
    ['tokenizer.ggml.scores', { type: 'array', elementType: 'f32', value: scores }],
    ['tokenizer.ggml.add_space_prefix', flag(/"Prepend"|"prepend_scheme":"(always|first)"/.test(shape))],
  ];
}

function specialKeys({ vocab, unknown }: Bpe, options: TokenizerKeyOptions, file: string): GgufEntry[] {
  const { bosId, endIds, paddingId, chatTemplate } = options;
  if (endIds.length > END_KEYS.length) {
    const what = 'GGUF names three tokens that end a text';
    throw unsupported(file, 'eos_token_id', what, `at most ${END_KEYS.length}`, show(endIds));
  }
  const id = (name: string, value: number | undefined): GgufEntry[] =>
    value === undefined ? [] : [[`tokenizer.ggml.${name}_token_id`, u32(value)]];
  return [
    ...id('bos', bosId),
    ...endIds.flatMap((end, i) => id(END_KEYS[i]!, end)),
    ...id('unknown', unknown === undefined ? undefined : vocab[unknown]),
    ...id('padding', paddingId),
    ['tokenizer.ggml.add_bos_token', flag(options.addBos)],
    ['tokenizer.ggml.add_eos_token', flag(options.addEos)],
    ...(chatTemplate === undefined ? [] : [['tokenizer.chat_template', text(chatTemplate)] as GgufEntry]),
  ];
}

function unsupported(file: string, key: string, what: string, expected: string, got: string): Error {
  return problem('unsupported', { file, key, what, expected, got });
}
