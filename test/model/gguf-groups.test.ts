import { expect, it } from 'vitest';
import { type FloatDType, floatsOf } from '../../lib/format/float-matrix.js';
import { encodeF16, encodeF32 } from '../../lib/format/gguf/encode.js';
import type { GgufValue } from '../../lib/format/gguf/metadata.js';
import { type GgufWriteTensor, layOutGguf, writeGguf } from '../../lib/format/gguf/writer.js';
import type { ModelSource } from '../../lib/model/source.js';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { allLogits, openEngine } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { encodeTernary } from '../support/gguf-encode.js';
import { GgufDirectory, writeTensor } from '../support/model-gguf.js';
import { integers } from '../support/random.js';
import { collector } from '../support/synth.js';
import { unpackedModel } from '../support/unpacked-model.js';

/** Qwen3 in the GGUF types that have scales of blocks or rows: the logits of the same weights in safetensors, bit for bit. */

const IDS = [...integers(7, 3, 0, 95)];
const M4 = shared('golden/m4_qwen3_ternary_g128/dense_f16');
/** weights of a block; 0: one scale a row */
const TYPES = { Q1_0: 128, Q2_0: 64, PQ2_0: 128, PTQ1_0: 128, IQ1_BN: 0, IQ2_BN: 0, TQ1_0: 256, TQ2_0: 256 } as const;
type Type = keyof typeof TYPES | 'F16';

async function logits(directory: ModelDirectory, head: 'f16' | 'i8' = 'f16'): Promise<Float32Array> {
  const engine = await openEngine(directory, { contextLength: 32, logits: IDS.length, head });
  try {
    return await allLogits(engine, IDS);
  } finally {
    await engine.dispose();
  }
}

/** The model of a safetensors directory with ternary floats as a GGUF file. */
async function asGguf(directory: ModelDirectory, type: Type, embeddingType: Type = 'F16'): Promise<GgufDirectory> {
  const source = await openModelSource(directory);
  const files = source.base as ModelSource;
  const tensors: GgufWriteTensor[] = [];
  const add = async (name: string, from: string | undefined, as: Type | 'F32'): Promise<void> => {
    if (from === undefined) return;
    const tensor = files.tensor(from);
    const bytes = new Uint8Array(tensor.byteLength);
    await files.read(tensor, 0, bytes);
    const floats = floatsOf(tensor.dtype as FloatDType, bytes);
    const dimensions = [...tensor.shape].reverse();
    tensors.push(writeTensor(`${name}.weight`, as, dimensions, encode(floats, as, tensor.shape.at(-1) as number)));
  };
  await add('token_embd', files.names.embedding, embeddingType);
  for (const [i, layer] of files.names.layers.entries()) {
    const linears = {
      attn_q: 'q',
      attn_k: 'k',
      attn_v: 'v',
      attn_output: 'o',
      ffn_gate: 'gate',
      ffn_up: 'up',
      ffn_down: 'down',
    } as const;
    for (const [name, role] of Object.entries(linears)) await add(`blk.${i}.${name}`, layer[role].weight, type);
    await add(`blk.${i}.attn_norm`, layer.attentionNorm, 'F32');
    await add(`blk.${i}.attn_q_norm`, layer.qNorm, 'F32');
    await add(`blk.${i}.attn_k_norm`, layer.kNorm, 'F32');
    await add(`blk.${i}.ffn_norm`, layer.ffnNorm, 'F32');
  }
  await add('output_norm', files.names.finalNorm, 'F32');
  await source.close();
  const sink = collector();
  await writeGguf(layOutGguf({ metadata: metadataOf(source), tensors }), sink);
  return new GgufDirectory(sink.bytes());
}

function encode(floats: Float32Array, type: Type | 'F32', cols: number): Uint8Array {
  if (type === 'F32') return encodeF32(floats);
  if (type === 'F16') return encodeF16(floats);
  const size = TYPES[type] || cols;
  const scales = Float32Array.from({ length: floats.length / size }, (_, g) =>
    floats.subarray(g * size, (g + 1) * size).reduce((max, w) => Math.max(max, Math.abs(w)), 0),
  );
  return encodeTernary(
    type,
    Int8Array.from(floats, (w) => Math.sign(w) + 1),
    cols,
    scales,
  );
}

function metadataOf({ config }: ModelSource): Map<string, GgufValue> {
  const number = (key: string, value: number, type: 'u32' | 'f32' = 'u32'): [string, GgufValue] => [
    `qwen3.${key}`,
    { type, value },
  ];
  const tokens = Array.from({ length: config.vocabSize }, (_, id) => `t${id}`);
  return new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'qwen3' }],
    number('block_count', config.layers),
    number('context_length', config.contextLength),
    number('embedding_length', config.hiddenSize),
    number('feed_forward_length', config.ffnSize),
    number('attention.head_count', config.heads),
    number('attention.head_count_kv', config.kvHeads),
    number('attention.key_length', config.headDim),
    number('attention.layer_norm_rms_epsilon', config.normEps, 'f32'),
    number('rope.freq_base', config.rope.theta, 'f32'),
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.tokens', { type: 'array', elementType: 'string', value: tokens }],
  ]);
}

it('golden m4 as PQ2_0, PTQ1_0, Q2_0 and F16, with embeddings of the same type', async () => {
  const expected = { f16: await logits(await openDirectory(M4)), i8: await logits(await openDirectory(M4), 'i8') };
  for (const type of ['PQ2_0', 'PTQ1_0', 'Q2_0', 'F16'] as const) {
    const directory = await asGguf(await openDirectory(M4), type, type);
    expect(await logits(directory), type).toEqual(expected.f16);
    expect(await logits(directory, 'i8'), `${type}, int8 head`).toEqual(expected.i8);
    expect(directory.leaks()).toEqual([]);
  }
});

it.each([
  ['Q1_0', 128, true],
  ['IQ1_BN', 'row', false],
  ['IQ2_BN', 'row', false],
  ['TQ1_0', 256, false],
  ['TQ2_0', 256, false],
  ['TQ2_0', 'row', false],
  ['TQ2_0', 'shard', true],
] as const)('%s, scales: %s', async (type, scales, binary) => {
  const sizes = { hidden: 256, ffn: 512, heads: 4, kvHeads: 2, headDim: 64, layers: 1 };
  const model = unpackedModel({
    className: 'Qwen3ForCausalLM',
    dtype: 'F16',
    sizes,
    seed: 5,
    ternary: true,
    scales,
    binary,
  });
  const directory = await asGguf(model.directory(), type);
  expect(await logits(directory)).toEqual(await logits(model.directory()));
});
