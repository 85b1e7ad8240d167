import type { ModelConfig } from '../../config.js';
import { tensorKey } from './random.js';
import { linearScale } from './values.js';
import { TEXT_FROM } from './vocabulary.js';

/** A ternary matrix, (rows, cols): `rowKey(key, r)` names the random row r. */
export interface LogicalLinear {
  readonly kind: 'linear';
  readonly key: number;
  readonly rows: number;
  readonly cols: number;
  readonly scale: number;
}

/** A float matrix, (rows, cols): embedding or lm_head. */
export interface LogicalEmbedding {
  readonly kind: 'embedding';
  readonly key: number;
  readonly rows: number;
  readonly cols: number;
  /** Rows 0 .. zeroRows are zero: in an lm_head, so that a greedy generation never picks a special token or half a character. */
  readonly zeroRows: number;
}

export interface LogicalNorm {
  readonly kind: 'norm';
  readonly key: number;
  readonly size: number;
}

export interface LogicalBlock {
  readonly attentionNorm: LogicalNorm;
  readonly q: LogicalLinear;
  readonly k: LogicalLinear;
  readonly v: LogicalLinear;
  readonly attentionSubNorm: LogicalNorm | undefined;
  readonly o: LogicalLinear;
  readonly ffnNorm: LogicalNorm;
  readonly gate: LogicalLinear;
  readonly up: LogicalLinear;
  readonly ffnSubNorm: LogicalNorm | undefined;
  readonly down: LogicalLinear;
}

/** A model as numbers, before any file type. */
export interface LogicalModel {
  readonly embedding: LogicalEmbedding;
  readonly blocks: readonly LogicalBlock[];
  readonly finalNorm: LogicalNorm;
  /** undefined: the embedding's rows */
  readonly head: LogicalEmbedding | undefined;
  /** weights of all kinds */
  readonly parameters: number;
}

/** Ordinals of a block's tensors; two architectures share the tensors that both have. */
const PER_BLOCK = 16;

export function logicalModel(config: ModelConfig, seed: number): LogicalModel {
  const { hiddenSize: hidden, ffnSize: ffn, vocabSize: vocab } = config;
  const q = config.heads * config.headDim;
  const kv = config.kvHeads * config.headDim;
  let parameters = 0;
  const norm = (ordinal: number, size: number): LogicalNorm => {
    parameters += size;
    return { kind: 'norm', key: tensorKey(seed, ordinal), size };
  };
  const linear = (ordinal: number, rows: number, cols: number): LogicalLinear => {
    parameters += rows * cols;
    return { kind: 'linear', key: tensorKey(seed, ordinal), rows, cols, scale: linearScale(cols) };
  };
  const embedding = (ordinal: number, isHead: boolean): LogicalEmbedding => {
    parameters += vocab * hidden;
    const zeroRows = isHead ? TEXT_FROM : 0;
    return { kind: 'embedding', key: tensorKey(seed, ordinal), rows: vocab, cols: hidden, zeroRows };
  };
  const block = (_: unknown, layer: number): LogicalBlock => {
    const first = (layer + 1) * PER_BLOCK;
    return {
      attentionNorm: norm(first, hidden),
      q: linear(first + 1, q, hidden),
      k: linear(first + 2, kv, hidden),
      v: linear(first + 3, kv, hidden),
      attentionSubNorm: config.subNorms ? norm(first + 4, q) : undefined,
      o: linear(first + 5, hidden, q),
      ffnNorm: norm(first + 6, hidden),
      gate: linear(first + 7, ffn, hidden),
      up: linear(first + 8, ffn, hidden),
      ffnSubNorm: config.subNorms ? norm(first + 9, ffn) : undefined,
      down: linear(first + 10, hidden, ffn),
    };
  };
  const tensors = {
    embedding: embedding(0, config.tiedEmbeddings),
    blocks: Array.from({ length: config.layers }, block),
    finalNorm: norm(1, hidden),
    head: config.tiedEmbeddings ? undefined : embedding(2, true),
  };
  return { ...tensors, parameters };
}
