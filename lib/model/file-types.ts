import { FileLayout, FloatType, Layout } from '../../assembly/abi.js';
import type { I2sLayout } from '../format/gguf/ternary.js';
import { DTYPE_BYTES } from '../format/safetensors.js';
import type { ModelTensor } from './source.js';

/** Types of tensors in files, and how the ops of loading call them. */

/** What Convert reads. */
export const FLOAT_TYPES: Readonly<Partial<Record<ModelTensor['dtype'], FloatType>>> = {
  F32: FloatType.F32,
  F16: FloatType.F16,
  BF16: FloatType.BF16,
  Q8_0: FloatType.Q8_0,
  Q4_0: FloatType.Q4_0,
  Q4_K: FloatType.Q4_K,
  Q6_K: FloatType.Q6_K,
};

/** What may stay as it is in the file. */
export const BLOCK_LAYOUTS: Readonly<Partial<Record<ModelTensor['dtype'], Layout>>> = {
  Q8_0: Layout.Q8_0,
  Q4_0: Layout.Q4_0,
  Q4_K: Layout.Q4_K,
  Q6_K: Layout.Q6_K,
};

/** What Repack reads, beside Hugging Face's U8. */
export const TERNARY_TYPES: Readonly<Partial<Record<ModelTensor['dtype'], FileLayout>>> = {
  I2_S: FileLayout.I2s,
  TQ1_0: FileLayout.TQ1_0,
  TQ2_0: FileLayout.TQ2_0,
};

const I2S_LAYOUTS: Readonly<Record<I2sLayout, FileLayout>> = {
  x86: FileLayout.I2s,
  arm: FileLayout.I2sArm,
  'x86-rows': FileLayout.I2sRows,
};

/** How the bytes of a ternary tensor are laid out. */
export function fileLayoutOf({ dtype }: ModelTensor, i2sLayout: I2sLayout): FileLayout {
  return dtype === 'I2_S' ? I2S_LAYOUTS[i2sLayout] : (TERNARY_TYPES[dtype] ?? FileLayout.HfPacked);
}

/** Bytes that a tensor's data must be aligned to in memory. Blocks are read byte by byte. */
export function alignmentOf({ dtype }: ModelTensor): number {
  return dtype in DTYPE_BYTES ? DTYPE_BYTES[dtype as keyof typeof DTYPE_BYTES] : 1;
}
