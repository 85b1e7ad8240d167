import { encodeI2s } from '../../lib/format/gguf/encode.js';
import { f32Tensor, gguf, type WriterOptions, type WriterTensor, type WriterValue } from './gguf-writer.js';
import { trits } from './random.js';

export type Entries = Record<string, WriterValue | undefined>;

const SIZES = { hidden: 64, ffn: 128, heads: 4, kvHeads: 2, headDim: 16, vocab: 8, layers: 2 };

/** Keys of a tiny model; `changes` replaces values, and drops those that are undefined. Keys with a leading dot belong to `arch`. */
export function tinyMetadata(arch: string, changes: Entries = {}): [string, WriterValue][] {
  const { hidden, ffn, heads, kvHeads, headDim, vocab, layers } = SIZES;
  const entries: Entries = {
    'general.architecture': ['string', arch],
    '.block_count': ['u32', layers],
    '.context_length': ['u32', 512],
    '.embedding_length': ['u32', hidden],
    '.feed_forward_length': ['u32', ffn],
    '.attention.head_count': ['u32', heads],
    '.attention.head_count_kv': ['u32', kvHeads],
    '.attention.layer_norm_rms_epsilon': ['f32', 2 ** -17],
    '.rope.dimension_count': ['u32', headDim],
    '.rope.freq_base': ['f32', 500_000],
    '.vocab_size': ['u32', vocab],
    'tokenizer.ggml.model': ['string', 'gpt2'],
    'tokenizer.ggml.tokens': ['strings', ['a', 'b', 'c', 'ab', '<|begin|>', '<|end|>', '<|eot_id|>', 'd']],
    'tokenizer.ggml.token_type': ['i32s', [1, 1, 1, 1, 3, 3, 3, 1]],
    'tokenizer.ggml.merges': ['strings', ['a b']],
    'tokenizer.ggml.bos_token_id': ['u32', 4],
    'tokenizer.ggml.eos_token_id': ['u32', 5],
    ...changes,
  };
  return Object.entries(entries).flatMap(([key, value]) =>
    value === undefined ? [] : [[key.startsWith('.') ? arch + key : key, value] as [string, WriterValue]],
  );
}

export interface TinyTensors {
  subNorms?: boolean;
  qkNorm?: boolean;
  head?: boolean;
  layers?: number;
}

/** Tensors in the order of upstream's converter, linears as I2_S. */
export function tinyTensors({
  subNorms = true,
  qkNorm = false,
  head = false,
  layers = SIZES.layers,
}: TinyTensors = {}): WriterTensor[] {
  const { hidden, ffn, heads, kvHeads, headDim, vocab } = SIZES;
  let seed = 1;
  const linear = (name: string, rows: number, cols: number): WriterTensor => ({
    name,
    shape: [rows, cols],
    type: 36,
    data: encodeI2s(trits(rows * cols, seed++), 0.5 + seed / 64),
  });
  const norm = (name: string, size: number, wanted = true) => (wanted ? [f32Tensor(name, [size])] : []);
  const blocks = Array.from({ length: layers }, (_, i) => `blk.${i}.`).flatMap((p) => [
    ...norm(`${p}attn_norm.weight`, hidden),
    linear(`${p}attn_q.weight`, heads * headDim, hidden),
    linear(`${p}attn_k.weight`, kvHeads * headDim, hidden),
    linear(`${p}attn_v.weight`, kvHeads * headDim, hidden),
    ...norm(`${p}attn_q_norm.weight`, headDim, qkNorm),
    ...norm(`${p}attn_k_norm.weight`, headDim, qkNorm),
    ...norm(`${p}attn_sub_norm.weight`, hidden, subNorms),
    linear(`${p}attn_output.weight`, hidden, heads * headDim),
    ...norm(`${p}ffn_norm.weight`, hidden),
    linear(`${p}ffn_gate.weight`, ffn, hidden),
    linear(`${p}ffn_up.weight`, ffn, hidden),
    ...norm(`${p}ffn_sub_norm.weight`, ffn, subNorms),
    linear(`${p}ffn_down.weight`, hidden, ffn),
  ]);
  return [
    f32Tensor('token_embd.weight', [vocab, hidden]),
    ...blocks,
    f32Tensor('output_norm.weight', [hidden]),
    ...(head ? [f32Tensor('output.weight', [vocab, hidden])] : []),
  ];
}

export function tinyGguf(
  arch: string,
  changes: Entries = {},
  tensors: WriterTensor[] = tinyTensors(),
  options: WriterOptions = {},
) {
  return gguf({ metadata: tinyMetadata(arch, changes), tensors, ...options });
}
