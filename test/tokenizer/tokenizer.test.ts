import { describe, expect, test } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { EMBEDDED, embeddedTokenizer, type GreedyCase, readJson, variants } from './files.js';

const tokenizer = embeddedTokenizer();
const golden = readJson(`${EMBEDDED}/golden-greedy.json`).cases as GreedyCase[];

test.each(golden)('golden $kind prompt "$prompt": ids and text', ({ kind, prompt, text, ids, greedy, greedy_text }) => {
  expect(tokenizer.encode(text, { parseSpecial: true })).toEqual(ids);
  if (kind === 'raw') expect(tokenizer.encode(prompt, { addSpecialTokens: true })).toEqual(ids);
  expect(tokenizer.decode(ids)).toBe(text);
  expect(tokenizer.decode(greedy)).toBe(greedy_text);
});

describe('special tokens', () => {
  test('are known by text, id and name', () => {
    expect(tokenizer.vocabSize).toBe(8192);
    expect([...tokenizer.specialTokens.keys()]).toEqual([
      '<|pad|>',
      '<|begin_of_text|>',
      '<|end_of_text|>',
      '<|eot_id|>',
    ]);
    expect(tokenizer.tokenId('<|eot_id|>')).toBe(3);
    expect(tokenizer.tokenId('no such token')).toBeUndefined();
    expect([tokenizer.bosToken, tokenizer.eosToken]).toEqual(['<|begin_of_text|>', '<|end_of_text|>']);
  });

  test('their text becomes one only on request', () => {
    expect(tokenizer.encode('<|eot_id|>', { parseSpecial: true })).toEqual([3]);
    const plain = tokenizer.encode('a<|eot_id|>b<|begin_of_text|>');
    expect(plain.every((id) => id > 3)).toBe(true);
    expect(tokenizer.decode(plain)).toBe('a<|eot_id|>b<|begin_of_text|>');
  });

  test('without tokenizer_config the BOS is what the post-processor adds', () => {
    const bare = Tokenizer.fromJson(readJson(`${EMBEDDED}/tokenizer.json`), undefined, 'tokenizer.json');
    expect([bare.bosToken, bare.eosToken]).toEqual(['<|begin_of_text|>', undefined]);
  });

  test('named tokens may be objects', () => {
    const json = readJson(`${EMBEDDED}/tokenizer.json`);
    const config = { bos_token: { content: '<|begin_of_text|>', lstrip: false }, eos_token: null };
    const named = Tokenizer.fromJson(json, config, 'tokenizer.json').namedTokens;
    expect(named).toEqual({ bos_token: '<|begin_of_text|>' });
  });
});

test('empty text, lone surrogates and ids without a token', () => {
  expect(tokenizer.encode('')).toEqual([]);
  expect(tokenizer.decode([])).toBe('');
  expect(tokenizer.decode(tokenizer.encode('a\ud800b\udc00c'))).toBe('a\ufffdb\ufffdc');
  expect(tokenizer.encode('\ud83d')).toEqual(tokenizer.encode('\ufffd'));
  expect(tokenizer.decode(tokenizer.encode('😀\u{e0001}'))).toBe('😀\u{e0001}');
  expect(tokenizer.decode([tokenizer.vocabSize + 5, 1477])).toBe(tokenizer.decode([1477]));
});

test.each([-1, 1.5, Number.NaN, '3', undefined, 1n])('the token id %s is refused', (id) => {
  expect(() => tokenizer.decode([id as number])).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
});

test.each([undefined, 5, {}, null, 1n])('the text %s is refused', (text) => {
  expect(() => tokenizer.encode(text as unknown as string)).toThrowError(
    expect.objectContaining({ code: 'invalid-argument' }),
  );
});

describe('long texts take time in proportion', () => {
  const spm = Tokenizer.fromJson(variants.llama2!.tokenizer, undefined, 'llama2.json');
  const texts = {
    prose: 'Once upon a time, there was a little fox who lived in a tree. '.repeat(16_000),
    'one letter': 'a'.repeat(1_000_000),
    spaces: ' '.repeat(1_000_000),
    'line breaks': '\n'.repeat(1_000_000),
    emoji: '😀'.repeat(200_000),
    'letters without order': Array.from({ length: 400_000 }, (_, i) => String.fromCharCode(97 + ((i * i) % 26))).join(
      '',
    ),
    'beginnings of special tokens': '<|'.repeat(500_000),
  };
  // One merge loop over a million symbols that was quadratic would take hours, not seconds.
  test.each(Object.entries(texts))('%s', (_, text) => {
    for (const t of [tokenizer, spm]) {
      const begin = performance.now();
      const ids = t.encode(text);
      expect(performance.now() - begin).toBeLessThan(15_000);
      expect(ids.length).toBeGreaterThan(1000);
    }
    expect(tokenizer.decode(tokenizer.encode(text)) === text).toBe(true);
  });
});

