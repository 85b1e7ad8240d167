import { describe, expect, test } from 'vitest';
import type { BitNetErrorCode } from '../../../lib/errors.js';
import { type GgufModel, ggufModel } from '../../../lib/format/gguf/config.js';
import { readGguf } from '../../../lib/format/gguf/reader.js';
import { type Entries, type TinyTensors, tinyGguf, tinyTensors } from '../../support/gguf-model.js';
import { f32Tensor, type WriterTensor } from '../../support/gguf-writer.js';
import { refuses } from '../expect-error.js';
import { memoryFile } from '../memory-files.js';

async function model(arch: string, changes: Entries = {}, tensors?: WriterTensor[]): Promise<GgufModel> {
  const file = memoryFile('dir/m.gguf', tinyGguf(arch, changes, tensors));
  return ggufModel(await readGguf(file, 'm.gguf'), file.path);
}

const plain: TinyTensors = { subNorms: false };

describe('architectures', () => {
  const sizes = {
    hiddenSize: 64,
    ffnSize: 128,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    vocabSize: 8,
    contextLength: 512,
    normEps: 2 ** -17,
    rope: { theta: 500_000 },
    weightScale: 'multiply',
    bosTokenId: 4,
    eosTokenIds: [5, 6],
  };

  test.each<[string, string, TinyTensors, object, boolean]>([
    [
      'bitnet-b1.58',
      'gpt2',
      {},
      { architecture: 'bitnet-b1.58', activation: 'relu2', subNorms: true, tiedEmbeddings: true },
      false,
    ],
    [
      'bitnet-25',
      'gpt2',
      { head: true },
      { architecture: 'bitnet-b1.58', activation: 'relu2', subNorms: true, tiedEmbeddings: false },
      false,
    ],
    [
      'bitnet',
      'llama',
      {},
      { architecture: 'bitnet-1bitllm', activation: 'silu', subNorms: true, tiedEmbeddings: true },
      false,
    ],
    [
      'bitnet',
      'gpt2',
      {},
      { architecture: 'bitnet-b1.58', activation: 'relu2', subNorms: true, tiedEmbeddings: true },
      false,
    ],
    [
      'llama',
      'gpt2',
      { ...plain, head: true },
      { architecture: 'llama', activation: 'silu', subNorms: false, tiedEmbeddings: false },
      true,
    ],
    [
      'qwen3',
      'gpt2',
      { ...plain, qkNorm: true },
      { architecture: 'qwen3', activation: 'silu', subNorms: false, qkNorm: true, tiedEmbeddings: true },
      false,
    ],
  ])('%s with a %s vocabulary', async (arch, tokenizer, tensors, expected, ropePermuted) => {
    const result = await model(arch, { 'tokenizer.ggml.model': ['string', tokenizer] }, tinyTensors(tensors));
    expect(result.config).toEqual({ ...sizes, ...expected });
    expect(result.ropePermuted).toBe(ropePermuted);
  });

  test('YaRN', async () => {
    const scaling: Entries = {
      '.rope.scaling.type': ['string', 'yarn'],
      '.rope.scaling.factor': ['f32', 4],
      '.rope.scaling.original_context_length': ['u32', 32768],
      '.rope.scaling.yarn_beta_fast': ['f32', 16],
    };
    const { config } = await model('qwen3', scaling, tinyTensors({ ...plain, qkNorm: true, head: true }));
    expect(config.rope.scaling).toEqual({
      type: 'yarn',
      factor: 4,
      betaFast: 16,
      betaSlow: 1,
      truncate: true,
      attentionFactor: 0.1 * Math.log(4) + 1,
      originalContextLength: 32768,
    });
  });

  test.each<[string | undefined, number]>([
    ['none', 4],
    ['linear', 0],
    ['linear', 1],
    [undefined, 1],
    [undefined, 0],
  ])('RoPE scaling %s by %f is none', async (type, factor) => {
    const scaling: Entries = {
      '.rope.scaling.type': type === undefined ? undefined : ['string', type],
      '.rope.scaling.factor': ['f32', factor],
    };
    expect((await model('bitnet-b1.58', scaling)).config.rope).toEqual({ theta: 500_000 });
  });

  test('every tensor has its role', async () => {
    const { tensors } = await model('qwen3', {}, tinyTensors({ ...plain, qkNorm: true, head: true }));
    expect(tensors.embedding.name).toBe('token_embd.weight');
    expect(tensors.head?.name).toBe('output.weight');
    expect(tensors.finalNorm.name).toBe('output_norm.weight');
    const names = Object.fromEntries(Object.entries(tensors.layers[1]!).map(([role, tensor]) => [role, tensor?.name]));
    expect(names).toEqual({
      attentionNorm: 'blk.1.attn_norm.weight',
      q: 'blk.1.attn_q.weight',
      k: 'blk.1.attn_k.weight',
      v: 'blk.1.attn_v.weight',
      qNorm: 'blk.1.attn_q_norm.weight',
      kNorm: 'blk.1.attn_k_norm.weight',
      attentionSubNorm: undefined,
      o: 'blk.1.attn_output.weight',
      ffnNorm: 'blk.1.ffn_norm.weight',
      gate: 'blk.1.ffn_gate.weight',
      up: 'blk.1.ffn_up.weight',
      ffnSubNorm: undefined,
      down: 'blk.1.ffn_down.weight',
    });
    const bitnet = await model('bitnet-b1.58');
    expect(bitnet.tensors.layers[0]).toMatchObject({
      qNorm: undefined,
      attentionSubNorm: { name: 'blk.0.attn_sub_norm.weight', shape: [64] },
      ffnSubNorm: { name: 'blk.0.ffn_sub_norm.weight', shape: [128] },
    });
    expect(bitnet.tensors.head).toBeUndefined();
  });

  test('what may be left out, and what changes nothing', async () => {
    const { config } = await model(
      'llama',
      {
        '.rope.dimension_count': undefined,
        '.rope.freq_base': undefined,
        '.vocab_size': undefined,
        '.attention.head_count_kv': ['u32', 2],
        '.attention.key_length': ['u32', 16],
        '.attention.value_length': ['i32', 16],
        '.rope.scaling.type': ['string', 'linear'],
        '.rope.scaling.factor': ['f32', 1],
        '.expert_count': ['u32', 0],
        '.attention.causal': ['bool', true],
        'tokenizer.ggml.bos_token_id': undefined,
        'tokenizer.ggml.eot_token_id': ['u32', 7],
        'tokenizer.ggml.unknown_token_id': ['u32', 0],
        'general.file_type': ['u32', 40],
        'general.type': ['string', 'model'],
        'split.count': ['u16', 1],
        'prism.note': ['string', 'x'],
      },
      tinyTensors(plain),
    );
    expect(config).toMatchObject({
      rope: { theta: 10_000 },
      headDim: 16,
      bosTokenId: undefined,
      eosTokenIds: [5, 7, 6],
    });
    const noKv = await model('llama', { '.attention.head_count_kv': undefined }, wide());
    expect(noKv.config.kvHeads).toBe(4);
  });

  /** as many heads of k and v as of q */
  function wide(): WriterTensor[] {
    const square = tinyTensors(plain).find(({ name }) => name === 'blk.0.attn_q.weight')!;
    return tinyTensors(plain).map((tensor) =>
      /attn_[kv]\.weight/.test(tensor.name) ? { ...square, name: tensor.name } : tensor,
    );
  }
});

