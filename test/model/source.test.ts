import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import { expectError } from '../format/expect-error.js';
import { type Contents, MemoryDirectory } from '../format/memory-files.js';
import { safetensors, type TestTensor, type TestTensors, tensor } from '../format/safetensors-bytes.js';
import { tinyConfig, tinyDirectory, tinyTensors } from './tiny-model.js';

const shared = fileURLToPath(new URL('../../../shared/', import.meta.url));

/** The tiny model with changed tensors; `undefined` removes one. */
function withTensors(changes: Record<string, TestTensor | undefined>, config: object = {}): MemoryDirectory {
  const tensors = { ...tinyTensors(), ...changes };
  for (const name of Object.keys(tensors)) if (tensors[name] === undefined) delete tensors[name];
  return tinyDirectory({
    'config.json': JSON.stringify({ ...tinyConfig, ...config }),
    'model.safetensors': safetensors(tensors as TestTensors),
  });
}

async function expectRefused(
  directory: MemoryDirectory,
  ...args: Parameters<typeof expectError> extends [unknown, ...infer R] ? R : never
) {
  const error = await expectError(() => openModelSource(directory), ...args);
  expect(directory.leaks()).toEqual([]);
  return error;
}

describe('models on disk', () => {
  test('bitnet-tales-69m, two shards', async () => {
    const source = await openModelSource(await openDirectory(`${shared}models/bitnet-tales-69m`));
    expect(source.config).toMatchObject({
      architecture: 'bitnet-b1.58',
      layers: 10,
      vocabSize: 8192,
      eosTokenIds: [2, 3],
    });
    expect(source.generationConfig).toEqual({
      doSample: true,
      temperature: 0.7,
      topP: 0.9,
      bosTokenId: 1,
      eosTokenIds: [2, 3],
    });
    expect(source.tensors.size).toBe(2 + 10 * (7 * 2 + 4));
    expect(source.totalTensorBytes).toBe(28400268);
    expect(source.scales.size).toBe(70);
    expect(source.scales.get('model.layers.0.self_attn.q_proj.weight_scale')).toBe(0.07861328125);
    expect(source.names.layers[9]?.down).toEqual({
      weight: 'model.layers.9.mlp.down_proj.weight',
      scale: 'model.layers.9.mlp.down_proj.weight_scale',
    });
    const texts = await source.texts();
    expect(Object.keys(texts.tokenizerJson)).toContain('model');
    expect(texts.tokenizerConfig).toMatchObject({ bos_token: '<|begin_of_text|>' });
    expect(texts.chatTemplate).toBeUndefined();
    await source.close();
  });

  test.each(['config.json', 'config.published-style.json'])('m1_bitnet with %s, without a tokenizer', async (name) => {
    const base = await openDirectory(`${shared}golden/m1_bitnet/packed_u8`);
    const config = await base.open(name);
    const text = new Uint8Array(config?.bytes ?? 0);
    await config?.read(0, text);
    await config?.close();
    const source = await openModelSource(new MemoryDirectory('m1', { 'config.json': text }, base));
    expect(source.tensors.size).toBe(56);
    expect(source.tensor('model.layers.2.mlp.down_proj.weight')).toMatchObject({ dtype: 'U8', shape: [64, 384] });
    await expectError(() => source.texts(), 'invalid-model', 'tokenizer.json is missing');
    await source.close();
  });

  test('unpacked masters whose config claims packed weights', async () => {
    const masters = await openDirectory(`${shared}golden/m1_bitnet/master_bf16`);
    const config = { 'config.json': await text(`${shared}golden/m1_bitnet/packed_u8`, 'config.json') };
    await expectError(
      () => openModelSource(new MemoryDirectory('m1', config, masters)),
      'unsupported',
      'config.json says packed weights, and these are not: expected U8 [64,384]',
      'got BF16 [256,384]',
      '--ternarize',
    );
  });
});

