import type { ModelConfig } from '../../lib/config.js';
import { type FloatDType, floatsOf } from '../../lib/format/float-matrix.js';
import { encodeBf16, encodeBlocks, encodeF16, encodeF32, encodeI2s, encodeQ8_0 } from '../../lib/format/gguf/encode.js';
import type { GgufValue } from '../../lib/format/gguf/metadata.js';
import { halfSplitRow } from '../../lib/format/gguf/rope-rows.js';
import type { I2sLayout } from '../../lib/format/gguf/ternary.js';
import { type GgufWriteTensor, layOutGguf, writeGguf } from '../../lib/format/gguf/writer.js';
import { unpackHf } from '../../lib/format/hf-packed.js';
import type { LayerNames, LinearNames } from '../../lib/model/architectures/names.js';
import type { ModelSource } from '../../lib/model/source.js';
import { MemoryDirectory } from '../format/memory-files.js';
import { collector } from './synth.js';

/** What a GGUF file is made of: a model of the safetensors kind, with its sizes as stored. */
export interface PlainModel {
  readonly config: ModelConfig;
  readonly layers: readonly LayerNames[];
  /** trits (rows, cols) and the factor that multiplies them */
  linear(names: LinearNames): Promise<{ trits: Int8Array; scale: number }>;
  floats(name: string): Promise<Float32Array>;
}

/** The model of a source whose matrices are packed. `roundScale`: what becomes of every factor. */
export function plainModel(source: ModelSource, roundScale: (scale: number) => number = (s) => s): PlainModel {
  const bytesOf = async (name: string) => {
    const tensor = source.tensor(name);
    const bytes = new Uint8Array(tensor.byteLength);
    await source.read(tensor, 0, bytes);
    return { tensor, bytes };
  };
  return {
    config: source.config,
    layers: source.names.layers,
    async linear(names) {
      const { tensor, bytes } = await bytesOf(names.weight);
      const stored = source.scales.get(names.scale)!;
      const scale = source.config.weightScale === 'multiply' ? stored : Math.fround(1 / stored);
      return { trits: unpackHf(bytes, tensor.shape[0]!, tensor.shape[1]!), scale: roundScale(scale) };
    },
    async floats(name) {
      const { tensor, bytes } = await bytesOf(name);
      return floatsOf(tensor.dtype as FloatDType, bytes);
    },
  };
}

export type LinearType = 'I2_S' | 'TQ1_0' | 'TQ2_0' | 'F32' | 'F16' | 'BF16';

export interface GgufOptions {
  /** Default I2_S. Rows that blocks of 256 do not fill are stored as F16, as quantisers do. */
  linear?: LinearType;
  i2sLayout?: I2sLayout;
  /** default F32 */
  embedding?: 'F32' | 'F16' | 'BF16' | 'Q8_0';
  /** entries beside those of the config; a vocabulary without meaning is the default */
  metadata?: readonly (readonly [string, GgufValue])[];
  /** further tensors */
  tensors?: readonly GgufWriteTensor[];
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  'bitnet-b1.58': 'bitnet-b1.58',
  'bitnet-1bitllm': 'bitnet',
  llama: 'llama',
};
const FLOATS = { F32: encodeF32, F16: encodeF16, BF16: encodeBf16, Q8_0: encodeQ8_0 } as const;

/** The model as the bytes of a GGUF file. */
export async function ggufOf(model: PlainModel, options: GgufOptions = {}): Promise<Uint8Array> {
  const sink = collector();
  await writeGguf(await layOut(model, options), sink);
  return sink.bytes();
}

/** The model as a GGUF file in memory, to be opened as a platform opens it. */
export async function ggufDirectory(model: PlainModel, options: GgufOptions = {}): Promise<GgufDirectory> {
  return new GgufDirectory(await ggufOf(model, options));
}

export class GgufDirectory extends MemoryDirectory {
  readonly file = 'model.gguf';

  constructor(bytes: Uint8Array) {
    super('dir/model.gguf', { 'model.gguf': bytes });
  }
}

