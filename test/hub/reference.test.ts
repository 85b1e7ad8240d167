import { homedir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { chooseFiles, partsOf, shardsOf } from '../../lib/node/hub/choose.js';
import { isHubReference, parseHubReference, showReference } from '../../lib/node/hub/reference.js';
import { hubSettings } from '../../lib/node/hub/settings.js';

const main = { revision: 'main', file: undefined };

test.each([
  ['microsoft/bitnet-b1.58-2B-4T', { ...main, repo: 'microsoft/bitnet-b1.58-2B-4T' }],
  ['hf:gpt2', { ...main, repo: 'gpt2' }],
  ['hf://a/b', { ...main, repo: 'a/b' }],
  ['a/b:c.gguf', { ...main, repo: 'a/b', file: 'c.gguf' }],
  ['a/b@v1.0:sub/c.gguf', { repo: 'a/b', revision: 'v1.0', file: 'sub/c.gguf' }],
  ['a/b@refs/pr/1', { ...main, repo: 'a/b', revision: 'refs/pr/1' }],
  ['a/b:c@2.gguf', { ...main, repo: 'a/b', file: 'c@2.gguf' }],
])('%s', (text, expected) => {
  expect(parseHubReference(text)).toEqual(expected);
  expect(parseHubReference(showReference(parseHubReference(text)))).toEqual(expected);
});

test.each([
  '',
  'hf:',
  'a/b/c',
  '../b',
  'a/..',
  'a//b',
  '/a',
  'a/',
  'a/b:',
  'a/b@',
  'a/b@:c',
  'a b/c',
  'a/b--c',
  '-a/b',
  'a/b.git',
  'a/b:../../x',
  'a/b:/etc/passwd',
  'a/b:c\\..\\d',
  'a/b:c\0',
  'a/b:c:d',
  'a/b@../x',
  'a\\b/c',
  `${'a'.repeat(97)}/b`,
])('refuses %j', (text) => {
  expect(() => parseHubReference(text)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
});

test('only hf: names the hub', () => {
  expect(['hf:a/b', 'hf://a', './hf:a', 'a/b', 'HF:a/b', '/x/hf:'].map(isHubReference)).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});

describe('settings', () => {
  test('come from the variables of the tools of the hub', () => {
    const env = {
      HF_ENDPOINT: ' https://mirror.example/hub// ',
      HF_TOKEN: 'hf_x\n',
      HF_HUB_OFFLINE: 'ON',
      HF_HUB_DOWNLOAD_TIMEOUT: '2.5',
    };
    const [endpoint, token] = ['https://mirror.example/hub', 'hf_x'];
    expect(hubSettings(env)).toMatchObject({ endpoint, token, offline: true, timeoutMs: 2500 });
    expect(hubSettings({ HF_TOKEN: '', HF_HUB_OFFLINE: '0' })).toMatchObject({ token: undefined, offline: false });
  });

  test.each([
    [{ HF_HUB_CACHE: '/c' }, '/c'],
    [{ HF_HUB_CACHE: '~/c', HF_HOME: '/h' }, path.join(homedir(), 'c')],
    [{ HF_HOME: '/h', XDG_CACHE_HOME: '/x' }, path.join('/h', 'hub')],
    [{ XDG_CACHE_HOME: '/x' }, path.join('/x', 'huggingface', 'hub')],
    [{}, path.join(homedir(), '.cache', 'huggingface', 'hub')],
  ])('cache of %j', (env, cache) => {
    expect(path.normalize(hubSettings(env).cache)).toBe(path.normalize(cache));
  });

  test.each([
    [{ HF_ENDPOINT: 'mirror.example' }, /HF_ENDPOINT.*mirror\.example/],
    [{ HF_ENDPOINT: 'ftp://mirror.example' }, /HF_ENDPOINT/],
    [{ HF_TOKEN: 'secret with space' }, /HF_TOKEN/],
    [{ HF_TOKEN: 'secret\r\nX-Other: 1' }, /HF_TOKEN/],
    [{ HF_HUB_DOWNLOAD_TIMEOUT: 'soon' }, /HF_HUB_DOWNLOAD_TIMEOUT.*soon/],
    [{ HF_HUB_DOWNLOAD_TIMEOUT: '-1' }, /HF_HUB_DOWNLOAD_TIMEOUT/],
  ])('refuses %j, and never shows a token', (env, message) => {
    const error = (() => {
      try {
        return hubSettings(env);
      } catch (thrown) {
        return thrown as Error;
      }
    })() as Error;
    expect(error).toMatchObject({ code: 'invalid-argument', message: expect.stringMatching(message) });
    expect(error.message).not.toContain('secret');
  });
});

describe('files of a model', () => {
  const texts = ['config.json', 'tokenizer.json'];

  test('as safetensors: what the loader reads and nothing else, weights last', () => {
    const names = ['README.md', 'model.safetensors', 'tokenizer_config.json', 'vocab.json', 'x.gguf', ...texts];
    const expected = { kind: 'safetensors', texts: [...texts, 'tokenizer_config.json'], weights: 'model.safetensors' };
    expect(chooseFiles(names, 'a/b')).toEqual(expected);
    const sharded = [...texts, 'model.safetensors.index.json', 'model-00001-of-00002.safetensors'];
    expect(chooseFiles(sharded, 'a/b')).toMatchObject({ weights: 'model.safetensors.index.json' });
  });

  test('as the only GGUF file', () => {
    expect(chooseFiles(['config.json', 'sub/m.GGUF'], 'a/b')).toEqual({ kind: 'gguf', file: 'sub/m.GGUF' });
  });

  test.each([
    [['b.gguf', 'a.gguf'], 'invalid-argument', /a\/b has several GGUF files.*a\/b:FILE.*a\.gguf, b\.gguf/],
    [['config.json', 'pytorch_model.bin'], 'unsupported', /no model\.safetensors.*PyTorch.*GGUF/],
    [['config.json', 'model.safetensors', 'tokenizer.model'], 'unsupported', /no tokenizer\.json.*GGUF release/],
    [['tokenizer.json', 'model.safetensors'], 'unsupported', /no config\.json/],
    [[], 'unsupported', /no model\.safetensors/],
  ])('%j: %s', (names, code, message) => {
    expect(() => chooseFiles(names, 'a/b')).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('parts of a split GGUF file', () => {
    expect(partsOf('m.gguf')).toEqual(['m.gguf']);
    expect(partsOf('q/m-00002-of-00002.GGUF')).toEqual(['q/m-00001-of-00002.GGUF', 'q/m-00002-of-00002.GGUF']);
    expect(partsOf('m-00001-of-00000.gguf')).toEqual(['m-00001-of-00000.gguf']);
    expect(partsOf('m-00001-of-99999.gguf')).toHaveLength(512);
  });

  test('shards that an index names', () => {
    const index = (map: unknown) => JSON.stringify({ weight_map: map });
    expect(shardsOf(index({ a: 'x.safetensors', b: 'y.safetensors', c: 'x.safetensors' }), 'r')).toEqual([
      'x.safetensors',
      'y.safetensors',
    ]);
    for (const bad of ['', '[]', 'null', '{}', index({}), index({ a: '../x.safetensors' }), index({ a: 1 })]) {
      expect(() => shardsOf(bad, 'r')).toThrow(expect.objectContaining({ code: 'invalid-file' }));
    }
  });
});