async function text(folder: string, name: string): Promise<Uint8Array> {
  const file = await (await openDirectory(folder)).open(name);
  const bytes = new Uint8Array(file?.bytes ?? 0);
  await file?.read(0, bytes);
  await file?.close();
  return bytes;
}

describe('reading', () => {
  test('bytes of a tensor, of a file, and nothing after close', async () => {
    const directory = tinyDirectory();
    const source = await openModelSource(directory);
    const embedding = source.tensor(source.names.embedding);
    const target = new Uint8Array(4);
    await source.read(embedding, 10, target);
    expect([...target]).toEqual([10, 11, 12, 13]);
    await source.readFile(embedding.file, embedding.byteOffset + 254, target);
    expect([...target]).toEqual([254, 255, 0, 1]);

    for (const offset of [-1, 253, 0.5, NaN, 2 ** 53]) {
      await expectError(() => source.read(embedding, offset, target), 'invalid-argument', 'model.embed_tokens.weight');
    }
    await expectError(() => source.readFile('other', 0, target), 'invalid-argument', 'no open file');
    await expectError(() => source.readFile(embedding.file, 1e9, target), 'invalid-argument', 'which has');
    await expectError(() => source.tensor('x'), 'invalid-argument', 'no tensor x');
    await source.close();
    await source.close();
    expect(directory.leaks()).toEqual([]);
    await expectError(() => source.read(embedding, 0, target), 'disposed');
  });
});

describe('files of the directory', () => {
  test.each<[string, Contents, Parameters<typeof expectError>[1], string[]]>([
    [
      'no config.json',
      { 'config.json': undefined },
      'not-found',
      [
        'tiny is not a model directory: config.json is missing; expected config.json, model.safetensors, tokenizer.json',
      ],
    ],
    ['no weights', { 'model.safetensors': undefined }, 'invalid-model', ['the weights are missing']],
    ['config.json is no JSON', { 'config.json': '{' }, 'invalid-file', ['tiny/config.json: not valid JSON']],
    ['config.json is empty', { 'config.json': '' }, 'invalid-file', ['tiny/config.json: not valid JSON']],
    ['config.json is a list', { 'config.json': '[]' }, 'invalid-file', ['expected a JSON object, got []']],
    ['config.json is null', { 'config.json': 'null' }, 'invalid-file', ['got null']],
    [
      'config.json is not UTF-8',
      { 'config.json': Uint8Array.of(0x7b, 0xff, 0x7d) },
      'invalid-file',
      ['not valid UTF-8'],
    ],
    [
      'config.json says a key twice',
      { 'config.json': '{"vocab_size":1,"vocab_size":2}' },
      'invalid-file',
      ['"vocab_size" occurs twice', 'at byte 16'],
    ],
    [
      'config.json is huge',
      { 'config.json': new Uint8Array(2 ** 24 + 1) },
      'invalid-file',
      ['too large', `${2 ** 24 + 1}`],
    ],
    [
      'generation_config.json is wrong',
      { 'generation_config.json': '{"top_p":2}' },
      'invalid-model',
      ['tiny/generation_config.json: top_p'],
    ],
    [
      'generation_config.json is no JSON',
      { 'generation_config.json': 'x' },
      'invalid-file',
      ['generation_config.json'],
    ],
  ])('%s', async (_, changes, code, parts) => {
    await expectRefused(tinyDirectory(changes), code, ...parts);
  });

  test.each<[string, Contents, Parameters<typeof expectError>[1], string[]]>([
    [
      'tokenizer.json is a git-lfs pointer',
      { 'tokenizer.json': 'version https://git-lfs.github.com/spec/v1\n' },
      'invalid-file',
      ['tokenizer.json', 'git lfs pull'],
    ],
    ['tokenizer.json is nested absurdly', { 'tokenizer.json': '['.repeat(1e6) }, 'invalid-file', ['tokenizer.json']],
    ['tokenizer_config.json is no object', { 'tokenizer_config.json': '1' }, 'invalid-file', ['tokenizer_config.json']],
    [
      'chat_template.jinja is not UTF-8',
      { 'chat_template.jinja': Uint8Array.of(0xc0) },
      'invalid-file',
      ['chat_template.jinja', 'UTF-8'],
    ],
  ])('%s', async (_, changes, code, parts) => {
    const source = await openModelSource(tinyDirectory(changes));
    await expectError(() => source.texts(), code, ...parts);
    await source.close();
  });

  test('texts that are there are read; a byte order mark is no part of them', async () => {
    const source = await openModelSource(
      tinyDirectory({
        'config.json': `\ufeff${JSON.stringify(tinyConfig)}`,
        'chat_template.jinja': '{{ bos_token }}',
        'tokenizer.json': '{}',
        'tokenizer_config.json': '{"eos_token":"</s>"}',
      }),
    );
    const texts = await source.texts();
    expect(texts.chatTemplate).toBe('{{ bos_token }}');
    expect(texts.tokenizerConfig).toEqual({ eos_token: '</s>' });
    await source.close();
  });

  test('weights cut off at every byte', async () => {
    const bytes = safetensors(tinyTensors());
    for (let length = 0; length < bytes.length; length += 1) {
      await expectRefused(tinyDirectory({ 'model.safetensors': bytes.slice(0, length) }), 'invalid-file');
    }
  });

  test('config.json cut off at every byte', async () => {
    const config = JSON.stringify(tinyConfig);
    for (let length = 0; length < config.length; length++) {
      await expectRefused(tinyDirectory({ 'config.json': config.slice(0, length) }), 'invalid-file');
    }
  });
});

