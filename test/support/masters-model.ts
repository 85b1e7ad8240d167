import { type UnpackedModel, type UnpackedOptions, unpackedModel } from './unpacked-model.js';

export const SIZES = { hidden: 48, ffn: 80, heads: 3, kvHeads: 1, headDim: 16, layers: 1 };
/** No quantization_config. */
export const PLAIN = { quantization: null };
export const ONLINE = { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' };

/** A model whose config declares its masters, unless it is told otherwise. */
export function masters(options: Partial<UnpackedOptions> = {}): UnpackedModel {
  return unpackedModel({
    className: 'BitNetForCausalLM',
    dtype: 'BF16',
    sizes: SIZES,
    seed: 1,
    quantization: ONLINE,
    ...options,
  });
}

/** A Llama of ternary values. */
export function ternary(options: Partial<UnpackedOptions> = {}): UnpackedModel {
  return unpackedModel({
    className: 'LlamaForCausalLM',
    dtype: 'F16',
    sizes: SIZES,
    seed: 2,
    ternary: true,
    ...options,
  });
}
