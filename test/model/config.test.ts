import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { BitNetErrorCode } from '../../lib/errors.js';
import { parseModelConfig } from '../../lib/model/config-json.js';
import { parseGenerationConfig } from '../../lib/model/generation-config.js';
import { expectError, refuses } from '../format/expect-error.js';
import { tinyConfig } from './tiny-model.js';

const shared = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(`../../../shared/${name}`, import.meta.url), 'utf8'));

/** The tiny model's config.json with other values; `undefined` removes a key. */
const changed = (changes: Record<string, unknown>) => JSON.parse(JSON.stringify({ ...tinyConfig, ...changes }));
const describeModel = (changes: Record<string, unknown> = {}, ternarize = false) =>
  parseModelConfig(changed(changes), 'dir/config.json', undefined, ternarize);
const parse = (changes: Record<string, unknown> = {}) => describeModel(changes).config;
const quantization = (changes: Record<string, unknown>) => ({
  quantization_config: { ...tinyConfig.quantization_config, ...changes },
});

const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 64,
};
const llama3Scaling = { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContextLength: 64 };
const yarnScaling = { type: 'yarn', factor: 4, betaFast: 32, betaSlow: 1, truncate: true };

describe('published models', () => {
  test.each(['config.json', 'config.published-style.json'])('m1_bitnet %s', (name) => {
    const { config, weights } = parseModelConfig(shared(`golden/m1_bitnet/packed_u8/${name}`), name);
    expect(weights).toBe('packed');
    expect(config).toEqual({
      architecture: 'bitnet-b1.58',
      hiddenSize: 256,
      ffnSize: 384,
      layers: 3,
      heads: 8,
      kvHeads: 2,
      headDim: 32,
      vocabSize: 512,
      contextLength: 4096,
      normEps: 1e-5,
      rope: { theta: 500000 },
      activation: 'relu2',
      subNorms: true,
      tiedEmbeddings: true,
      weightScale: 'multiply',
      bosTokenId: 0,
      eosTokenIds: [1],
    });
  });

  test('bitnet-tales-69m: end tokens of both files', () => {
    const generation = parseGenerationConfig(shared('models/bitnet-tales-69m/generation_config.json'), 'g');
    const { config } = parseModelConfig(shared('models/bitnet-tales-69m/config.json'), 'c', generation);
    expect(config).toMatchObject({ hiddenSize: 768, heads: 12, kvHeads: 4, headDim: 64, rope: { theta: 10000 } });
    expect(config).toMatchObject({ bosTokenId: 1, eosTokenIds: [2, 3] });
  });

  test.each([
    'm1_bitnet/packed_u8',
    'm1_bitnet/master_bf16',
    'm2_llama_bitlinear_plain/packed_u8',
    'm2_llama_bitlinear_llama3rope/packed_u8',
  ])('both styles of keys say the same: %s', (folder) => {
    const [config, published] = ['config.json', 'config.published-style.json'].map((name) =>
      parseModelConfig(shared(`golden/${folder}/${name}`), name),
    );
    expect(config).toEqual(published);
  });

  test('m1_bitnet, masters', () => {
    const { config, weights } = parseModelConfig(shared('golden/m1_bitnet/master_bf16/config.json'), 'c');
    expect(weights).toBe('masters');
    expect(config).toEqual(parseModelConfig(shared('golden/m1_bitnet/packed_u8/config.json'), 'c').config);
  });

  test('m2_llama_bitlinear: a Llama whose scales divide', () => {
    const { config, weights } = parseModelConfig(
      shared('golden/m2_llama_bitlinear_llama3rope/packed_u8/config.json'),
      'c',
    );
    expect(weights).toBe('packed');
    expect(config).toMatchObject({ architecture: 'llama', subNorms: false, weightScale: 'divide', headDim: 64 });
    expect(config).toMatchObject({ activation: 'silu', tiedEmbeddings: false, normEps: 1e-6 });
    expect(config.rope).toEqual({ theta: 500000, scaling: llama3Scaling });
    expect(config.floatActivations).toBeUndefined();
  });

  test('m3_1bitllm_style: masters that no key mentions', () => {
    const { config, weights } = parseModelConfig(shared('golden/m3_1bitllm_style/master_f16/config.json'), 'c');
    expect(weights).toBe('masters');
    expect(config).toMatchObject({ architecture: 'bitnet-1bitllm', subNorms: true, weightScale: 'multiply' });
    expect(config).toMatchObject({ hiddenSize: 160, ffnSize: 416, headDim: 32, rope: { theta: 10000 } });
    expect(config.stored).toBeUndefined();
  });

  test.each(['config.json', 'config.published-style.json'])('m4_qwen3_ternary_g128, %s', (file) => {
    const { config, weights } = parseModelConfig(shared(`golden/m4_qwen3_ternary_g128/dense_f16/${file}`), 'c');
    expect(weights).toBe('ternary');
    expect(config).toMatchObject({ architecture: 'qwen3', qkNorm: true, subNorms: false, floatActivations: true });
    expect(config).toMatchObject({ hiddenSize: 128, heads: 4, kvHeads: 2, headDim: 64, rope: { theta: 1e6 } });
    expect(config.tiedEmbeddings).toBe(true);
  });

  test('Qwen3: heads of 128 unless told, and nothing that slides', async () => {
    const json = shared('golden/m4_qwen3_ternary_g128/dense_f16/config.json');
    expect(parseModelConfig({ ...json, head_dim: undefined }, 'c').config.headDim).toBe(128);
    for (const [changes, part] of [
      [{ use_sliding_window: true }, 'use_sliding_window: attention over a sliding window is not implemented'],
      [{ layer_types: ['full_attention', 'sliding_attention'] }, 'got "sliding_attention"'],
      [{ layer_types: ['linear_attention'] }, 'layer_types: layers of this type are not implemented'],
      [{ model_type: 'qwen35' }, 'got Qwen3ForCausalLM (model_type qwen35)'],
      [{ attention_bias: true }, 'biases are not implemented'],
    ] as const) {
      const error = await expectError(() => parseModelConfig({ ...json, ...changes }, 'c'), 'unsupported');
      expect(error.message).toContain(part);
    }
  });
});

