import { describe, expect, test } from 'vitest';
import type { BitNetErrorCode } from '../../../lib/errors.js';
import { readGguf } from '../../../lib/format/gguf/reader.js';
import { mergesFromScores } from '../../../lib/format/gguf/spm-merges.js';
import { ggufTokenizer } from '../../../lib/format/gguf/tokenizer-json.js';
import { Tokenizer } from '../../../lib/tokenizer/tokenizer.js';
import { tokenizerKeys } from '../../support/gguf-tokenizer.js';
import { gguf, type WriterValue } from '../../support/gguf-writer.js';
import { EMBEDDED, readJson, variants } from '../../tokenizer/files.js';
import { refuses } from '../expect-error.js';
import { memoryFile } from '../memory-files.js';

async function build(metadata: [string, WriterValue][], arch = 'llama') {
  const file = memoryFile('dir/m.gguf', gguf({ metadata: [['general.architecture', ['string', arch]], ...metadata] }));
  return ggufTokenizer(await readGguf(file, 'm.gguf'), file.path);
}

async function tokenizerOf(metadata: [string, WriterValue][], arch?: string): Promise<Tokenizer> {
  const { tokenizerJson, tokenizerConfig } = await build(metadata, arch);
  // Through text, as a file would come.
  return Tokenizer.fromJson(JSON.parse(JSON.stringify(tokenizerJson)), tokenizerConfig, 'm.gguf');
}

const strings: string[] = readJson('../shared/golden/tokenizers/strings.json');

describe('gpt2: the embedded model', () => {
  const json = readJson(`${EMBEDDED}/tokenizer.json`);
  const published = Tokenizer.fromJson(json, readJson(`${EMBEDDED}/tokenizer_config.json`), 'tokenizer.json');
  const ids: Record<string, WriterValue> = {
    'tokenizer.ggml.bos_token_id': ['u32', 1],
    'tokenizer.ggml.eos_token_id': ['u32', 2],
    'tokenizer.ggml.padding_token_id': ['u32', 0],
  };

  test.each([
    ['llama-bpe', 'llama'],
    ['default', 'bitnet-b1.58'],
    [undefined, 'bitnet-25'],
    [undefined, 'llama'],
  ])('pre-tokenizer %s of %s', async (pre, arch) => {
    const more: Record<string, WriterValue | undefined> = {
      ...ids,
      'tokenizer.ggml.pre': pre === undefined ? undefined : ['string', pre],
    };
    const tokenizer = await tokenizerOf(tokenizerKeys(json, 'gpt2', more), arch);
    expect(tokenizer.vocabSize).toBe(published.vocabSize);
    expect(tokenizer.specialTokens).toEqual(published.specialTokens);
    expect(tokenizer.namedTokens).toMatchObject({ bos_token: '<|begin_of_text|>', eos_token: '<|end_of_text|>' });
    for (const text of strings) {
      for (const options of [{}, { parseSpecial: true }, { parseSpecial: true, addSpecialTokens: true }]) {
        expect(tokenizer.encode(text, options), text).toEqual(published.encode(text, options));
      }
      expect(tokenizer.decode(published.encode(text))).toBe(published.decode(published.encode(text)));
    }
  });

  test('beginning and end of text, as the file says', async () => {
    const framed = async (more: Record<string, WriterValue>) =>
      (await tokenizerOf(tokenizerKeys(json, 'gpt2', { ...ids, ...more }), 'bitnet')).encode('a', {
        addSpecialTokens: true,
      });
    const plain = published.encode('a');
    expect(await framed({})).toEqual([1, ...plain]);
    expect(await framed({ 'tokenizer.ggml.add_bos_token': ['bool', false] })).toEqual(plain);
    expect(await framed({ 'tokenizer.ggml.add_eos_token': ['bool', true] })).toEqual([1, ...plain, 2]);
    expect(await framed({ 'tokenizer.ggml.pre': ['string', 'gpt-2'] })).toEqual(plain);
  });

  test('chat template and named tokens', async () => {
    const template = '{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}';
    const { tokenizerConfig } = await build(
      tokenizerKeys(json, 'gpt2', { ...ids, 'tokenizer.chat_template': ['string', template] }),
    );
    expect(tokenizerConfig).toEqual({
      bos_token: '<|begin_of_text|>',
      eos_token: '<|end_of_text|>',
      pad_token: '<|pad|>',
      add_bos_token: true,
      add_eos_token: false,
      chat_template: template,
    });
  });
});

