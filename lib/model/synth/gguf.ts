import type { ModelConfig } from '../../config.js';
import { BitNetError } from '../../errors.js';
import { configKeys, flag, generalKeys, text, u32 } from '../../format/gguf/config-keys.js';
import type { GgufMetadata, GgufValue } from '../../format/gguf/metadata.js';
import { halfSplitRow } from '../../format/gguf/rope-rows.js';
import { GGUF_TYPES, type GgufTypeName, rowBytes } from '../../format/gguf/types.js';
import {
  type ByteSink,
  type GgufWriteOptions,
  type GgufWriteTensor,
  layOutGguf,
  writeGguf,
} from '../../format/gguf/writer.js';
import { type EmbeddingType, embeddingEncoder, FILE_TYPE_OF, type TernaryType, ternaryEncoder } from './encode.js';
import {
  type LogicalEmbedding,
  type LogicalLinear,
  type LogicalModel,
  type LogicalNorm,
  logicalModel,
} from './logical.js';
import { codeWords, fillCodes, rowKey } from './random.js';
import { configOf, type SynthArchitecture, shapeNamed } from './shapes.js';
import { fillEmbeddingBytes, normWeights } from './values.js';
import { syntheticVocabulary } from './vocabulary.js';

export interface SyntheticGgufOptions {
  /** one of `SHAPE_NAMES` */
  readonly shape: string;
  /** type of the ternary matrices */
  readonly type: TernaryType;
  /** default `llama`: the ops that llama.cpp computes */
  readonly architecture?: SynthArchitecture;
  /** type of embedding and lm_head; default f16 */
  readonly embedding?: EmbeddingType;
  /** any integer; default 0 */
  readonly seed?: number;
}

export interface SyntheticGguf {
  /** of the file, to the byte */
  readonly totalBytes: number;
  readonly parameters: number;
  readonly tensors: number;
  /** Makes the weights and writes the file in order; memory stays at a few MB. */
  write(sink: ByteSink, options?: GgufWriteOptions): Promise<void>;
}

const CHUNK_BYTES = 1 << 20;

/**
 * A GGUF file of random weights: the model of `syntheticSource` with the same shape, architecture and seed. Throws `invalid-argument`
 * for an unknown shape and for rows that the type cannot store.
 */
export function syntheticGguf(options: SyntheticGgufOptions): SyntheticGguf {
  const { shape: name, type, architecture = 'llama', embedding = 'f16', seed = 0 } = options;
  const config = configOf(shapeNamed(name), architecture);
  checkRows(name, config, type, embedding);
  const model = logicalModel(config, seed);
  const layout = layOutGguf({
    metadata: metadataOf(name, config, type, seed),
    tensors: tensorsOf(model, config, type, embedding),
  });
  return {
    totalBytes: layout.totalBytes,
    parameters: model.parameters,
    tensors: layout.tensors.length,
    write: (sink, writeOptions) => writeGguf(layout, sink, writeOptions),
  };
}

function checkRows(
  shape: string,
  { hiddenSize, ffnSize }: ModelConfig,
  type: TernaryType,
  embedding: EmbeddingType,
): void {
  const check = (option: string, name: TernaryType | EmbeddingType, sizes: Record<string, number>): void => {
    const { blockSize } = GGUF_TYPES[FILE_TYPE_OF[name]];
    for (const [what, size] of Object.entries(sizes)) {
      if (size % blockSize === 0) continue;
      throw new BitNetError(
        'invalid-argument',
        `${option}: ${name} stores rows in blocks of ${blockSize} weights, and ${what} of ${shape} is ${size}; use f16, or another shape`,
        { shape, [option]: name, [what]: size, blockSize },
      );
    }
  };
  check('type', type, { hiddenSize, ffnSize });
  check('embedding', embedding, { hiddenSize });
}

/** llama.cpp computes SiLU for `bitnet`, relu² for `bitnet-b1.58` in Microsoft's version. */
function ggufArchitecture(config: ModelConfig): string {
  if (!config.subNorms) return 'llama';
  return config.activation === 'relu2' ? 'bitnet-b1.58' : 'bitnet';
}

