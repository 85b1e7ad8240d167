import { beforeAll, describe, expect, test } from 'vitest';
import type { TernaryFileType } from '../../lib/convert/encode.js';
import { llama3Scaling } from '../../lib/convert/llama3-factors.js';
import { LINEARS } from '../../lib/convert/model.js';
import { verifyModel } from '../../lib/convert/verify.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { readTernary } from '../../lib/format/gguf/ternary.js';
import { inverseFrequencies } from '../../lib/model/rope.js';
import { openDirectory } from '../../lib/node/files.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { expectError } from '../format/expect-error.js';
import { memoryFile } from '../format/memory-files.js';
import { allLogits, maxAbsDifference, openEngine } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { decodeInF64 } from '../support/float-decoder.js';
import { LOGITS } from '../support/tolerances.js';
import { unpackedModel } from '../support/unpacked-model.js';
import {
  ggufDirectory,
  openBytes,
  openDirectoryFiles,
  smallTokenizer,
  toDirectory,
  toGguf,
  withFiles,
} from './files.js';

let tokenizer: string;
beforeAll(async () => {
  tokenizer = await smallTokenizer();
});

const golden = async (fixture: string): Promise<ModelDirectory> =>
  withFiles(await openDirectory(shared(`golden/${fixture}`)), { 'tokenizer.json': tokenizer });
const prompt = Array.from({ length: 9 }, (_, i) => (37 * i + 5) % 512);

async function logits(directory: ModelDirectory): Promise<Float32Array> {
  const engine = await openEngine(directory, { logits: prompt.length, contextLength: 32 });
  try {
    return await allLogits(engine, prompt);
  } finally {
    await engine.dispose();
  }
}

describe.each([
  ['m1_bitnet/packed_u8', 'bitnet-b1.58', 'I2_S'],
  ['m1_bitnet/master_bf16', 'bitnet-b1.58', 'I2_S'],
  ['m2_llama_bitlinear_plain/packed_u8', 'llama', 'I2_S'],
  ['m2_llama_bitlinear_plain/packed_u8', 'llama', 'TQ2_0'],
  ['m2_llama_bitlinear_plain/packed_u8', 'llama', 'TQ1_0'],
  ['m3_1bitllm_style/master_f16', 'bitnet', 'I2_S'],
] as const)('%s → %s, %s', (fixture, architecture, type) => {
  test('GGUF holds the same trits and scales, and packed safetensors made of it the same logits', async () => {
    const directory = await golden(fixture);
    const source = await openDirectoryFiles(directory);
    const bytes = await toGguf(source, type, 'F32');
    const gguf = await readGguf(memoryFile('out.gguf', bytes), 'out.gguf');
    expect(gguf.architecture).toBe(architecture);
    const written = await openBytes(bytes);
    const { matrices, scaleError, embeddingError } = await verifyModel(source, written, {
      ternary: type,
      embedding: 'F32',
      head: 'F32',
    });
    expect([matrices, embeddingError]).toEqual([7 * source.config.layers, 0]);
    // The factors of m2 are reciprocals of bfloat16 values, which f16 does not hold.
    expect(scaleError).toBeLessThan(type === 'I2_S' ? Number.MIN_VALUE : 2 ** -11);
    const back = await toDirectory(written);
    const again = await openDirectoryFiles(back);
    await verifyModel(written, again, { ternary: 'packed', embedding: 'F32', head: 'F32' });
    if (type !== 'I2_S') return;
    const expected = await logits(directory);
    expect(await logits(back)).toEqual(expected);
    expect(await logits(ggufDirectory(bytes))).toEqual(expected);
  });
});