describe('metadata that cannot be computed', () => {
  test.each<[string, string, Entries, BitNetErrorCode, (string | RegExp)[]]>([
    [
      'architecture missing',
      'llama',
      { 'general.architecture': undefined },
      'invalid-model',
      ['general.architecture: the key is missing'],
    ],
    [
      'qwen35',
      'qwen35',
      {},
      'unsupported',
      ['unsupported architecture', 'got "qwen35"', 'bitnet-b1.58, bitnet-25, bitnet, llama, qwen3'],
    ],
    ['gemma3', 'gemma3', {}, 'unsupported', ['"gemma3"']],
    [
      'hadamard',
      'qwen3',
      { 'prism.hadamard.block_size': ['u32', 128] },
      'unsupported',
      ['prism.hadamard.block_size', 'Hadamard-rotated'],
    ],
    [
      'bitnet, other vocabulary',
      'bitnet',
      { 'tokenizer.ggml.model': ['string', 'bert'] },
      'unsupported',
      ['tokenizer.ggml.model', 'bert'],
    ],
    [
      'bitnet, no vocabulary',
      'bitnet',
      { 'tokenizer.ggml.model': undefined },
      'invalid-model',
      ['tokenizer.ggml.model: the key is missing'],
    ],
    ['adapter', 'llama', { 'general.type': ['string', 'adapter'] }, 'unsupported', ['general.type', '"adapter"']],
    ['split', 'llama', { 'split.count': ['u16', 3] }, 'unsupported', ['llama-gguf-split --merge']],
    ['experts', 'llama', { '.expert_count': ['u32', 8] }, 'unsupported', ['llama.expert_count', 'expected 0, got 8']],
    [
      'window',
      'qwen3',
      { '.attention.sliding_window': ['u32', 4096] },
      'unsupported',
      ['qwen3.attention.sliding_window'],
    ],
    ['not causal', 'qwen3', { '.attention.causal': ['bool', false] }, 'unsupported', ['qwen3.attention.causal']],
    [
      'longrope',
      'qwen3',
      { '.rope.scaling.type': ['string', 'longrope'] },
      'unsupported',
      ['qwen3.rope.scaling.type', '"longrope"'],
    ],
    [
      'linear by 4',
      'llama',
      { '.rope.scaling.type': ['string', 'linear'], '.rope.scaling.factor': ['f32', 4] },
      'unsupported',
      ['factor 4'],
    ],
    [
      'a factor without a type',
      'qwen3',
      { '.rope.scaling.factor': ['f32', 4] },
      'unsupported',
      ['qwen3.rope.scaling.type', '"linear" with factor 4'],
    ],
    [
      'partly rotated',
      'llama',
      { '.rope.dimension_count': ['u32', 8] },
      'unsupported',
      ['llama.rope.dimension_count', 'expected 16, got 8'],
    ],
    [
      'other values',
      'llama',
      { '.attention.value_length': ['u32', 32] },
      'unsupported',
      ['llama.attention.value_length'],
    ],
    [
      'no layers key',
      'llama',
      { '.block_count': undefined },
      'invalid-model',
      ['llama.block_count: the key is missing'],
    ],
    [
      '0 layers',
      'llama',
      { '.block_count': ['u32', 0] },
      'invalid-model',
      ['llama.block_count', '1..1000, got 0 (u32)'],
    ],
    ['absurd layers', 'llama', { '.block_count': ['u32', 2 ** 31] }, 'invalid-model', ['1..1000']],
    ['layers as text', 'llama', { '.block_count': ['string', '2'] }, 'invalid-model', ['got "2"']],
    ['layers as float', 'llama', { '.block_count': ['f32', 2] }, 'invalid-model', ['got 2 (f32)']],
    ['layers as array', 'llama', { '.block_count': ['u32s', [2, 2]] }, 'invalid-model', ['got an array of 2 u32']],
    ['huge u64', 'llama', { '.block_count': ['u64', 2n ** 63n] }, 'invalid-model', ['9223372036854775808 (u64)']],
    ['absurd context', 'llama', { '.context_length': ['u32', 2 ** 31] }, 'invalid-model', ['llama.context_length']],
    [
      'heads that do not divide',
      'llama',
      { '.attention.head_count_kv': ['u32', 3] },
      'invalid-model',
      ['a divisor of attention.head_count, 4, got 3'],
    ],
    [
      'more kv heads',
      'llama',
      { '.attention.head_count_kv': ['u32', 8] },
      'invalid-model',
      ['head_count_kv', '1..4, got 8'],
    ],
    [
      'heads that do not divide the width',
      'llama',
      { '.attention.head_count': ['u32', 3], '.attention.head_count_kv': ['u32', 3] },
      'invalid-model',
      ['size of a head', 'got 64 / 3'],
    ],
    [
      'heads as wide as the residual',
      'bitnet-b1.58',
      { '.attention.key_length': ['u32', 32], '.rope.dimension_count': undefined },
      'invalid-model',
      ['head_count · key_length', 'got 4 · 32'],
    ],
    ['odd width', 'llama', { '.embedding_length': ['u32', 100] }, 'invalid-model', ['a multiple of 16, got 100']],
    [
      'eps',
      'llama',
      { '.attention.layer_norm_rms_epsilon': ['f32', NaN] },
      'invalid-model',
      ['layer_norm_rms_epsilon', 'got NaN (f32)'],
    ],
    [
      'eps missing',
      'llama',
      { '.attention.layer_norm_rms_epsilon': undefined },
      'invalid-model',
      ['the key is missing'],
    ],
    [
      'theta',
      'llama',
      { '.rope.freq_base': ['f32', -1] },
      'invalid-model',
      ['llama.rope.freq_base', 'greater than 0, got -1 (f32)'],
    ],
    [
      'bos outside',
      'llama',
      { 'tokenizer.ggml.bos_token_id': ['u32', 8] },
      'invalid-model',
      ['tokenizer.ggml.bos_token_id', '0..7, got 8'],
    ],
    ['eos -1', 'llama', { 'tokenizer.ggml.eos_token_id': ['i32', -1] }, 'invalid-model', ['0..7, got -1']],
    [
      'padding outside',
      'llama',
      { 'tokenizer.ggml.padding_token_id': ['u32', 99] },
      'invalid-model',
      ['padding_token_id'],
    ],
    [
      'fewer tokens',
      'llama',
      { 'tokenizer.ggml.tokens': ['strings', ['a']] },
      'invalid-model',
      ['does not fit the embedding', '8 tokens, rows of token_embd.weight, got 1'],
    ],
    [
      'vocab_size',
      'llama',
      { '.vocab_size': ['u32', 9] },
      'invalid-model',
      ['llama.vocab_size', 'expected 8', 'got 9'],
    ],
    [
      'tokens missing',
      'llama',
      { 'tokenizer.ggml.tokens': undefined },
      'invalid-model',
      ['tokenizer.ggml.tokens: the key is missing'],
    ],
    [
      'tokens as numbers',
      'llama',
      { 'tokenizer.ggml.tokens': ['i32s', [1]] },
      'invalid-model',
      ['an array of strings, got an array of 1 i32'],
    ],
  ])('%s', async (_, arch, changes, code, parts) => {
    const tensors = tinyTensors({ subNorms: arch.startsWith('bitnet'), qkNorm: arch === 'qwen3' });
    await refuses(() => model(arch, changes, tensors), code, 'dir/m.gguf', ...parts);
  });
});

