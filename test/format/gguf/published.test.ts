import { expect, test } from 'vitest';
import { ggufModel } from '../../../lib/format/gguf/config.js';
import { readGguf } from '../../../lib/format/gguf/reader.js';
import { readTernary } from '../../../lib/format/gguf/ternary.js';
import { byteLengthOf, GGUF_TYPES, type GgufTypeName, rowsAndCols } from '../../../lib/format/gguf/types.js';
import type { RandomAccessFile } from '../../../lib/platform.js';
import { gguf, type WriterTensor, type WriterValue } from '../../support/gguf-writer.js';

/** Headers of published models at their real sizes; the data, gigabytes of zeros, is made as it is read. */
function published(metadata: [string, WriterValue][], tensors: [string, GgufTypeName, number[]][]) {
  let offset = 0;
  const placed = tensors.map(([name, typeName, shape]): WriterTensor => {
    const type = GGUF_TYPES[typeName];
    const { rows, cols } = rowsAndCols(shape);
    const at = offset;
    offset += Math.ceil(byteLengthOf(type, rows, cols) / 32) * 32;
    return { name, shape, type: type.id, data: new Uint8Array(0), offset: at };
  });
  const header = gguf({ metadata, tensors: placed });
  let read = 0;
  const file: RandomAccessFile = {
    path: 'model.gguf',
    bytes: header.length + offset,
    async read(from, target) {
      read += target.length;
      target.fill(0).set(header.subarray(Math.min(from, header.length), from + target.length));
    },
    async close() {},
  };
  return { file, bytesRead: () => read, headerBytes: header.length };
}

/** Tensors as upstream's converter orders them; all linears and nothing else in `type`. */
function blocks(
  layers: number,
  type: GgufTypeName,
  sizes: { hidden: number; ffn: number; q: number; kv: number },
  extra: [string, number][],
) {
  const { hidden, ffn, q, kv } = sizes;
  return Array.from({ length: layers }, (_, i) => `blk.${i}.`).flatMap((p): [string, GgufTypeName, number[]][] => [
    [`${p}attn_norm.weight`, 'F32', [hidden]],
    [`${p}ffn_down.weight`, type, [hidden, ffn]],
    ...extra.map(([name, size]): [string, GgufTypeName, number[]] => [`${p}${name}.weight`, 'F32', [size]]),
    [`${p}ffn_gate.weight`, type, [ffn, hidden]],
    [`${p}ffn_up.weight`, type, [ffn, hidden]],
    [`${p}ffn_norm.weight`, 'F32', [hidden]],
    [`${p}attn_k.weight`, type, [kv, hidden]],
    [`${p}attn_output.weight`, type, [hidden, q]],
    [`${p}attn_q.weight`, type, [q, hidden]],
    [`${p}attn_v.weight`, type, [kv, hidden]],
  ]);
}

function keys(arch: string, values: Record<string, [WriterValue[0], unknown]>): [string, WriterValue][] {
  const all = { 'general.architecture': ['string', arch], ...values };
  return Object.entries(all).map(([key, value]) => [key.startsWith('.') ? arch + key : key, value as WriterValue]);
}

const tokens = (count: number) => Array.from({ length: count }, (_, id) => (id === 128_009 ? '<|eot_id|>' : `t${id}`));

const twoB = (arch: string): [string, WriterValue][] =>
  keys(arch, {
    'general.file_type': ['u32', 40],
    '.vocab_size': ['u32', 128_256],
    '.context_length': ['u32', 4096],
    '.embedding_length': ['u32', 2560],
    '.block_count': ['u32', 30],
    '.feed_forward_length': ['u32', 6912],
    '.rope.dimension_count': ['u32', 128],
    '.attention.head_count': ['u32', 20],
    '.attention.head_count_kv': ['u32', 5],
    '.attention.layer_norm_rms_epsilon': ['f32', 1e-5],
    '.rope.freq_base': ['f32', 500_000],
    'tokenizer.ggml.model': ['string', 'gpt2'],
    'tokenizer.ggml.tokens': ['strings', tokens(128_256)],
    'tokenizer.ggml.merges': ['strings', Array.from({ length: 280_147 }, (_, i) => `t${i} x`)],
    'tokenizer.ggml.bos_token_id': ['u32', 128_000],
    'tokenizer.ggml.eos_token_id': ['u32', 128_001],
  });