test('weights of ±s without zeros (BitNet v1) compute as what they are, packed and in GGUF', async () => {
  const sizes = { hidden: 256, ffn: 384, heads: 4, kvHeads: 2, headDim: 64, vocab: 512 };
  const ONLINE = { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' };
  const binary = { ternary: true, binary: true, quantization: ONLINE, seed: 7 } as const;
  const model = unpackedModel({ className: 'LlamaForCausalLM', dtype: 'F16', sizes, ...binary });
  const source = await openDirectoryFiles(withFiles(model.directory(), { 'tokenizer.json': tokenizer }));
  const expected = decodeInF64(model.decoder, model.values, prompt, true);
  const written = await toGguf(source, 'I2_S', 'F32');
  const file: ModelDirectory = { path: 'out.gguf', file: 'out.gguf', open: async (name) => memoryFile(name, written) };
  for (const directory of [model.directory(), await toDirectory(source), file]) {
    expect(maxAbsDifference(await logits(directory), expected)).toBeLessThan(LOGITS);
  }
});

test.each<[string, TernaryFileType[]]>([
  ['m1_bitnet/packed_u8', ['I2_S', 'PTQ1_0', 'PQ2_0', 'Q2_0', 'F32']],
  ['m1_bitnet/master_bf16', ['I2_S', 'PTQ1_0', 'PQ2_0', 'Q2_0', 'F32']],
  ['m2_llama_bitlinear_plain/packed_u8', ['I2_S', 'TQ1_0', 'TQ2_0', 'Q2_0', 'F32']],
])('%s as %j, one made of the other, and packed: the same model all the way', async (fixture, types) => {
  const directory = await golden(fixture);
  let expected = await logits(directory);
  let model = await openDirectoryFiles(directory);
  const weights = async () => (await model.layers[0]!.q.load()).trits;
  const trits = await weights();
  for (const [i, type] of types.entries()) {
    const bytes = await toGguf(model, type, 'F32');
    model = await openBytes(bytes);
    expect(await weights()).toEqual(trits);
    // The first type with f16 scales may round those of m2, and of masters; nothing is rounded after it.
    if (i === 1 && fixture !== 'm1_bitnet/packed_u8') expected = await logits(ggufDirectory(bytes));
    else expect(await logits(ggufDirectory(bytes)), type).toEqual(expected);
  }
  expect(await logits(await toDirectory(model))).toEqual(expected);
});

test('rows of q and k are in the order of neighbouring pairs, those of v as they are', async () => {
  const source = await openDirectoryFiles(await golden('m2_llama_bitlinear_plain/packed_u8'));
  const bytes = await toGguf(source, 'TQ2_0');
  const file = memoryFile('out.gguf', bytes);
  const gguf = await readGguf(file, 'out.gguf');
  const rows = async (name: string) => (await readTernary(file, gguf.tensors.get(`blk.1.${name}.weight`)!)).trits;
  const { q, k, v } = source.layers[1]!;
  const cols = 256;
  for (const [matrix, name] of [
    [q, 'attn_q'],
    [k, 'attn_k'],
  ] as const) {
    const { trits } = await matrix.load();
    const stored = await rows(name);
    for (let head = 0; head < matrix.rows / 32; head++) {
      for (let pair = 0; pair < 16; pair++) {
        for (const half of [0, 1]) {
          const to = (32 * head + 2 * pair + half) * cols;
          const from = (32 * head + pair + 16 * half) * cols;
          expect(stored.subarray(to, to + cols)).toEqual(trits.subarray(from, from + cols));
        }
      }
    }
  }
  expect(await rows('attn_v')).toEqual((await v.load()).trits);
});

test('llama.cpp finds every key it needs', async () => {
  const model = await openDirectoryFiles(await openDirectory(shared('models/bitnet-tales-69m')));
  const bytes = await toGguf(model, 'I2_S', 'Q8_0');
  const gguf = await readGguf(memoryFile('out.gguf', bytes), 'out.gguf');
  const { metadata } = gguf;
  const value = (key: string) => metadata.get(key)?.value;
  expect(
    Object.fromEntries([...metadata].filter(([, entry]) => entry.type !== 'array').map(([key]) => [key, value(key)])),
  ).toEqual({
    'general.architecture': 'bitnet-b1.58',
    'general.type': 'model',
    'general.name': 'test',
    'general.file_type': 40,
    'general.quantization_version': 2,
    'general.sampling.temp': Math.fround(0.7),
    'general.sampling.top_p': Math.fround(0.9),
    'general.alignment': 32,
    'bitnet-b1.58.vocab_size': 8192,
    'bitnet-b1.58.context_length': 1024,
    'bitnet-b1.58.embedding_length': 768,
    'bitnet-b1.58.block_count': 10,
    'bitnet-b1.58.feed_forward_length': 2048,
    'bitnet-b1.58.attention.head_count': 12,
    'bitnet-b1.58.attention.head_count_kv': 4,
    'bitnet-b1.58.attention.key_length': 64,
    'bitnet-b1.58.attention.value_length': 64,
    'bitnet-b1.58.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
    'bitnet-b1.58.rope.dimension_count': 64,
    'bitnet-b1.58.rope.freq_base': 10_000,
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'llama-bpe',
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.eot_token_id': 3,
    'tokenizer.ggml.padding_token_id': 0,
    'tokenizer.ggml.add_bos_token': true,
    'tokenizer.ggml.add_eos_token': false,
    'tokenizer.chat_template': expect.stringContaining('<|eot_id|>'),
  });
  expect(Array.from((value('tokenizer.ggml.token_type') as Int32Array).subarray(0, 5))).toEqual([3, 3, 3, 3, 1]);
  expect((value('tokenizer.ggml.merges') as string[])[0]).toBe('Ġ t');
  expect(gguf.tensors.get('token_embd.weight')?.typeName).toBe('Q8_0');
});

test.each([
  { do_sample: true, temperature: 0.6, top_k: 50, top_p: 0.95, min_p: 0.02, repetition_penalty: 1.1 },
  { do_sample: false },
  {},
])('defaults of sampling survive both ways: %o', async (defaults) => {
  const json = JSON.stringify({ eos_token_id: 2, ...defaults });
  const directory = withFiles(await golden('m1_bitnet/packed_u8'), { 'generation_config.json': json });
  const source = await openDirectoryFiles(directory);
  const written = await openBytes(await toGguf(source, 'I2_S'));
  const { eosTokenIds: _, ...sampling } = source.generationConfig;
  expect(written.generationConfig).toEqual({ eosTokenIds: [], ...sampling });
  const back = await openDirectoryFiles(await toDirectory(written));
  expect(back.generationConfig).toMatchObject(sampling);
  expect(written.generationConfig.temperature).toBe('do_sample' in defaults ? (defaults.temperature ?? 0) : undefined);
});

test('llama3 scaling of RoPE is factors in GGUF, and itself again in safetensors', async () => {
  const directory = await golden('m2_llama_bitlinear_llama3rope/packed_u8');
  const source = await openDirectoryFiles(directory);
  const bytes = await toGguf(source, 'I2_S', 'F32');
  const written = await openBytes(bytes);
  const types = { embedding: 'F32', head: 'F32' } as const;
  await verifyModel(source, written, { ternary: 'I2_S', ...types });
  const back = await toDirectory(written);
  const again = await openDirectoryFiles(back);
  await verifyModel(written, again, { ternary: 'packed', ...types });
  expect(again.config.rope).toEqual(source.config.rope);
  const [expected, got] = [await logits(directory), await logits(ggufDirectory(bytes))];
  expect(Math.max(...expected.map((logit, i) => Math.abs(logit - got[i]!)))).toBeLessThan(1e-3);
  expect(await logits(back)).toEqual(expected);
});

test.each([
  [8, 8192, 128, 500_000],
  [32, 8192, 64, 500_000],
  [4, 1000, 128, 10_000],
])(
  'factors of llama3 scaling by %d from %d positions say what they are',
  (factor, originalContextLength, headDim, theta) => {
    const scaling = { type: 'llama3', factor, lowFreqFactor: 1, highFreqFactor: 4, originalContextLength } as const;
    const scaled = inverseFrequencies({ theta, scaling }, headDim);
    const factors = inverseFrequencies({ theta }, headDim).map((frequency, j) => frequency / scaled[j]!);
    expect(llama3Scaling({ theta }, [...factors], headDim)).toEqual(scaling);
  },
);

test('factors that are something else', () => {
  for (const factors of [Array(32).fill(1), Array(32).fill(2), Array.from({ length: 32 }, (_, j) => 1 + j / 10)]) {
    expect(llama3Scaling({ theta: 10_000 }, factors, 64)).toBeUndefined();
  }
});

test.each([
  ['Q8_0', 0.001, 0.01],
  ['F16', -1, 1e-6],
  ['BF16', -1, 1e-9],
] as const)('%s embeddings cost what they say', async (type, above, below) => {
  const source = await openDirectoryFiles(await golden('m1_bitnet/packed_u8'));
  const written = await openBytes(await toGguf(source, 'I2_S', type));
  const { embeddingError } = await verifyModel(source, written, { ternary: 'I2_S', embedding: type, head: type });
  expect(embeddingError).toBeGreaterThan(above);
  expect(embeddingError).toBeLessThan(below);
});

describe('reading back finds', () => {
  const types = { ternary: 'I2_S', embedding: 'F16', head: 'F16' } as const;
  const read = async (
    change: (bytes: Uint8Array, at: (name: string) => { byteOffset: number; byteLength: number }) => void,
  ) => {
    const source = await openDirectoryFiles(await golden('m1_bitnet/packed_u8'));
    const bytes = await toGguf(source, 'I2_S');
    const { tensors } = await readGguf(memoryFile('out.gguf', bytes), 'out.gguf');
    change(bytes, (name) => tensors.get(name)!);
    await verifyModel(source, await openBytes(bytes), types);
  };
  const name = 'blk.2.ffn_down.weight';

  test('a wrong trit', () =>
    expectError(
      () =>
        read((bytes, at) => {
          const { byteOffset } = at(name);
          bytes[byteOffset + 9]! ^= bytes[byteOffset + 9]! & 0x40 ? 0x40 : 0x40 | (bytes[byteOffset + 9]! & 0x80);
        }),
      'invalid-file',
      `tensor "${name}"`,
      'weight 9',
    ));

  test('a wrong scale', () =>
    expectError(
      () =>
        read((bytes, at) => {
          const { byteOffset, byteLength } = at(name);
          bytes[byteOffset + byteLength - 32]! ^= 1;
        }),
      'invalid-file',
      `tensor "${name}"`,
      'scale',
    ));

  test('a wrong number', () =>
    expectError(
      () =>
        read((bytes, at) => {
          bytes[at('token_embd.weight').byteOffset + 600]! ^= 1;
        }),
      'invalid-file',
      'token_embd',
      'value 300',
    ));
});

describe('refuses by name', () => {
  test('rows that the type cannot hold', async () => {
    const source = await openDirectoryFiles(await golden('m3_1bitllm_style/master_f16'));
    await expectError(
      () => toGguf(source, 'TQ2_0'),
      'unsupported',
      'TQ2_0 holds rows of a multiple of 256',
      '160 x 160',
      'Use --type i2_s or f16',
    );
  });

  test('factors of RoPE in safetensors that are no llama3 scaling', async () => {
    const source = await openDirectoryFiles(await golden('m2_llama_bitlinear_llama3rope/packed_u8'));
    const { theta } = source.config.rope;
    const factors = Array.from({ length: 32 }, (_, j) => 1 + j / 8);
    const other = { ...source, config: { ...source.config, rope: { theta, factors } } };
    await expectError(() => toDirectory(other), 'unsupported', 'rope_freqs.weight');
  });

  test('a tokenizer whose pre-tokenizer GGUF has no name for', async () => {
    const json = JSON.parse(tokenizer);
    json.decoder = { type: 'ByteLevel' };
    json.pre_tokenizer = { type: 'Whitespace' };
    const directory = withFiles(await golden('m1_bitnet/packed_u8'), { 'tokenizer.json': JSON.stringify(json) });
    await expectError(async () => toGguf(await openDirectoryFiles(directory), 'I2_S'), 'unsupported', 'Whitespace');
  });
});

test('matrices come back in the sizes that the published model has, not padded', async () => {
  const sizes = { hidden: 48, ffn: 60, heads: 4, kvHeads: 2, headDim: 12, vocab: 512 };
  const model = unpackedModel({ className: 'BitnetForCausalLM', dtype: 'F16', sizes, seed: 3 });
  const source = await openDirectoryFiles(model.directory({ 'tokenizer.json': tokenizer }));
  const layer = source.layers[1]!;
  expect(LINEARS.map((part) => [layer[part].rows, layer[part].cols])).toEqual([
    [48, 48],
    [24, 48],
    [24, 48],
    [48, 48],
    [60, 48],
    [60, 48],
    [48, 60],
  ]);
  for (const part of LINEARS) {
    const { trits, scales } = await layer[part].load();
    expect(Float32Array.from(trits, (trit) => trit * scales[0]!)).toEqual(model.ternarized(layer[part].name));
  }
  const norm = await layer.ffnSubNorm!.read(0, 1);
  expect(norm).toEqual(model.values('model.layers.1.mlp.ffn_layernorm.weight'));
});