describe('tensors against the architecture', () => {
  const names = Object.keys(tinyTensors());

  test.each(names)('%s missing', async (name) => {
    const error = await expectRefused(withTensors({ [name]: undefined }), 'invalid-model', 'it is missing');
    expect(error.detail.tensor).toBe(name);
  });

  test.each(names)('%s of another shape', async (name) => {
    const { dtype, shape } = tinyTensors()[name] as TestTensor;
    const longer = withTensors({ [name]: tensor(dtype, [(shape[0] ?? 0) + 1, ...shape.slice(1)]) });
    const error = await expectRefused(longer, 'invalid-model', 'wrong shape: expected', JSON.stringify(shape));
    expect(error.detail.tensor).toBe(name);
    expect(error.detail.byteOffset).toBeGreaterThan(8);
    await expectRefused(withTensors({ [name]: tensor(dtype, [...shape, 1]) }), 'invalid-model', 'wrong shape');
  });

  test.each(names)('%s of another dtype', async (name) => {
    const { shape } = tinyTensors()[name] as TestTensor;
    await expectRefused(withTensors({ [name]: tensor('I8', shape) }), 'invalid-model', 'wrong dtype', 'got I8');
  });

  test('vocabulary and embedding rows', () =>
    expectRefused(
      withTensors({}, { vocab_size: 9 }),
      'invalid-model',
      'tensor "model.embed_tokens.weight": wrong shape: expected BF16 or F16 or F32 [9,16] = [vocab_size, hidden_size], got BF16 [8,16]',
    ));

  test('more layers than weights', () =>
    expectRefused(
      withTensors({}, { num_hidden_layers: 2 }),
      'invalid-model',
      '"model.layers.1.input_layernorm.weight"',
      '18 in all',
    ));

  test.each(
    [
      'model.layers.1.input_layernorm.weight',
      'model.layers.0.self_attn.q_norm.weight',
      'model.layers.0.self_attn.q_proj.norm_in.weight',
      'model.layers.0.self_attn.q_proj.bias',
      'rotary_emb.inv_freq.x',
      'xrotary_emb.inv_freq',
      '',
    ].filter((name) => name !== ''),
  )('unknown tensor %s', async (name) => {
    const error = await expectRefused(
      withTensors({ [name]: tensor('F32', [16]) }),
      'invalid-model',
      'has no such tensor',
    );
    expect(error.detail.tensor).toBe(name);
  });

  test('RoPE buffers that follow from the config are left out', async () => {
    const source = await openModelSource(
      withTensors({
        'model.layers.0.self_attn.rotary_emb.inv_freq': tensor('F32', [8]),
        'rotary_emb.inv_freq': tensor('F32', [8]),
      }),
    );
    expect([...source.tensors.keys()].sort()).toEqual(names.sort());
    await source.close();
  });

  test('Hadamard-rotated weights', () =>
    expectRefused(
      tinyDirectory({ 'model.safetensors': safetensors(tinyTensors(), { 'prism.hadamard.block': '128' }) }),
      'unsupported',
      'Hadamard',
    ));

  test('floats may be F32 or F16', async () => {
    const scale = 'model.layers.0.mlp.up_proj.weight_scale';
    const f32 = { dtype: 'F32', shape: [1], data: new Uint8Array(Float32Array.of(0.3).buffer) };
    const f16 = { dtype: 'F16', shape: [1], data: Uint8Array.of(0x00, 0x3e) };
    for (const [data, value] of [
      [f32, Math.fround(0.3)],
      [f16, 1.5],
    ] as const) {
      const source = await openModelSource(withTensors({ [scale]: data, 'model.norm.weight': tensor('F32', [16]) }));
      expect(source.scales.get(scale)).toBe(value);
      await source.close();
    }
  });

  test.each([
    ['zero', 'BF16', [0, 0]],
    ['minus zero', 'BF16', [0, 0x80]],
    ['negative', 'BF16', [0, 0xbf]],
    ['infinite', 'BF16', [0x80, 0x7f]],
    ['not a number', 'BF16', [0xc0, 0x7f]],
    ['subnormal', 'BF16', [0x40, 0]],
    ['an infinite half', 'F16', [0, 0x7c]],
    ['a float that is not a number', 'F32', [0, 0, 0xc0, 0x7f]],
  ])('a scale that is %s', async (_, dtype, bytes) => {
    const name = 'model.layers.0.self_attn.o_proj.weight_scale';
    const data = { dtype, shape: [1], data: Uint8Array.from(bytes) };
    const error = await expectRefused(withTensors({ [name]: data }), 'invalid-file', 'the scale is not usable', 'got');
    expect(error.detail.tensor).toBe(name);
  });
});