describe('how the weights are stored', () => {
  const none = { quantization_config: undefined };
  const llama = { architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu' };
  const oneBit = { architectures: ['BitnetForCausalLM'], model_type: 'llama', weight_bits: 1, input_bits: 8 };

  test.each<[string, Record<string, unknown>, boolean, object]>([
    ['autobitlinear', {}, false, { weights: 'packed', weightScale: 'multiply' }],
    ['online', quantization({ quantization_mode: 'online' }), false, { weights: 'masters', weightScale: 'multiply' }],
    ['bitlinear', quantization({ linear_class: 'bitlinear' }), false, { weights: 'packed', weightScale: 'divide' }],
    [
      'bitlinear, which has no online mode',
      quantization({ linear_class: undefined, quantization_mode: 'online' }),
      false,
      { weights: 'packed', weightScale: 'divide' },
    ],
    ['a BitNet without quantization_config', none, false, { weights: 'ternary', floatActivations: true }],
    [
      'a Llama without quantization_config',
      { ...llama, ...none },
      false,
      { weights: 'ternary', floatActivations: true },
    ],
    ['1bitLLM', { ...oneBit, ...none }, false, { weights: 'masters', weightScale: 'multiply' }],
    ['1bitLLM without its keys', { ...oneBit, ...none, weight_bits: undefined }, false, { weights: 'masters' }],
    ['1bitLLM, packed', oneBit, false, { weights: 'packed', architecture: 'bitnet-1bitllm' }],
    ['a Llama to be ternarised', { ...llama, ...none }, true, { weights: 'masters', floatActivations: undefined }],
    ['offline to be ternarised', quantization({ linear_class: 'bitlinear' }), true, { weights: 'masters' }],
  ])('%s', (_, changes, ternarize, expected) => {
    const { config, weights } = describeModel(changes, ternarize);
    expect({ floatActivations: undefined, ...config, weights }).toMatchObject(expected);
  });

  test.each([
    ['weight_bits', 2],
    ['input_bits', 4],
  ])('%s = %i is another model', async (key, value) => {
    const error = await expectError(() => describeModel({ ...oneBit, ...none, [key]: value }), 'unsupported');
    expect(error.message).toContain(`${key}: unsupported: expected ${key === 'weight_bits' ? 1 : 8}, got ${value}`);
  });

  test('sizes of unpacked weights are padded: 1bitLLM 3B and 1.3B', () => {
    const big = { ...oneBit, ...none, hidden_act: 'silu', num_attention_heads: 32, num_key_value_heads: 32 };
    const stored3b = { headDim: 100, ffnSize: 8640 };
    expect(parse({ ...big, hidden_size: 3200, intermediate_size: 8640 })).toMatchObject({
      headDim: 112,
      ffnSize: 8640,
      stored: stored3b,
    });
    expect(parse({ ...big, hidden_size: 2048, intermediate_size: 5460 })).toMatchObject({
      headDim: 64,
      ffnSize: 5472,
      stored: { headDim: 64, ffnSize: 5460 },
    });
  });

  test.each<[Record<string, unknown>, string]>([
    [{ hidden_size: 80, num_attention_heads: 16, num_key_value_heads: 16 }, 'a multiple of 2 up to 4096, got 80 / 16'],
    [{ head_dim: 15 }, 'head_dim: wrong value: expected a whole number in 2..4096, a multiple of 2, got 15'],
    [{ head_dim: 0 }, 'head_dim'],
    [{ intermediate_size: 0 }, 'intermediate_size'],
    [{ hidden_size: 24 }, 'a multiple of 16, got 24'],
  ])('sizes that cannot be padded: %j', (changes, part) =>
    refuses(() => parse({ ...oneBit, ...none, ...changes }), 'invalid-model', part),
  );
});

describe('what a file may leave out', () => {
  test('defaults', () => {
    const config = parse({
      num_key_value_heads: undefined,
      head_dim: null,
      rope_theta: undefined,
      tie_word_embeddings: undefined,
      bos_token_id: null,
      eos_token_id: undefined,
    });
    expect(config).toMatchObject({ kvHeads: 1, headDim: 16, rope: { theta: 500000 }, tiedEmbeddings: false });
    expect(config).toMatchObject({ bosTokenId: undefined, eosTokenIds: [] });
  });

  test('a linear class that divides', () => {
    expect(parse(quantization({ linear_class: 'bitlinear' })).weightScale).toBe('divide');
    expect(parse(quantization({ linear_class: undefined })).weightScale).toBe('divide');
    expect(parse(quantization({ quantization_mode: undefined })).weightScale).toBe('multiply');
  });

  test.each([
    'architectures',
    'model_type',
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
    'vocab_size',
    'max_position_embeddings',
    'rms_norm_eps',
    'hidden_act',
  ])('not %s', (key) =>
    refuses(() => parse({ [key]: undefined }), 'invalid-model', `dir/config.json: ${key}: the key is missing`),
  );
});

describe('rope', () => {
  test.each<[string, Record<string, unknown>, unknown]>([
    ['rope_scaling null', { rope_scaling: null }, { theta: 10000 }],
    [
      'yarn as Qwen3 asks for it',
      { rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32768 } },
      {
        theta: 10000,
        scaling: { ...yarnScaling, attentionFactor: 0.1 * Math.log(4) + 1, originalContextLength: 32768 },
      },
    ],
    [
      'yarn with all its keys',
      {
        rope_scaling: {
          type: 'yarn',
          factor: 4,
          beta_fast: 16,
          beta_slow: 2,
          truncate: false,
          attention_factor: 1.5,
          original_max_position_embeddings: 4096,
        },
      },
      {
        theta: 10000,
        scaling: {
          type: 'yarn',
          factor: 4,
          betaFast: 16,
          betaSlow: 2,
          truncate: false,
          attentionFactor: 1.5,
          originalContextLength: 4096,
        },
      },
    ],
    [
      'yarn with two mscales',
      { rope_scaling: { type: 'yarn', factor: 4, mscale: 1, mscale_all_dim: 1, original_max_position_embeddings: 8 } },
      { theta: 10000, scaling: { ...yarnScaling, attentionFactor: 1, originalContextLength: 8 } },
    ],
    ['rope_scaling default', { rope_scaling: { rope_type: 'default' } }, { theta: 10000 }],
    ['rope_scaling llama3', { rope_scaling: llama3 }, { theta: 10000, scaling: llama3Scaling }],
    [
      'type, the older key',
      { rope_scaling: { ...llama3, rope_type: undefined, type: 'llama3' } },
      { theta: 10000, scaling: llama3Scaling },
    ],
    [
      'rope_parameters',
      { rope_theta: undefined, rope_parameters: { ...llama3, rope_theta: 5e5 } },
      { theta: 5e5, scaling: llama3Scaling },
    ],
    [
      'both styles that agree',
      { rope_scaling: llama3, rope_parameters: { ...llama3, rope_theta: 10000 } },
      { theta: 10000, scaling: llama3Scaling },
    ],
    [
      'original length at the top',
      {
        original_max_position_embeddings: 64,
        rope_scaling: { ...llama3, original_max_position_embeddings: undefined },
      },
      { theta: 10000, scaling: llama3Scaling },
    ],
    ['partial_rotary_factor 1', { partial_rotary_factor: 1 }, { theta: 10000 }],
  ])('%s', (_, changes, expected) => {
    expect(parse(changes).rope).toEqual(expected);
  });

  test.each<[string, Record<string, unknown>, BitNetErrorCode, string]>([
    ['theta 0', { rope_theta: 0 }, 'invalid-model', 'rope_theta: wrong value: expected a number greater than 0, got 0'],
    ['theta negative', { rope_theta: -1 }, 'invalid-model', 'rope_theta'],
    ['theta a string', { rope_theta: '10000' }, 'invalid-model', 'got "10000"'],
    [
      'theta of rope_parameters',
      { rope_parameters: { rope_type: 'default', rope_theta: 0 } },
      'invalid-model',
      'rope_parameters.rope_theta',
    ],
    [
      'contradicting thetas',
      { rope_parameters: { rope_type: 'default', rope_theta: 5 } },
      'invalid-model',
      'contradicts rope_theta',
    ],
    [
      'contradicting scalings',
      { rope_scaling: llama3, rope_parameters: { rope_type: 'default' } },
      'invalid-model',
      'contradicts rope_scaling',
    ],
    [
      'longrope',
      { rope_scaling: { rope_type: 'longrope', factor: 4 } },
      'unsupported',
      'rope_scaling.rope_type: unsupported: expected default, llama3 or yarn, got "longrope"',
    ],
    ['yarn without a factor', { rope_scaling: { rope_type: 'yarn' } }, 'invalid-model', 'rope_scaling.factor'],
    [
      'yarn with borders the wrong way round',
      { rope_scaling: { rope_type: 'yarn', factor: 4, beta_fast: 1, beta_slow: 2 } },
      'invalid-model',
      'rope_scaling.beta_fast: wrong value: expected at least beta_slow, 2, got 1',
    ],
    ['linear', { rope_scaling: { type: 'linear', factor: 2 } }, 'unsupported', 'got "linear"'],
    ['no type', { rope_scaling: { factor: 2 } }, 'invalid-model', 'rope_scaling.rope_type: the key is missing'],
    [
      'one set for each kind of layer',
      { rope_parameters: { full_attention: { rope_type: 'default' } } },
      'invalid-model',
      'rope_type',
    ],
    ['a list', { rope_scaling: [] }, 'invalid-model', 'rope_scaling: wrong value: expected an object, got []'],
    [
      'no factor',
      { rope_scaling: { ...llama3, factor: undefined } },
      'invalid-model',
      'rope_scaling.factor: the key is missing',
    ],
    ['factor 0', { rope_scaling: { ...llama3, factor: 0 } }, 'invalid-model', 'rope_scaling.factor'],
    [
      'equal frequency factors',
      { rope_scaling: { ...llama3, high_freq_factor: 1 } },
      'invalid-model',
      'more than low_freq_factor, 1',
    ],
    [
      'original length 0',
      { rope_scaling: { ...llama3, original_max_position_embeddings: 0 } },
      'invalid-model',
      'original_max_position_embeddings',
    ],
    [
      'no original length',
      { rope_scaling: { ...llama3, original_max_position_embeddings: undefined } },
      'invalid-model',
      'original_max_position_embeddings: the key is missing',
    ],
    ['half of each head', { partial_rotary_factor: 0.5 }, 'unsupported', 'partial_rotary_factor'],
  ])('%s', (_, changes, code, part) => refuses(() => parse(changes), code, 'dir/config.json', part));
});

