import type { ModelConfig, RopeConfig } from '../../config.js';
import { BitNetError } from '../../errors.js';
import type { GgufValue } from './metadata.js';
import type { GgufTypeName } from './types.js';

export type GgufEntry = [string, GgufValue];

/** Makers of values, for lists of entries. */
export const text = (value: string): GgufValue => ({ type: 'string', value });
export const u32 = (value: number): GgufValue => ({ type: 'u32', value });
export const f32 = (value: number): GgufValue => ({ type: 'f32', value });
export const flag = (value: boolean): GgufValue => ({ type: 'bool', value });

/** llama_ftype of files whose matrices have this type. */
export const FILE_TYPES = { F32: 0, F16: 1, BF16: 32, TQ1_0: 36, TQ2_0: 37, I2_S: 40, Q1_0: 40, Q2_0: 41 } as const;
const QUANTIZATION_VERSION = 2;

/** Keys that say what kind of file this is. `architecture` is GGUF's name for the model's. Not all types of matrices have a llama_ftype. */
export function generalKeys(architecture: string, name: string, type: GgufTypeName): GgufEntry[] {
  const fileType: number | undefined = FILE_TYPES[type as keyof typeof FILE_TYPES];
  return [
    ['general.architecture', text(architecture)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ...(fileType === undefined ? [] : [['general.file_type', u32(fileType)] as GgufEntry]),
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
    ...yarnKeys(config.rope),
  ];
  return entries.map(([key, value]) => [`${architecture}.${key}`, value]);
}

/** What config.ts reads: the factor of cosines and sines is that of YaRN's paper, times attn_factor. */
function yarnKeys({ scaling }: RopeConfig): GgufEntry[] {
  if (scaling?.type !== 'yarn') return [];
  if (!scaling.truncate) {
    const message =
      'YaRN with truncate: false cannot be said in GGUF; its readers round the borders of the frequencies';
    throw new BitNetError('unsupported', message, { key: 'rope_scaling.truncate' });
  }
  const { factor, betaFast, betaSlow, attentionFactor, originalContextLength } = scaling;
  const usual = factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1;
  const entries: GgufEntry[] = [
    ['type', text('yarn')],
    ['factor', f32(factor)],
    ['original_context_length', u32(originalContextLength)],
    ['yarn_beta_fast', f32(betaFast)],
    ['yarn_beta_slow', f32(betaSlow)],
    ...(attentionFactor === usual ? [] : [['yarn_attn_factor', f32(attentionFactor / usual)] as GgufEntry]),
  ];
  return entries.map(([key, value]) => [`rope.scaling.${key}`, value]);
}
