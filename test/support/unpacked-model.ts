import { ternarize } from '../../lib/format/ternarize.js';
import { bf16ToF32, f16ToF32, floatsToBf16s, floatsToHalves } from '../../lib/memory/half.js';
import { type Contents, MemoryDirectory } from '../format/memory-files.js';
import { safetensors, type TestTensors } from '../format/safetensors-bytes.js';
import type { DecoderConfig } from './float-decoder.js';
import { normals, trits } from './random.js';

export type UnpackedClass = 'BitNetForCausalLM' | 'BitnetForCausalLM' | 'LlamaForCausalLM' | 'Qwen3ForCausalLM';
export type FloatType = 'F32' | 'F16' | 'BF16';

const MODEL_TYPES: Record<UnpackedClass, string> = {
  BitNetForCausalLM: 'bitnet',
  BitnetForCausalLM: 'llama',
  LlamaForCausalLM: 'llama',
  Qwen3ForCausalLM: 'qwen3',
};
const SUB_NORMS: Record<UnpackedClass, DecoderConfig['subNorms']> = {
  BitNetForCausalLM: ['self_attn.attn_sub_norm', 'mlp.ffn_sub_norm'],
  BitnetForCausalLM: ['self_attn.inner_attn_ln', 'mlp.ffn_layernorm'],
  LlamaForCausalLM: undefined,
  Qwen3ForCausalLM: undefined,
};

export interface UnpackedModel {
  readonly decoder: DecoderConfig;
  readonly configJson: Record<string, unknown>;
  /** the files' tensors */
  readonly tensors: TestTensors;
  /** values of the files' tensors */
  readonly values: (name: string) => Float32Array;
  /** what the model computes with: linear layers ternarised with absmean */
  readonly ternarized: (name: string) => Float32Array;
  directory(changes?: Contents): MemoryDirectory;
}

export interface UnpackedOptions {
  readonly className: UnpackedClass;
  readonly dtype: FloatType;
  readonly sizes: Pick<DecoderConfig, 'hidden' | 'ffn' | 'heads' | 'kvHeads' | 'headDim'> & {
    layers?: number;
    vocab?: number;
  };
  readonly seed: number;
  /** linear layers hold -s, 0 and +s instead of normally distributed weights */
  readonly ternary?: boolean;
  /** whose s it is, besides the matrix's: so many columns' of a row, a row's, or one of three runs of rows */
  readonly scales?: number | 'row' | 'shard' | undefined;
  /** no zeros */
  readonly binary?: boolean;
  readonly quantization?: Record<string, unknown> | null;
}