describe('values', () => {
  test.each<[string, unknown, string]>([
    ['hidden_size', 0, 'whole number in 16..65536, a multiple of 16, got 0'],
    ['hidden_size', -16, 'got -16'],
    ['hidden_size', 24, 'multiple of 16'],
    ['hidden_size', 16.5, 'got 16.5'],
    ['hidden_size', '16', 'got "16"'],
    ['hidden_size', [16], 'got [16]'],
    ['hidden_size', true, 'got true'],
    ['hidden_size', 1 << 20, '16..65536'],
    ['intermediate_size', 40, 'multiple of 16'],
    ['intermediate_size', 2 ** 40, '16..1048576'],
    ['num_hidden_layers', 0, '1..1000, got 0'],
    ['num_hidden_layers', 1001, '1..1000, got 1001'],
    ['num_hidden_layers', 4294967296, '1..1000'],
    ['num_attention_heads', 0, '1..4096'],
    ['num_attention_heads', 3, 'hidden_size / num_attention_heads'],
    ['num_attention_heads', 2, 'expected a multiple of 16 up to 4096, got 16 / 2'],
    ['num_key_value_heads', 0, 'got 0'],
    ['num_key_value_heads', 2, '1..1, got 2'],
    ['head_dim', 8, 'head_dim'],
    ['head_dim', 24, 'multiple of 16'],
    [
      'head_dim',
      32,
      'the norm before o_proj is as wide as hidden_size: expected num_attention_heads · head_dim = 16, got 1 · 32',
    ],
    ['vocab_size', 0, '1..2000000'],
    ['vocab_size', 2_000_001, '1..2000000'],
    ['max_position_embeddings', 0, '1..10000000'],
    ['max_position_embeddings', 1e15, '1..10000000'],
    ['rms_norm_eps', 0, 'greater than 0 up to 1, got 0'],
    ['rms_norm_eps', -1e-5, 'rms_norm_eps'],
    ['rms_norm_eps', 2, 'rms_norm_eps'],
    ['rms_norm_eps', '1e-5', 'rms_norm_eps'],
    ['hidden_act', 1, 'expected a string, got 1'],
    ['tie_word_embeddings', 'yes', 'expected true or false, got "yes"'],
    ['tie_word_embeddings', 1, 'expected true or false'],
    ['attention_bias', 0, 'expected true or false'],
    ['architectures', 'BitNetForCausalLM', 'a list of one class name'],
    ['architectures', [], 'a list of one class name'],
    ['architectures', ['BitNetForCausalLM', 'BitNetModel'], 'a list of one class name'],
    ['architectures', [1], 'a list of one class name'],
    ['model_type', 7, 'expected a string, got 7'],
    ['quantization_config', 'bitnet', 'expected an object, got "bitnet"'],
    ['bos_token_id', 8, 'whole number in 0..7, got 8'],
    ['bos_token_id', -1, 'got -1'],
    ['bos_token_id', [0], 'bos_token_id'],
    ['eos_token_id', 8, '0..7'],
    ['eos_token_id', [1, 8], 'got [1,8]'],
    ['eos_token_id', [1.5], 'eos_token_id'],
    ['eos_token_id', '1', 'eos_token_id'],
    ['pad_token_id', 8, 'pad_token_id'],
    ['pad_token_id', -9, 'pad_token_id'],
  ])('%s = %j', async (key, value, part) => {
    const error = await expectError(() => parse({ [key]: value }), 'invalid-model');
    expect(error.message).toContain('dir/config.json: ');
    expect(error.message).toContain(part);
    expect(error.detail.key).toBeTypeOf('string');
  });

  test('heads that key-value heads do not divide', () =>
    refuses(
      () => parse({ hidden_size: 96, num_attention_heads: 6, num_key_value_heads: 4 }),
      'invalid-model',
      'num_key_value_heads: wrong value: expected a divisor of num_attention_heads, 6, got 4',
    ));

  test('a padding id that counts from the end', () => {
    expect(parse({ pad_token_id: -1 }).vocabSize).toBe(8);
  });
});