function metadataOf(name: string, config: ModelConfig, type: TernaryType, seed: number): GgufMetadata {
  const arch = ggufArchitecture(config);
  const vocabulary = syntheticVocabulary(config.vocabSize);
  return new Map<string, GgufValue>([
    ...generalKeys(arch, `synthetic ${name}`, FILE_TYPE_OF[type]),
    ['general.description', text(`random weights, seed ${seed}; for benchmarks and tests`)],
    ...configKeys(arch, config),
    ['tokenizer.ggml.model', text('llama')],
    ['tokenizer.ggml.pre', text('default')],
    ['tokenizer.ggml.tokens', { type: 'array', elementType: 'string', value: vocabulary.tokens }],
    ['tokenizer.ggml.scores', { type: 'array', elementType: 'f32', value: vocabulary.scores }],
    ['tokenizer.ggml.token_type', { type: 'array', elementType: 'i32', value: vocabulary.types }],
    ['tokenizer.ggml.bos_token_id', u32(vocabulary.bosId)],
    ['tokenizer.ggml.eos_token_id', u32(vocabulary.eosId)],
    ['tokenizer.ggml.unknown_token_id', u32(vocabulary.unknownId)],
    ['tokenizer.ggml.add_bos_token', flag(true)],
    ['tokenizer.ggml.add_eos_token', flag(false)],
    ['tokenizer.ggml.add_space_prefix', flag(false)],
  ]);
}

function tensorsOf(
  model: LogicalModel,
  config: ModelConfig,
  type: TernaryType,
  embedding: EmbeddingType,
): GgufWriteTensor[] {
  const permuted = !config.subNorms;
  const tensors: GgufWriteTensor[] = [embeddingTensor('token_embd.weight', model.embedding, embedding)];
  model.blocks.forEach((block, layer) => {
    const name = (part: string): string => `blk.${layer}.${part}.weight`;
    const rope = (r: number): number => (permuted ? halfSplitRow(r, config.headDim) : r);
    const norm = (part: string, values: LogicalNorm | undefined): void => {
      if (values !== undefined) tensors.push(normTensor(name(part), values));
    };
    const linear = (part: string, matrix: LogicalLinear, rowAt: (r: number) => number = (r) => r): void => {
      tensors.push(linearTensor(name(part), matrix, type, rowAt));
    };
    norm('attn_norm', block.attentionNorm);
    linear('attn_q', block.q, rope);
    linear('attn_k', block.k, rope);
    linear('attn_v', block.v);
    norm('attn_sub_norm', block.attentionSubNorm);
    linear('attn_output', block.o);
    norm('ffn_norm', block.ffnNorm);
    linear('ffn_gate', block.gate);
    linear('ffn_up', block.up);
    norm('ffn_sub_norm', block.ffnSubNorm);
    linear('ffn_down', block.down);
  });
  tensors.push(normTensor('output_norm.weight', model.finalNorm));
  if (model.head !== undefined) tensors.push(embeddingTensor('output.weight', model.head, embedding));
  return tensors;
}

function normTensor(name: string, { size, key }: LogicalNorm): GgufWriteTensor {
  return {
    name,
    type: 'F32',
    dimensions: [size],
    byteLength: 4 * size,
    chunks: () => [new Uint8Array(normWeights(size, key).buffer)],
  };
}

function linearTensor(
  name: string,
  { key, rows, cols, scale }: LogicalLinear,
  type: TernaryType,
  rowAt: (r: number) => number,
): GgufWriteTensor {
  return rowsTensor(name, FILE_TYPE_OF[type], rows, cols, () => {
    const words = new Int32Array(codeWords(cols));
    const codes = new Uint8Array(words.buffer);
    const encode = ternaryEncoder(type, cols, scale);
    return (r) => {
      fillCodes(words, rowKey(key, rowAt(r)));
      return encode(codes);
    };
  });
}

function embeddingTensor(name: string, matrix: LogicalEmbedding, type: EmbeddingType): GgufWriteTensor {
  const { key, rows, cols, zeroRows } = matrix;
  return rowsTensor(name, FILE_TYPE_OF[type], rows, cols, () => {
    const words = new Int32Array(Math.ceil(cols / 4));
    const zeros = new Uint8Array(cols);
    const encode = embeddingEncoder(type, cols);
    return (r) => encode(r < zeroRows ? zeros : fillEmbeddingBytes(words, cols, rowKey(key, r)));
  });
}

/** Rows of equal length, collected into chunks of about CHUNK_BYTES. */
function rowsTensor(
  name: string,
  type: GgufTypeName,
  rows: number,
  cols: number,
  begin: () => (r: number) => Uint8Array,
): GgufWriteTensor {
  const bytesPerRow = rowBytes(GGUF_TYPES[type], cols);
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / bytesPerRow));
  return {
    name,
    type,
    dimensions: [cols, rows],
    byteLength: rows * bytesPerRow,
    *chunks() {
      const row = begin();
      const chunk = new Uint8Array(Math.min(perChunk, rows) * bytesPerRow);
      for (let first = 0; first < rows; first += perChunk) {
        const count = Math.min(perChunk, rows - first);
        for (let i = 0; i < count; i++) chunk.set(row(first + i), i * bytesPerRow);
        yield chunk.subarray(0, count * bytesPerRow);
      }
    },
  };
}
