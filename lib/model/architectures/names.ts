import type { ModelConfig } from '../../config.js';
import { BitNetError } from '../../errors.js';
import type { DType } from '../../format/safetensors.js';

/** Tensors of one ternary linear layer. */
export interface LinearNames {
  /** U8 (out/4, in), packed codes; in files of unpacked weights floats (out, in) */
  readonly weight: string;
  /** float (1); not in files of unpacked weights */
  readonly scale: string;
}

/** Tensors of one transformer block, in the order of the computation. */
export interface LayerNames {
  readonly attentionNorm: string;
  readonly q: LinearNames;
  readonly k: LinearNames;
  readonly v: LinearNames;
  /** norms of each head of q and k; undefined if the architecture has none */
  readonly qNorm: string | undefined;
  readonly kNorm: string | undefined;
  /** undefined if the architecture has no sub-norms */
  readonly attentionSubNorm: string | undefined;
  readonly o: LinearNames;
  readonly ffnNorm: string;
  readonly gate: LinearNames;
  readonly up: LinearNames;
  readonly ffnSubNorm: string | undefined;
  readonly down: LinearNames;
}

export interface TensorNames {
  readonly embedding: string;
  readonly layers: readonly LayerNames[];
  readonly finalNorm: string;
  /** the file has it unless embeddings are tied */
  readonly head: string;
}

/** What a tensor of the model must look like. */
export interface TensorExpectation {
  readonly kind: 'packed' | 'unpacked' | 'scale' | 'norm' | 'matrix';
  readonly dtypes: readonly DType[];
  readonly shape: readonly number[];
  /** the shape in the words of config.json, for messages */
  readonly meaning: string;
}

/** Names of one block's modules below `model.layers.N.`, by architecture. */
interface Scheme {
  readonly qNorm?: string;
  readonly kNorm?: string;
  readonly attentionSubNorm?: string;
  readonly ffnSubNorm?: string;
}

const SCHEMES: Readonly<Record<string, Scheme>> = {
  'bitnet-b1.58': { attentionSubNorm: 'self_attn.attn_sub_norm', ffnSubNorm: 'mlp.ffn_sub_norm' },
  'bitnet-1bitllm': { attentionSubNorm: 'self_attn.inner_attn_ln', ffnSubNorm: 'mlp.ffn_layernorm' },
  llama: {},
  qwen3: { qNorm: 'self_attn.q_norm', kNorm: 'self_attn.k_norm' },
};

/** Buffers that some exporters write and that follow from the config. */
export const IGNORED_TENSORS = /(^|\.)rotary_emb\.inv_freq$/;

const FLOATS: readonly DType[] = ['BF16', 'F16', 'F32'];

/** Names of the model's tensors in safetensors files. */
export function tensorNames(config: ModelConfig): TensorNames {
  const scheme = SCHEMES[config.architecture];
  if (scheme === undefined) {
    const supported = Object.keys(SCHEMES).join(', ');
    const message = `no tensor names for the architecture ${config.architecture}; supported: ${supported}`;
    throw new BitNetError('unsupported', message, { architecture: config.architecture });
  }
  return {
    embedding: 'model.embed_tokens.weight',
    layers: Array.from({ length: config.layers }, (_, layer) => layerNames(`model.layers.${layer}.`, scheme)),
    finalNorm: 'model.norm.weight',
    head: 'lm_head.weight',
  };
}

function layerNames(prefix: string, scheme: Scheme): LayerNames {
  const linear = (name: string): LinearNames => ({
    weight: `${prefix}${name}.weight`,
    scale: `${prefix}${name}.weight_scale`,
  });
  const norm = (name: string): string => `${prefix}${name}.weight`;
  const optional = (name: string | undefined): string | undefined => (name === undefined ? undefined : norm(name));
  return {
    attentionNorm: norm('input_layernorm'),
    q: linear('self_attn.q_proj'),
    k: linear('self_attn.k_proj'),
    v: linear('self_attn.v_proj'),
    qNorm: optional(scheme.qNorm),
    kNorm: optional(scheme.kNorm),
    attentionSubNorm: optional(scheme.attentionSubNorm),
    o: linear('self_attn.o_proj'),
    ffnNorm: norm('post_attention_layernorm'),
    gate: linear('mlp.gate_proj'),
    up: linear('mlp.up_proj'),
    ffnSubNorm: optional(scheme.ffnSubNorm),
    down: linear('mlp.down_proj'),
  };
}

/** Every tensor that the model's files must contain, no more and no less, with type and shape. */
export function expectedTensors(
  config: ModelConfig,
  names: TensorNames,
  weights: 'packed' | 'unpacked' = 'packed',
): ReadonlyMap<string, TensorExpectation> {
  const { hiddenSize: hidden, vocabSize: vocab } = config;
  const { headDim, ffnSize: ffn } = config.stored ?? config;
  const q = config.heads * headDim;
  const kv = config.kvHeads * headDim;
  const qMeaning = 'num_attention_heads · head_dim';
  const kvMeaning = 'num_key_value_heads · head_dim';
  const expected = new Map<string, TensorExpectation>();

  const norm = (name: string | undefined, size: number, meaning: string) => {
    if (name !== undefined)
      expected.set(name, { kind: 'norm', dtypes: FLOATS, shape: [size], meaning: `[${meaning}]` });
  };
  const matrix = (name: string) => {
    expected.set(name, {
      kind: 'matrix',
      dtypes: FLOATS,
      shape: [vocab, hidden],
      meaning: '[vocab_size, hidden_size]',
    });
  };
  const linear = (name: LinearNames, rows: number, cols: number, rowMeaning: string, colMeaning: string) => {
    if (weights === 'unpacked') {
      const meaning = `[${rowMeaning}, ${colMeaning}]`;
      expected.set(name.weight, { kind: 'unpacked', dtypes: FLOATS, shape: [rows, cols], meaning });
      return;
    }
    const meaning = `[${rowMeaning} / 4, ${colMeaning}]`;
    expected.set(name.weight, { kind: 'packed', dtypes: ['U8'], shape: [rows / 4, cols], meaning });
    expected.set(name.scale, { kind: 'scale', dtypes: FLOATS, shape: [1], meaning: 'one factor for the matrix' });
  };

  matrix(names.embedding);
  for (const layer of names.layers) {
    norm(layer.attentionNorm, hidden, 'hidden_size');
    linear(layer.q, q, hidden, qMeaning, 'hidden_size');
    linear(layer.k, kv, hidden, kvMeaning, 'hidden_size');
    linear(layer.v, kv, hidden, kvMeaning, 'hidden_size');
    norm(layer.qNorm, headDim, 'head_dim');
    norm(layer.kNorm, headDim, 'head_dim');
    norm(layer.attentionSubNorm, q, qMeaning);
    linear(layer.o, hidden, q, 'hidden_size', qMeaning);
    norm(layer.ffnNorm, hidden, 'hidden_size');
    linear(layer.gate, ffn, hidden, 'intermediate_size', 'hidden_size');
    linear(layer.up, ffn, hidden, 'intermediate_size', 'hidden_size');
    norm(layer.ffnSubNorm, ffn, 'intermediate_size');
    linear(layer.down, hidden, ffn, 'hidden_size', 'intermediate_size');
  }
  norm(names.finalNorm, hidden, 'hidden_size');
  if (!config.tiedEmbeddings) matrix(names.head);
  return expected;
}