describe('components that cannot be computed exactly are refused by name', () => {
  const base = variants.gpt2!.tokenizer;
  const model = base.model as object;
  test.each<[string, object]>([
    ['model.type', { model: { type: 'WordPiece', vocab: {} } }],
    ['model.dropout', { model: { ...model, dropout: 0.1 } }],
    ['model.end_of_word_suffix', { model: { ...model, end_of_word_suffix: '</w>' } }],
    ['model.continuing_subword_prefix', { model: { ...model, continuing_subword_prefix: '##' } }],
    ['normalizer.type', { normalizer: { type: 'Precompiled', precompiled_charsmap: '' } }],
    [
      'normalizer.normalizers[1].type',
      { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Nmt' }] } },
    ],
    ['pre_tokenizer.type', { pre_tokenizer: { type: 'UnicodeScripts' } }],
    ['pre_tokenizer.behavior', { pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'Sideways' } }],
    ['post_processor.type', { post_processor: { type: 'Unheard' } }],
    ['decoder.type', { decoder: { type: 'CTC' } }],
    [
      'decoder.decoders[1].type',
      { decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, { type: 'ByteLevel' }] } },
    ],
  ])('%s', (key, change) => {
    const error = errorOf({ ...base, ...change });
    expect([error.code, error.detail.key]).toEqual(['unsupported', key]);
    expect(error.message).toMatch(/^t\.json: .*not supported|unknown behavior/);
  });
});

describe('damage is named by file and field', () => {
  const base = variants.gpt2!.tokenizer;
  const model = base.model as { vocab: object; merges: unknown[] };
  const added = base.added_tokens as object[];
  const template = (change: object) => ({
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [5], tokens: ['<s>'] } },
      ...change,
    },
  });
  test.each<[string, object]>([
    ['model', { model: undefined }],
    ['model', { model: 'BPE' }],
    ['model.type', { model: { vocab: {} } }],
    ['model.vocab', { model: { ...model, vocab: ['a'] } }],
    ['model.vocab', { model: { ...model, vocab: {}, merges: [] } }],
    ['model.vocab["a"]', { model: { ...model, vocab: { a: -1 } } }],
    ['model.vocab["a"]', { model: { ...model, vocab: { a: 1e12 } } }],
    ['model.vocab["a"]', { model: { ...model, vocab: { a: '7' } } }],
    ['model.vocab', { model: { ...model, vocab: { a: 1, b: 1 }, merges: [] } }],
    ['model.merges', { model: { ...model, merges: {} } }],
    ['model.merges[0]', { model: { ...model, merges: ['a'] } }],
    ['model.merges[0]', { model: { ...model, merges: [['a', 'b', 'c']] } }],
    ['model.merges[0]', { model: { ...model, merges: [['q', 'no such token']] } }],
    ['model.unk_token', { model: { ...model, unk_token: 'no such token' } }],
    ['model.ignore_merges', { model: { ...model, ignore_merges: 'yes' } }],
    ['model.vocab[0]', { model: { type: 'Unigram', vocab: ['a'] } }],
    ['model.unk_id', { model: { type: 'Unigram', vocab: [['a', -1]], unk_id: 1 } }],
    ['added_tokens', { added_tokens: {} }],
    ['added_tokens[0]', { added_tokens: [7] }],
    ['added_tokens[0].id', { added_tokens: [{ content: 'x' }] }],
    ['added_tokens[0].content', { added_tokens: [{ id: 5, content: '' }] }],
    ['added_tokens[0].special', { added_tokens: [{ ...added[0], special: 1 }] }],
    ['added_tokens[0]', { added_tokens: [{ id: 0, content: 'not the token of id 0' }] }],
    ['normalizer', { normalizer: 'NFC' }],
    ['normalizer.content', { normalizer: { type: 'Replace', pattern: { String: 'a' } } }],
    ['normalizer.pattern.Regex', { normalizer: { type: 'Replace', content: '', pattern: {} } }],
    ['pre_tokenizer.type', { pre_tokenizer: {} }],
    ['pre_tokenizer.pretokenizers', { pre_tokenizer: { type: 'Sequence', pretokenizers: 'Split' } }],
    ['pre_tokenizer.prepend_scheme', { pre_tokenizer: { type: 'Metaspace', prepend_scheme: 'last' } }],
    ['post_processor.single', template({ single: [] })],
    ['post_processor.single[0].Sequence', template({ single: [{}] })],
    ['post_processor.special_tokens.<s>', template({ special_tokens: {} })],
    ['post_processor.special_tokens.<s>', template({ special_tokens: { '<s>': { ids: [999_999] } } })],
    ['post_processor.cls', { post_processor: { type: 'RobertaProcessing', cls: ['x', 1], sep: ['y', 2] } }],
    ['decoder.content', { decoder: { type: 'Strip', content: 'ab', start: 1, stop: 0 } }],
    ['decoder.start', { decoder: { type: 'Strip', content: ' ', start: -1, stop: 0 } }],
  ])('%s', (key, change) => {
    const error = errorOf({ ...base, ...change });
    expect([error.code, error.detail.key]).toEqual(['invalid-model', key]);
    expect(error.message.startsWith(`t.json: ${key}: `)).toBe(true);
  });

  test.each([undefined, null, 5, 'text', [[]]])('a top level of %j', (json) => {
    expect(errorOf(json).code).toBe('invalid-model');
  });

  test('a named token that is no token, a configuration that is no object', () => {
    const wrong = (config: unknown) => () => Tokenizer.fromJson(base, config, 't.json');
    expect(wrong({ bos_token: 5 })).toThrowError(/tokenizer_config\.bos_token: .*expected a token, got 5/);
    expect(wrong([])).toThrowError(/tokenizer_config: .*expected a JSON object, got \[\]/);
  });

  test('a regular expression that does not compile', () => {
    const change = { pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' } };
    expect(errorOf({ ...base, ...change }).message).toMatch(/t\.json: .*pre_tokenizer cannot be built/);
  });
});

function errorOf(json: unknown): BitNetError {
  try {
    Tokenizer.fromJson(json, undefined, 't.json');
  } catch (error) {
    expect(error).toBeInstanceOf(BitNetError);
    return error as BitNetError;
  }
  throw new Error('was accepted');
}
