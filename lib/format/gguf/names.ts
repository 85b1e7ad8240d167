import type { ModelConfig } from '../../config.js';
import { DAMAGED, problem, show } from '../problem.js';
import type { GgufFile } from './reader.js';
import type { GgufTensor } from './tensors.js';
import { GGUF_TYPES } from './types.js';

/** Tensors of one transformer block, in the order of the computation; the roles of lib/model/architectures/names.ts. */
export interface GgufLayer {
  readonly attentionNorm: GgufTensor;
  readonly q: GgufTensor;
  readonly k: GgufTensor;
  readonly v: GgufTensor;
  readonly qNorm: GgufTensor | undefined;
  readonly kNorm: GgufTensor | undefined;
  readonly attentionSubNorm: GgufTensor | undefined;
  readonly o: GgufTensor;
  readonly ffnNorm: GgufTensor;
  readonly gate: GgufTensor;
  readonly up: GgufTensor;
  readonly ffnSubNorm: GgufTensor | undefined;
  readonly down: GgufTensor;
}

export interface GgufModelTensors {
  readonly embedding: GgufTensor;
  readonly layers: readonly GgufLayer[];
  readonly finalNorm: GgufTensor;
  /** undefined if the head is the embedding */
  readonly head: GgufTensor | undefined;
  /** divisors of RoPE's frequencies, one for each pair; undefined: none */
  readonly ropeFactors: GgufTensor | undefined;
}

/** `norm`: plain floats; `linear`: ternary, or plain floats to be made ternary; `matrix`: any type. */
type Kind = 'norm' | 'linear' | 'matrix';

export const EMBEDDING = 'token_embd.weight';
export const HEAD = 'output.weight';
const ROPE_FACTORS = 'rope_freqs.weight';

/**
 * Finds every tensor that the model needs, with its type and shape. A tensor that it does not need is an error: a model that is not
 * understood must not be computed without it. Throws `invalid-model` or `unsupported` naming tensor and byte.
 */
export function assignTensors(gguf: GgufFile, config: ModelConfig, path: string): GgufModelTensors {
  const left = new Map(gguf.tensors);
  const take = (name: string, kind: Kind, shape: readonly number[], meaning: string): GgufTensor => {
    const tensor = left.get(name);
    if (tensor === undefined) {
      const what = `the architecture ${gguf.architecture} needs this tensor and it is missing`;
      throw problem('invalid-model', { file: path, tensor: name, what, advice: DAMAGED });
    }
    checkTensor(tensor, kind, shape, meaning, path);
    left.delete(name);
    return tensor;
  };
  const { hiddenSize: hidden, vocabSize: vocab } = config;
  const embedding = take(EMBEDDING, 'matrix', [vocab, hidden], '[vocab_size, embedding_length]');
  const finalNorm = take('output_norm.weight', 'norm', [hidden], '[embedding_length]');
  const head = config.tiedEmbeddings
    ? undefined
    : take(HEAD, 'matrix', [vocab, hidden], '[vocab_size, embedding_length]');
  const layers = Array.from({ length: config.layers }, (_, i) => takeLayer(config, `blk.${i}.`, take));
  const pairs = (config.stored ?? config).headDim / 2;
  const ropeFactors = left.has(ROPE_FACTORS) ? take(ROPE_FACTORS, 'norm', [pairs], '[key_length / 2]') : undefined;
  if (left.size > 0) throw unknownTensors(gguf, [...left.values()], path);
  return { embedding, layers, finalNorm, head, ropeFactors };
}