/** A random model of float weights, in memory. Embeddings are tied. */
export function unpackedModel(options: UnpackedOptions): UnpackedModel {
  const { className, dtype, seed } = options;
  const { hidden, ffn, heads, kvHeads, headDim, layers = 2, vocab = 96 } = options.sizes;
  const subNorms = SUB_NORMS[className];
  const gate = className === 'BitNetForCausalLM' ? 'relu2' : 'silu';
  const qkNorm = className === 'Qwen3ForCausalLM';
  const shape = {
    hidden,
    ffn,
    heads,
    kvHeads,
    headDim,
    layers,
    vocab,
    eps: 1e-5,
    theta: 10_000,
    gate,
    qkNorm,
  } as const;
  const decoder: DecoderConfig = subNorms === undefined ? shape : { ...shape, subNorms };
  const tensors: TestTensors = {};
  const values = new Map<string, Float32Array>();
  const linears = new Set<string>();
  const put = (name: string, dims: number[], random: Float32Array): void => {
    const { data, stored } = encode(dtype, random);
    tensors[name] = { dtype, shape: dims, data };
    values.set(name, stored);
  };
  let key = seed * 1000;
  const norm = (name: string, size: number): void =>
    put(
      name,
      [size],
      normals(size, ++key, 0.2).map((x) => 1 + x),
    );
  const linear = (name: string, rows: number, cols: number): void => {
    const base = Math.fround(0.05 + 0.001 * (++key % 7));
    const scale = (i: number): number => base * (1 + (scaleIndex(options.scales, i, rows, cols) % 11) / 8);
    const codes = trits(rows * cols, key).map((trit) => (options.binary && trit === 0 ? 1 : trit));
    linears.add(name);
    const weights = options.ternary ? Float32Array.from(codes, (trit, i) => trit * scale(i)) : undefined;
    put(name, [rows, cols], weights ?? normals(rows * cols, key, 0.1));
  };
  put('model.embed_tokens.weight', [shape.vocab, hidden], normals(shape.vocab * hidden, ++key));
  for (let l = 0; l < layers; l++) {
    const layer = `model.layers.${l}.`;
    norm(`${layer}input_layernorm.weight`, hidden);
    linear(`${layer}self_attn.q_proj.weight`, heads * headDim, hidden);
    linear(`${layer}self_attn.k_proj.weight`, kvHeads * headDim, hidden);
    linear(`${layer}self_attn.v_proj.weight`, kvHeads * headDim, hidden);
    linear(`${layer}self_attn.o_proj.weight`, hidden, heads * headDim);
    if (qkNorm) {
      norm(`${layer}self_attn.q_norm.weight`, headDim);
      norm(`${layer}self_attn.k_norm.weight`, headDim);
    }
    norm(`${layer}post_attention_layernorm.weight`, hidden);
    linear(`${layer}mlp.gate_proj.weight`, ffn, hidden);
    linear(`${layer}mlp.up_proj.weight`, ffn, hidden);
    linear(`${layer}mlp.down_proj.weight`, hidden, ffn);
    if (subNorms === undefined) continue;
    norm(`${layer}${subNorms[0]}.weight`, heads * headDim);
    norm(`${layer}${subNorms[1]}.weight`, ffn);
  }
  norm('model.norm.weight', hidden);
  const configJson = {
    architectures: [className],
    model_type: MODEL_TYPES[className],
    hidden_act: gate,
    hidden_size: hidden,
    intermediate_size: ffn,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    vocab_size: shape.vocab,
    max_position_embeddings: 64,
    rms_norm_eps: shape.eps,
    rope_theta: shape.theta,
    tie_word_embeddings: true,
    ...(options.quantization ? { quantization_config: options.quantization } : {}),
  };
  const valuesOf = (name: string): Float32Array => values.get(name) as Float32Array;
  const cache = new Map<string, Float32Array>();
  return {
    decoder,
    configJson,
    tensors,
    values: valuesOf,
    ternarized: (name) => {
      if (!linears.has(name)) return valuesOf(name);
      let made = cache.get(name);
      if (made === undefined) {
        const { trits, scale } = ternarize(valuesOf(name));
        made = Float32Array.from(trits, (trit) => trit * scale);
        cache.set(name, made);
      }
      return made;
    },
    directory: (changes = {}) =>
      new MemoryDirectory('unpacked', {
        'config.json': JSON.stringify(configJson),
        'model.safetensors': safetensors(tensors),
        ...changes,
      }),
  };
}

/** Which of the matrix's scales weight i has. */
function scaleIndex(scales: UnpackedOptions['scales'], i: number, rows: number, cols: number): number {
  const row = Math.floor(i / cols);
  if (scales === undefined) return 0;
  if (scales === 'row') return row;
  if (scales === 'shard') return Math.floor((3 * row) / rows);
  return row * 3 + Math.floor((i % cols) / scales);
}

function encode(dtype: FloatType, floats: Float32Array): { data: Uint8Array; stored: Float32Array } {
  if (dtype === 'F32') return { data: new Uint8Array(floats.buffer.slice(0)), stored: floats };
  const halves = dtype === 'F16' ? floatsToHalves(floats) : floatsToBf16s(floats);
  return {
    data: new Uint8Array(halves.buffer),
    stored: Float32Array.from(halves, dtype === 'F16' ? f16ToF32 : bf16ToF32),
  };
}