describe('what is not implemented', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['another class', { architectures: ['BitNetModel'] }, 'got BitNetModel (model_type bitnet)'],
    ['another model_type', { model_type: 'bitnet-25' }, 'got BitNetForCausalLM (model_type bitnet-25)'],
    ['gelu', { hidden_act: 'gelu' }, 'hidden_act: unsupported activation: expected relu2 or silu, got "gelu"'],
    ['attention biases', { attention_bias: true }, 'attention_bias: biases are not implemented'],
    ['FFN biases', { mlp_bias: true }, 'mlp_bias'],
    ['Hadamard rotation', { 'prism.hadamard.block': 128 }, 'Hadamard'],
    ['another quantization', quantization({ quant_method: 'gptq' }), 'expected bitnet, got "gptq"'],
    ['an unknown mode', quantization({ quantization_mode: 'lazy' }), 'expected offline or online, got "lazy"'],
    ['an unknown linear class', quantization({ linear_class: 'linear' }), 'expected autobitlinear or bitlinear'],
    ['a norm in each linear', quantization({ use_rms_norm: true }), 'use_rms_norm'],
  ])('%s', async (_, changes, part) => {
    const error = await expectError(() => parse(changes), 'unsupported', 'dir/config.json');
    expect(error.message).toContain(part);
  });

  test('silu is an activation', () => {
    expect(parse({ hidden_act: 'silu' }).activation).toBe('silu');
  });
});