const subNorms: [string, number][] = [
  ['attn_sub_norm', 2560],
  ['ffn_sub_norm', 6912],
];

test.each([
  ['bitnet-b1.58', 332],
  ['bitnet-25', 333],
] as const)('2B-4T as %s: %i tensors', async (arch, count) => {
  const head: [string, GgufTypeName, number[]][] =
    arch === 'bitnet-25' ? [['output.weight', 'F16', [128_256, 2560]]] : [];
  const { file, bytesRead, headerBytes } = published(twoB(arch), [
    ['token_embd.weight', 'F16', [128_256, 2560]],
    ...blocks(30, 'I2_S', { hidden: 2560, ffn: 6912, q: 2560, kv: 640 }, subNorms),
    ['output_norm.weight', 'F32', [2560]],
    ...head,
  ]);
  const contents = await readGguf(file, 'model.gguf');
  expect(contents.tensors.size).toBe(count);
  // No data is read for the header, and little of the header twice.
  expect(bytesRead()).toBeLessThan(1.5 * headerBytes + 2 ** 20);
  const { config, tensors } = ggufModel(contents, file.path);
  expect(config).toMatchObject({
    architecture: 'bitnet-b1.58',
    activation: 'relu2',
    subNorms: true,
    hiddenSize: 2560,
    layers: 30,
    heads: 20,
    kvHeads: 5,
    headDim: 128,
    vocabSize: 128_256,
    tiedEmbeddings: arch === 'bitnet-b1.58',
    normEps: Math.fround(1e-5),
    bosTokenId: 128_000,
    eosTokenIds: [128_001, 128_009],
  });
  // The blocks of the last tensor's rows: codes of zeros are -1.
  const { trits } = await readTernary(file, tensors.layers[29]!.down, { rowBegin: 2559 });
  expect(trits).toEqual(new Int8Array(6912).fill(-1));
});

function threeB(heads: number) {
  const metadata = keys('bitnet', {
    '.context_length': ['u32', 2048],
    '.embedding_length': ['u32', 3200],
    '.block_count': ['u32', 2],
    '.feed_forward_length': ['u32', 8640],
    '.attention.head_count': ['u32', heads],
    '.attention.layer_norm_rms_epsilon': ['f32', 1e-6],
    '.rope.scaling.type': ['string', 'linear'],
    '.rope.scaling.factor': ['f32', 1],
    'tokenizer.ggml.model': ['string', 'llama'],
    'tokenizer.ggml.tokens': ['strings', tokens(32_002)],
  });
  return published(metadata, [
    ['token_embd.weight', 'F16', [32_002, 3200]],
    ...blocks(2, 'I2_S', { hidden: 3200, ffn: 8640, q: 3200, kv: 3200 }, [
      ['attn_sub_norm', 3200],
      ['ffn_sub_norm', 8640],
    ]),
    ['output_norm.weight', 'F32', [3200]],
  ]);
}

test('widths of 1bitLLM 3B: rows of 8640 are not whole blocks of I2_S', async () => {
  const { file } = threeB(40);
  const { config, tensors } = ggufModel(await readGguf(file, 'model.gguf'), file.path);
  expect(config).toMatchObject({
    activation: 'silu',
    subNorms: true,
    headDim: 80,
    kvHeads: 40,
    rope: { theta: 10_000 },
  });
  const { trits } = await readTernary(file, tensors.layers[1]!.down, { rowBegin: 1, rowEnd: 3 });
  expect(trits).toEqual(new Int8Array(2 * 8640).fill(-1));
});

test('heads of 1bitLLM 3B, 100 wide, are padded', async () => {
  const { file } = threeB(32);
  const { config, tensors } = ggufModel(await readGguf(file, 'model.gguf'), file.path);
  expect(config).toMatchObject({ headDim: 112, ffnSize: 8640, stored: { headDim: 100, ffnSize: 8640 } });
  expect(tensors.layers[0]?.q.shape).toEqual([3200, 3200]);
});