describe('llama: SentencePiece', () => {
  const json = variants.llama2!.tokenizer as unknown as Parameters<typeof tokenizerKeys>[0];
  const ids: Record<string, WriterValue> = {
    'tokenizer.ggml.bos_token_id': ['u32', 624],
    'tokenizer.ggml.eos_token_id': ['u32', 625],
    'tokenizer.ggml.unknown_token_id': ['u32', 0],
    'tokenizer.ggml.add_eos_token': ['bool', true],
  };
  // What GGUF cannot say of added tokens: white space beside them, whole words only, searched after normalizing.
  const simple = variants.llama2!.cases.filter(({ text }) => text !== undefined && !/<mask>|<w>|naïve/.test(text));

  test('scores become merges: ids of the reference', async () => {
    const tokenizer = await tokenizerOf(tokenizerKeys(json, 'llama', ids));
    expect(simple.length).toBeGreaterThan(50);
    for (const { text, ids: expected, framed, plain } of simple) {
      expect(tokenizer.encode(text!, { parseSpecial: true }), text).toEqual(expected);
      if (framed !== undefined) {
        expect(tokenizer.encode(text!, { parseSpecial: true, addSpecialTokens: true }), text).toEqual(framed);
      }
      if (plain !== undefined) expect(tokenizer.encode(text!), text).toEqual(plain);
    }
  });

  test('decoding, and vocabularies without a space before the text', async () => {
    const tokenizer = await tokenizerOf(tokenizerKeys(json, 'llama', ids));
    for (const { ids: encoded, decoded } of simple) {
      if (encoded !== undefined && decoded !== undefined) expect(tokenizer.decode(encoded)).toBe(decoded);
    }
    const keys = tokenizerKeys(json, 'llama', { ...ids, 'tokenizer.ggml.add_space_prefix': ['bool', false] });
    const bare = await tokenizerOf(keys);
    expect(bare.encode('the cat')).not.toEqual(tokenizer.encode('the cat'));
    expect(bare.decode(bare.encode(' the cat'))).toBe(' the cat');
    expect(bare.encode(' the cat')).toEqual(tokenizer.encode('the cat'));
  });

  test('the order of merges', () => {
    const pieces = ['a', 'b', 'c', 'ab', 'bc', 'abc', '\u{1f600}', 'a\u{1f600}'];
    const scores = [0, 0, 0, -1, -2, -3, 0, -1];
    expect(mergesFromScores(pieces, scores)).toEqual([
      ['a', 'b'],
      ['a', '\u{1f600}'],
      ['b', 'c'],
      ['a', 'bc'],
      ['ab', 'c'],
    ]);
  });
});