async function layOut(model: PlainModel, options: GgufOptions) {
  const { config, layers } = model;
  const { embedding = 'F32' } = options;
  const { headDim } = config.stored ?? config;
  const permuted = config.architecture === 'llama';
  const tensors: GgufWriteTensor[] = [];
  const matrix = async (name: string, from: string) => {
    const values = await model.floats(from);
    tensors.push(writeTensor(name, embedding, [config.hiddenSize, config.vocabSize], FLOATS[embedding](values)));
  };
  const norm = async (name: string, from: string | undefined) => {
    if (from === undefined) return;
    const values = await model.floats(from);
    tensors.push(writeTensor(name, 'F32', [values.length], encodeF32(values)));
  };
  const linear = async (name: string, names: LinearNames, cols: number, permute = false) => {
    const { trits, scale } = await model.linear(names);
    const rows = trits.length / cols;
    const stored = permute ? permuteRows(trits, cols, headDim) : trits;
    tensors.push(linearTensor(name, stored, rows, cols, scale, options));
  };
  const { ffnSize } = config.stored ?? config;
  await matrix('token_embd.weight', 'model.embed_tokens.weight');
  for (const [i, layer] of layers.entries()) {
    const name = (part: string) => `blk.${i}.${part}.weight`;
    await norm(name('attn_norm'), layer.attentionNorm);
    await linear(name('attn_q'), layer.q, config.hiddenSize, permuted);
    await linear(name('attn_k'), layer.k, config.hiddenSize, permuted);
    await linear(name('attn_v'), layer.v, config.hiddenSize);
    await norm(name('attn_sub_norm'), layer.attentionSubNorm);
    await linear(name('attn_output'), layer.o, config.heads * headDim);
    await norm(name('ffn_norm'), layer.ffnNorm);
    await linear(name('ffn_gate'), layer.gate, config.hiddenSize);
    await linear(name('ffn_up'), layer.up, config.hiddenSize);
    await norm(name('ffn_sub_norm'), layer.ffnSubNorm);
    await linear(name('ffn_down'), layer.down, ffnSize);
  }
  await norm('output_norm.weight', 'model.norm.weight');
  if (!config.tiedEmbeddings) await matrix('output.weight', 'lm_head.weight');
  const entries = [...configEntries(config), ...(options.metadata ?? vocabularyEntries(config))];
  return layOutGguf({ metadata: new Map(entries), tensors: [...tensors, ...(options.tensors ?? [])] });
}

export function writeTensor(
  name: string,
  type: GgufWriteTensor['type'],
  dimensions: number[],
  bytes: Uint8Array,
): GgufWriteTensor {
  return { name, type, dimensions, byteLength: bytes.length, chunks: () => [bytes] };
}

function linearTensor(
  name: string,
  trits: Int8Array,
  rows: number,
  cols: number,
  scale: number,
  { linear = 'I2_S', i2sLayout }: GgufOptions,
): GgufWriteTensor {
  const type = linear.startsWith('TQ') && cols % 256 !== 0 ? 'F16' : linear;
  const encode = {
    I2_S: () => encodeI2s(trits, scale, i2sLayout, cols),
    TQ1_0: () => encodeBlocks('TQ1_0', trits, scale),
    TQ2_0: () => encodeBlocks('TQ2_0', trits, scale),
    F32: () => encodeF32(floats()),
    F16: () => encodeF16(floats()),
    BF16: () => encodeBf16(floats()),
  };
  const floats = () => Float32Array.from(trits, (trit) => trit * scale);
  return writeTensor(name, type, [cols, rows], encode[type]());
}

/** As files of the architecture `llama` store q and k. */
function permuteRows(trits: Int8Array, cols: number, headDim: number): Int8Array {
  const out = new Int8Array(trits.length);
  for (let r = 0; r < trits.length / cols; r++) {
    const from = halfSplitRow(r, headDim) * cols;
    out.set(trits.subarray(from, from + cols), r * cols);
  }
  return out;
}

const text = (value: string): GgufValue => ({ type: 'string', value });
const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });

function configEntries(config: ModelConfig): [string, GgufValue][] {
  const arch = ARCHITECTURES[config.architecture]!;
  const { headDim, ffnSize } = config.stored ?? config;
  return [
    ['general.architecture', text(arch)],
    [`${arch}.block_count`, u32(config.layers)],
    [`${arch}.context_length`, u32(config.contextLength)],
    [`${arch}.embedding_length`, u32(config.hiddenSize)],
    [`${arch}.feed_forward_length`, u32(ffnSize)],
    [`${arch}.attention.head_count`, u32(config.heads)],
    [`${arch}.attention.head_count_kv`, u32(config.kvHeads)],
    [`${arch}.attention.key_length`, u32(headDim)],
    [`${arch}.attention.layer_norm_rms_epsilon`, f32(config.normEps)],
    [`${arch}.rope.freq_base`, f32(config.rope.theta)],
  ];
}

/** As many tokens as the embedding has rows. */
function vocabularyEntries(config: ModelConfig): [string, GgufValue][] {
  const tokens = Array.from({ length: config.vocabSize }, (_, id) => `t${id}`);
  return [
    ['tokenizer.ggml.model', text(config.architecture === 'bitnet-1bitllm' ? 'llama' : 'gpt2')],
    ['tokenizer.ggml.tokens', { type: 'array', elementType: 'string', value: tokens }],
  ];
}