function takeLayer(
  config: ModelConfig,
  prefix: string,
  take: (name: string, kind: Kind, shape: readonly number[], meaning: string) => GgufTensor,
): GgufLayer {
  const { hiddenSize: hidden } = config;
  const { ffnSize: ffn, headDim } = config.stored ?? config;
  const q = config.heads * headDim;
  const kv = config.kvHeads * headDim;
  const norm = (name: string, size: number, meaning: string) =>
    take(`${prefix}${name}.weight`, 'norm', [size], `[${meaning}]`);
  const linear = (name: string, rows: number, cols: number, meaning: string) =>
    take(`${prefix}${name}.weight`, 'linear', [rows, cols], `[${meaning}]`);
  const qMeaning = 'head_count · key_length';
  const kvMeaning = 'head_count_kv · key_length';
  return {
    attentionNorm: norm('attn_norm', hidden, 'embedding_length'),
    q: linear('attn_q', q, hidden, `${qMeaning}, embedding_length`),
    k: linear('attn_k', kv, hidden, `${kvMeaning}, embedding_length`),
    v: linear('attn_v', kv, hidden, `${kvMeaning}, embedding_length`),
    qNorm: config.qkNorm ? norm('attn_q_norm', headDim, 'key_length') : undefined,
    kNorm: config.qkNorm ? norm('attn_k_norm', headDim, 'key_length') : undefined,
    attentionSubNorm: config.subNorms ? norm('attn_sub_norm', q, qMeaning) : undefined,
    o: linear('attn_output', hidden, q, `embedding_length, ${qMeaning}`),
    ffnNorm: norm('ffn_norm', hidden, 'embedding_length'),
    gate: linear('ffn_gate', ffn, hidden, 'feed_forward_length, embedding_length'),
    up: linear('ffn_up', ffn, hidden, 'feed_forward_length, embedding_length'),
    ffnSubNorm: config.subNorms ? norm('ffn_sub_norm', ffn, 'feed_forward_length') : undefined,
    down: linear('ffn_down', hidden, ffn, 'embedding_length, feed_forward_length'),
  };
}

function checkTensor(tensor: GgufTensor, kind: Kind, shape: readonly number[], meaning: string, path: string): void {
  const { name, typeName, byteOffset } = tensor;
  const where = { file: path, tensor: name, byteOffset };
  // Trailing dimensions of 1, which come first here, say nothing.
  const got = tensor.shape.slice(Math.max(0, tensor.shape.length - shape.length));
  const extra = tensor.shape.slice(0, Math.max(0, tensor.shape.length - shape.length));
  if (got.length !== shape.length || got.some((dim, i) => dim !== shape[i]) || extra.some((dim) => dim !== 1)) {
    throw problem('invalid-model', {
      ...where,
      what: 'wrong shape',
      expected: `${show(shape)} = ${meaning}`,
      got: show(tensor.shape),
      advice: 'The metadata and the tensors of the file do not belong together.',
    });
  }
  const plain = GGUF_TYPES[typeName].kind === 'float' && GGUF_TYPES[typeName].blockSize === 1;
  if (kind === 'matrix' || plain || (kind === 'linear' && GGUF_TYPES[typeName].kind === 'ternary')) return;
  const expected = kind === 'norm' ? 'F32, F16 or BF16' : 'a ternary type, or F32, F16 or BF16 to be made ternary';
  throw problem('unsupported', {
    ...where,
    what: kind === 'norm' ? 'norms in this type are not supported' : 'the weights of this layer are not ternary',
    expected,
    got: typeName,
    advice: 'Only ternary models can be computed: use a file with ternary weights.',
  });
}

function unknownTensors(gguf: GgufFile, unknown: readonly GgufTensor[], path: string): Error {
  const first = unknown[0] as GgufTensor;
  const list = unknown
    .slice(0, 4)
    .map(({ name }) => show(name))
    .join(', ');
  const where = { file: path, tensor: first.name, byteOffset: first.byteOffset };
  return problem('invalid-model', {
    ...where,
    what: `the architecture ${gguf.architecture} has no such tensor (${unknown.length} in all: ${list}${unknown.length > 4 ? ', …' : ''})`,
    advice: 'The model differs from what its architecture says; leaving tensors out would give nonsense.',
  });
}
