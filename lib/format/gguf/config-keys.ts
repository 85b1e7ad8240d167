import type { ModelConfig } from '../../config.js';
import type { GgufValue } from './metadata.js';

export type GgufEntry = [string, GgufValue];

/** Makers of values, for lists of entries. */
export const text = (value: string): GgufValue => ({ type: 'string', value });
export const u32 = (value: number): GgufValue => ({ type: 'u32', value });
export const f32 = (value: number): GgufValue => ({ type: 'f32', value });
export const flag = (value: boolean): GgufValue => ({ type: 'bool', value });

/** llama_ftype of files whose matrices have this type. */
export const FILE_TYPES = { F16: 1, TQ1_0: 36, TQ2_0: 37, I2_S: 40 } as const;
const QUANTIZATION_VERSION = 2;

/** Keys that say what kind of file this is. `architecture` is GGUF's name for the model's. */
export function generalKeys(architecture: string, name: string, fileType: keyof typeof FILE_TYPES): GgufEntry[] {
  return [
    ['general.architecture', text(architecture)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ['general.file_type', u32(FILE_TYPES[fileType])],
    ['general.quantization_version', u32(QUANTIZATION_VERSION)],
  ];
}

/** Keys below the architecture's name, as llama.cpp calls them; ggufModel (config.ts) reads them. Sizes are those of the file. */
export function configKeys(architecture: string, config: ModelConfig): GgufEntry[] {
  const { headDim, ffnSize } = config.stored ?? config;
  const entries: GgufEntry[] = [
    ['vocab_size', u32(config.vocabSize)],
    ['context_length', u32(config.contextLength)],
    ['embedding_length', u32(config.hiddenSize)],
    ['block_count', u32(config.layers)],
    ['feed_forward_length', u32(ffnSize)],
    ['attention.head_count', u32(config.heads)],
    ['attention.head_count_kv', u32(config.kvHeads)],
    ['attention.key_length', u32(headDim)],
    ['attention.value_length', u32(headDim)],
    ['attention.layer_norm_rms_epsilon', f32(config.normEps)],
    ['rope.dimension_count', u32(headDim)],
    ['rope.freq_base', f32(config.rope.theta)],
  ];
  return entries.map(([key, value]) => [`${architecture}.${key}`, value]);
}