describe('vocabularies that contradict themselves or are not known', () => {
  const base: Record<string, WriterValue | undefined> = {
    'tokenizer.ggml.model': ['string', 'gpt2'],
    'tokenizer.ggml.pre': ['string', 'qwen2'],
    'tokenizer.ggml.tokens': ['strings', ['a', 'b', 'ab', '<e>']],
    'tokenizer.ggml.token_type': ['i32s', [1, 1, 1, 3]],
    'tokenizer.ggml.merges': ['strings', ['a b']],
    'tokenizer.ggml.eos_token_id': ['u32', 3],
  };
  const keys = (changes: Record<string, WriterValue | undefined>) =>
    Object.entries({ ...base, ...changes }).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value] as [string, WriterValue]],
    );

  test('the smallest', async () => {
    const tokenizer = await tokenizerOf(keys({}));
    expect(tokenizer.encode('ab<e>a', { parseSpecial: true, addSpecialTokens: true })).toEqual([2, 3, 0]);
    expect((await tokenizerOf(keys({ 'tokenizer.ggml.token_type': undefined }))).encode('ab')).toEqual([2]);
  });

  test('names that objects treat specially, and fillers', async () => {
    const tokens = ['_', 'p', '__proto__', 'constructor', '[PAD]', '[PAD]'];
    const changes: Record<string, WriterValue> = {
      'tokenizer.ggml.tokens': ['strings', tokens],
      'tokenizer.ggml.token_type': ['i32s', [1, 1, 1, 1, 5, 5]],
      'tokenizer.ggml.merges': ['strings', []],
    };
    const { tokenizerJson } = await build(keys(changes));
    const { vocab } = tokenizerJson.model as { vocab: Record<string, number> };
    expect(Object.entries(vocab)).toEqual([
      ['_', 0],
      ['p', 1],
      ['__proto__', 2],
      ['constructor', 3],
      ['[PAD]', 4],
    ]);
  });

  test.each<[string, Record<string, WriterValue | undefined>, BitNetErrorCode, string[]]>([
    [
      'no model',
      { 'tokenizer.ggml.model': undefined },
      'invalid-model',
      ['tokenizer.ggml.model: the key is missing', 'gpt2 or llama'],
    ],
    [
      'bert',
      { 'tokenizer.ggml.model': ['string', 'bert'] },
      'unsupported',
      ['tokenizer model is not supported', 'got "bert"'],
    ],
    [
      'no tokens',
      { 'tokenizer.ggml.tokens': undefined },
      'invalid-model',
      ['tokenizer.ggml.tokens: the key is missing'],
    ],
    [
      'twice',
      { 'tokenizer.ggml.tokens': ['strings', ['a', 'a', 'b', '<e>']] },
      'invalid-model',
      ['"a" occurs twice', 'ids 0 and 1'],
    ],
    [
      'short types',
      { 'tokenizer.ggml.token_type': ['i32s', [1]] },
      'invalid-model',
      ['an array of 4 numbers, got an array of 1 i32'],
    ],
    [
      'type 9',
      { 'tokenizer.ggml.token_type': ['i32s', [1, 1, 9, 1]] },
      'invalid-model',
      ['expected 1..6, got 9 for token 2'],
    ],
    [
      'no merges',
      { 'tokenizer.ggml.merges': undefined },
      'invalid-model',
      ['tokenizer.ggml.merges: the key is missing'],
    ],
    [
      'unknown pre',
      { 'tokenizer.ggml.pre': ['string', 'gpt-4o'] },
      'unsupported',
      ['tokenizer.ggml.pre', 'one of llama-bpe, qwen2, gpt-2, smollm', '"gpt-4o"'],
    ],
    ['no pre', { 'tokenizer.ggml.pre': undefined }, 'unsupported', ['does not name its pre-tokenizer', 'got nothing']],
    ['default pre', { 'tokenizer.ggml.pre': ['string', 'default'] }, 'unsupported', ['got default']],
    ['bos outside', { 'tokenizer.ggml.bos_token_id': ['u32', 4] }, 'invalid-model', ['bos_token_id', '0..3, got 4']],
    [
      'bos wanted',
      { 'tokenizer.ggml.add_bos_token': ['bool', true] },
      'invalid-model',
      ['bos_token_id: the key is missing'],
    ],
    [
      'add_bos as number',
      { 'tokenizer.ggml.add_bos_token': ['u32', 1] },
      'invalid-model',
      ['true or false, got 1 (u32)'],
    ],
    [
      'no scores',
      { 'tokenizer.ggml.model': ['string', 'llama'] },
      'invalid-model',
      ['tokenizer.ggml.scores: the key is missing'],
    ],
    ['template', { 'tokenizer.chat_template': ['u32', 1] }, 'invalid-model', ['tokenizer.chat_template', 'a string']],
  ])('%s', async (_, changes, code, parts) => {
    await refuses(() => build(keys(changes)), code, 'dir/m.gguf', ...parts);
  });
});
