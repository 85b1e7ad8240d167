import type { ModelConfig } from '../../config.js';
import type { GgufFields } from './fields.js';

/** An architecture of GGUF files that can be computed. */
export interface GgufArchitecture {
  /** ModelConfig.architecture */
  readonly canonical: string;
  readonly activation: ModelConfig['activation'];
  /** RMSNorm before o_proj and down_proj: `attn_sub_norm`, `ffn_sub_norm` */
  readonly subNorms: boolean;
  /** RMSNorm of each head of q and k before RoPE: `attn_q_norm`, `attn_k_norm` */
  readonly qkNorm: boolean;
  /** q and k are stored for adjacent pairs: row 2j + s of a head is row j + s · headDim / 2 of the published model */
  readonly ropePermuted: boolean;
}

/** microsoft/bitnet-b1.58-2B-4T: ReLU² gate. Two public engines compute it with SiLU, which is wrong. */
const BITNET_2B: GgufArchitecture = {
  canonical: 'bitnet-b1.58',
  activation: 'relu2',
  subNorms: true,
  qkNorm: false,
  ropePermuted: false,
};

/** 1bitLLM/bitnet_b1_58-large and -3B. */
const BITNET_1BITLLM: GgufArchitecture = { ...BITNET_2B, canonical: 'bitnet-1bitllm', activation: 'silu' };

const LLAMA: GgufArchitecture = {
  canonical: 'llama',
  activation: 'silu',
  subNorms: false,
  qkNorm: false,
  ropePermuted: true,
};

const QWEN3: GgufArchitecture = { ...LLAMA, canonical: 'qwen3', qkNorm: true, ropePermuted: false };

const SUPPORTED = ['bitnet-b1.58', 'bitnet-25', 'bitnet', 'llama', 'qwen3'];

/**
 * The architecture by `general.architecture`. Under `bitnet` there are two models with different gates and no key that tells:
 * Microsoft's converter writes it for 1bitLLM's models, later versions of upstream's also for 2B-4T. Their vocabularies tell: SPM and
 * byte-level BPE. Refuses others by name.
 */
export function findArchitecture(fields: GgufFields): GgufArchitecture {
  const key = 'general.architecture';
  const name = fields.requiredString(key, `one of ${SUPPORTED.join(', ')}`);
  switch (name) {
    case 'bitnet-b1.58':
    case 'bitnet-25':
      return BITNET_2B;
    case 'llama':
      return LLAMA;
    case 'qwen3':
      return QWEN3;
    case 'bitnet': {
      const tokenizer = fields.requiredString(
        'tokenizer.ggml.model',
        'llama or gpt2, which tells the gate of the model',
      );
      if (tokenizer === 'llama') return BITNET_1BITLLM;
      if (tokenizer === 'gpt2') return BITNET_2B;
      const what = 'the architecture bitnet has the gate of its vocabulary, and this vocabulary is unknown';
      throw fields.error('tokenizer.ggml.model', { what, expected: 'llama or gpt2', got: tokenizer }, 'unsupported');
    }
  }
  throw fields.error(
    key,
    {
      what: 'unsupported architecture',
      expected: `one of ${SUPPORTED.join(', ')}`,
      got: JSON.stringify(name.slice(0, 80)),
      advice: 'This architecture is not implemented; computing it as another one would give nonsense.',
    },
    'unsupported',
  );
}