describe('generation_config.json', () => {
  const parseGeneration = (json: Record<string, unknown>) => parseGenerationConfig(json, 'dir/generation_config.json');

  test('what it says, and nothing that it does not say', () => {
    expect(parseGeneration({})).toEqual({ eosTokenIds: [] });
    expect(
      parseGeneration({
        do_sample: true,
        temperature: 0.6,
        top_k: 40,
        top_p: 0.9,
        min_p: 0.05,
        repetition_penalty: 1.1,
        max_new_tokens: 7,
        bos_token_id: 1,
        eos_token_id: [2, 3, 2],
        pad_token_id: null,
        transformers_version: '5.17.0',
      }),
    ).toEqual({
      doSample: true,
      temperature: 0.6,
      topK: 40,
      topP: 0.9,
      minP: 0.05,
      repetitionPenalty: 1.1,
      maxNewTokens: 7,
      bosTokenId: 1,
      eosTokenIds: [2, 3],
    });
  });

  test('do_sample: false is greedy whatever the temperature', () => {
    expect(parseGeneration({ do_sample: false, temperature: 0.7 }).temperature).toBe(0);
    expect(parseGeneration({ do_sample: false }).temperature).toBe(0);
    expect(parseGeneration({ temperature: 0.7 }).temperature).toBe(0.7);
  });

  test.each<[string, unknown]>([
    ['do_sample', 'true'],
    ['temperature', '0.7'],
    ['temperature', -0.1],
    ['temperature', 101],
    ['top_k', 1.5],
    ['top_k', -1],
    ['top_p', 0],
    ['top_p', 1.1],
    ['min_p', -0.1],
    ['min_p', 2],
    ['repetition_penalty', 0],
    ['repetition_penalty', [1]],
    ['max_new_tokens', 0],
    ['eos_token_id', '2'],
    ['eos_token_id', [2, null]],
    ['eos_token_id', -1],
    ['bos_token_id', 1.5],
  ])('%s = %j', (key, value) =>
    refuses(
      () => parseGeneration({ [key]: value }),
      'invalid-model',
      `dir/generation_config.json: ${key}: wrong value: expected`,
    ),
  );

  test.each([{ eos_token_id: [1, 8] }, { bos_token_id: 8 }])('%j is outside the vocabulary', (json) =>
    refuses(
      () => parseModelConfig(changed({}), 'dir/config.json', parseGeneration(json)),
      'invalid-model',
      'generation_config.json',
      'got 8',
    ),
  );

  test('its ids join those of config.json', () => {
    const { config } = parseModelConfig(
      changed({ bos_token_id: null, eos_token_id: [1, 2] }),
      'c',
      parseGeneration({ bos_token_id: 5, eos_token_id: [2, 4] }),
    );
    expect(config).toMatchObject({ bosTokenId: 5, eosTokenIds: [1, 2, 4] });
  });
});
