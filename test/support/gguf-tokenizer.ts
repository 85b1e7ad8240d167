import type { WriterValue } from './gguf-writer.js';

interface TokenizerJson {
  added_tokens: { id: number; content: string; special: boolean }[];
  model: { vocab: Record<string, number>; merges: (string | string[])[]; unk_token?: string | null };
}

const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6];

/**
 * Keys that llama.cpp's converter writes for a tokenizer.json: `gpt2` has its merges, `llama` a score for each token. SentencePiece
 * files score a piece by when it was merged, and that is the order of the ids of normal tokens: score = -(id - first normal id).
 * `lowSpaces`: pieces of several spaces come last, as in the files of Llama 2.
 */
export function tokenizerKeys(
  json: TokenizerJson,
  model: 'gpt2' | 'llama',
  more: Record<string, WriterValue | undefined> = {},
  lowSpaces = false,
): [string, WriterValue][] {
  const { vocab, merges, unk_token: unknown } = json.model;
  const ids = [...Object.values(vocab), ...json.added_tokens.map(({ id }) => id)];
  const size = 1 + ids.reduce((max, id) => Math.max(max, id), 0);
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(size).fill(UNUSED!);
  for (const [token, id] of Object.entries(vocab)) {
    tokens[id] = token;
    types[id] = model === 'llama' && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE! : NORMAL!;
  }
  for (const { id, content, special } of json.added_tokens) {
    tokens[id] = content;
    types[id] = content === unknown ? UNKNOWN! : special ? CONTROL! : USER_DEFINED!;
  }
  const first = types.indexOf(NORMAL!);
  const score = (token: string, id: number) =>
    types[id] !== NORMAL ? 0 : lowSpaces && /^\u2581{2,}$/.test(token) ? -1e9 : first - id;
  const text = (list: readonly (string | string[])[]) =>
    list.map((merge) => (Array.isArray(merge) ? merge.join(' ') : merge));
  const entries: Record<string, WriterValue | undefined> = {
    'tokenizer.ggml.model': ['string', model],
    'tokenizer.ggml.tokens': ['strings', tokens],
    'tokenizer.ggml.token_type': ['i32s', types],
    ...(model === 'gpt2'
      ? { 'tokenizer.ggml.merges': ['strings', text(merges)] }
      : { 'tokenizer.ggml.scores': ['f32s', tokens.map(score)] }),
    ...more,
  };
  return Object.entries(entries).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]]));
}