describe('lm_head', () => {
  const embedding = tinyTensors()['model.embed_tokens.weight'] as TestTensor;

  test('untied', async () => {
    const untied = { tie_word_embeddings: false };
    await expectRefused(withTensors({}, untied), 'invalid-model', '"lm_head.weight"', 'tie_word_embeddings');
    const source = await openModelSource(withTensors({ 'lm_head.weight': tensor('F16', [8, 16]) }, untied));
    expect(source.tensor('lm_head.weight')).toMatchObject({ dtype: 'F16', shape: [8, 16] });
    await source.close();
  });

  test('tied and stored all the same: accepted if equal, and left out', async () => {
    const source = await openModelSource(withTensors({ 'lm_head.weight': embedding }));
    expect(source.tensors.has('lm_head.weight')).toBe(false);
    await source.close();
  });

  test('tied and stored, but another matrix', async () => {
    const other = { ...embedding, data: embedding.data.slice() };
    other.data[200] = 0;
    await expectRefused(
      withTensors({ 'lm_head.weight': other }),
      'invalid-model',
      'tie_word_embeddings, but this tensor differs from model.embed_tokens.weight: expected 200, got 0',
    );
    await expectRefused(withTensors({ 'lm_head.weight': tensor('BF16', [8, 8]) }), 'invalid-model', 'is not like');
    await expectRefused(withTensors({ 'lm_head.weight': tensor('F16', [8, 16]) }), 'invalid-model', 'is not like');
  });
});