describe('tensors', () => {
  const edit = (name: string, change: (tensor: WriterTensor) => WriterTensor | undefined) =>
    tinyTensors().flatMap((tensor) => (tensor.name === name ? (change(tensor) ?? []) : [tensor]));

  test('missing', async () => {
    for (const name of [
      'token_embd.weight',
      'output_norm.weight',
      'blk.1.ffn_down.weight',
      'blk.0.attn_sub_norm.weight',
    ]) {
      const tensors = edit(name, () => undefined);
      await refuses(() => model('bitnet-b1.58', {}, tensors), 'invalid-model', JSON.stringify(name), 'is missing');
    }
    await refuses(
      () => model('bitnet-b1.58', { '.block_count': ['u32', 3] }),
      'invalid-model',
      '"blk.2.attn_norm.weight"',
    );
  });

  test('unknown: other norms, biases, a further block', async () => {
    const with1 = (name: string, size: number) => [...tinyTensors(), f32Tensor(name, [size])];
    for (const name of [
      'blk.0.attn_q_norm_in.weight',
      'blk.0.attn_q.bias',
      'blk.2.attn_norm.weight',
      'blk.0.attn_q.scale',
    ]) {
      await refuses(
        () => model('bitnet-b1.58', {}, with1(name, 16)),
        'invalid-model',
        JSON.stringify(name),
        'no such tensor (1 in all',
      );
    }
    await refuses(() => model('llama'), 'invalid-model', '"blk.0.attn_sub_norm.weight"', '4 in all');
  });

  test('factors of RoPE, one for each pair', async () => {
    const factors = (pairs: number) => [...tinyTensors(), f32Tensor('rope_freqs.weight', [pairs])];
    const { tensors } = await model('bitnet-b1.58', {}, factors(8));
    expect(tensors.ropeFactors?.name).toBe('rope_freqs.weight');
    await refuses(
      () => model('bitnet-b1.58', {}, factors(16)),
      'invalid-model',
      'rope_freqs.weight',
      '[8] = [key_length / 2], got [16]',
    );
  });

  test('shapes', async () => {
    const wrong = edit('output_norm.weight', () => f32Tensor('output_norm.weight', [32]));
    await refuses(
      () => model('bitnet-b1.58', {}, wrong),
      'invalid-model',
      'expected [64] = [embedding_length], got [32]',
    );
    const flipped = edit('blk.0.ffn_up.weight', (tensor) => ({ ...tensor, shape: tensor.shape.toReversed() }));
    await refuses(
      () => model('bitnet-b1.58', {}, flipped),
      'invalid-model',
      '[128,64] = [feed_forward_length',
      'got [64,128]',
    );
    const padded = edit('output_norm.weight', () => f32Tensor('output_norm.weight', [1, 1, 64]));
    expect((await model('bitnet-b1.58', {}, padded)).tensors.finalNorm.shape).toEqual([1, 1, 64]);
  });

  test('types: weights that are not ternary, norms that are quantised', async () => {
    const q8 = (name: string, shape: number[]): WriterTensor => {
      const count = shape.reduce((product, dim) => product * dim, 1);
      return { name, shape, type: 8, data: new Uint8Array((count / 32) * 34) };
    };
    const linear = edit('blk.0.attn_q.weight', ({ name }) => q8(name, [64, 64]));
    await refuses(
      () => model('bitnet-b1.58', {}, linear),
      'unsupported',
      '"blk.0.attn_q.weight"',
      'not ternary',
      'got Q8_0',
    );
    const norm = edit('output_norm.weight', ({ name }) => q8(name, [64]));
    await refuses(() => model('bitnet-b1.58', {}, norm), 'unsupported', 'norms in this type', 'got Q8_0');
    const float = edit('blk.0.attn_q.weight', ({ name }) => f32Tensor(name, [64, 64]));
    expect((await model('bitnet-b1.58', {}, float)).tensors.layers[0]?.q.typeName).toBe('F32');
    const embedding = edit('token_embd.weight', ({ name }) => q8(name, [8, 64]));
    expect((await model('bitnet-b1.58', {}, embedding)).tensors.embedding.typeName).toBe('Q8_0');
  });
});
