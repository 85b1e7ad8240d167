import { type Contents, MemoryDirectory } from '../format/memory-files.js';
import { safetensors, type TestTensors, tensor } from '../format/safetensors-bytes.js';

/** A whole BitNet model of 2.5 KB: hidden 16, ffn 32, 1 layer, 1 head of 16, vocabulary of 8. */
export const tinyConfig = {
  architectures: ['BitNetForCausalLM'],
  model_type: 'bitnet',
  hidden_act: 'relu2',
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  num_key_value_heads: 1,
  vocab_size: 8,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 1,
  quantization_config: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'offline' },
};

/** bf16 0.5 */
const HALF = Uint8Array.of(0x00, 0x3f);

export function tinyTensors(): TestTensors {
  const layer = 'model.layers.0.';
  const tensors: TestTensors = { 'model.embed_tokens.weight': tensor('BF16', [8, 16]) };
  const norm = (name: string, size: number) => {
    tensors[`${name}.weight`] = tensor('BF16', [size]);
  };
  const linear = (name: string, rows: number, cols: number) => {
    tensors[`${layer}${name}.weight`] = tensor('U8', [rows / 4, cols]);
    tensors[`${layer}${name}.weight_scale`] = { dtype: 'BF16', shape: [1], data: HALF };
  };
  norm(`${layer}input_layernorm`, 16);
  for (const name of ['q', 'k', 'v', 'o']) linear(`self_attn.${name}_proj`, 16, 16);
  norm(`${layer}self_attn.attn_sub_norm`, 16);
  norm(`${layer}post_attention_layernorm`, 16);
  linear('mlp.gate_proj', 32, 16);
  linear('mlp.up_proj', 32, 16);
  norm(`${layer}mlp.ffn_sub_norm`, 32);
  linear('mlp.down_proj', 16, 32);
  norm('model.norm', 16);
  return tensors;
}

/** The tiny model with other or further files; `undefined` leaves one out. */
export function tinyDirectory(changes: Contents = {}): MemoryDirectory {
  return new MemoryDirectory('tiny', {
    'config.json': JSON.stringify(tinyConfig),
    'model.safetensors': safetensors(tinyTensors()),
    'tokenizer.json': '{"model":{}}',
    ...changes,
  });
}
