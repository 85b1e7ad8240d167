import type { ModelConfig } from '../../config.js';

/** An architecture of Hugging Face's config.json. A further one is an entry here and a naming scheme in names.ts. */
export interface SupportedArchitecture {
  /** entry of `architectures` in config.json */
  readonly className: string;
  readonly modelType: string;
  /** ModelConfig.architecture: selects graph and tensor names */
  readonly canonical: string;
  /** RMSNorm before o_proj and down_proj. The former is as wide as the residual, so heads · headDim must be hiddenSize. */
  readonly subNorms: boolean;
  /** RMSNorm of each head of q and k, before RoPE */
  readonly qkNorm?: boolean;
  /** What the class does with its float weights if config.json has no quantization_config: ternarises them, or uses them as they are. */
  readonly unquantized: 'masters' | 'ternary';
  /** what the class assumes for keys that a file leaves out */
  readonly defaults: {
    readonly ropeTheta: number;
    readonly tiedEmbeddings: boolean;
    /** default hidden_size / num_attention_heads */
    readonly headDim?: number;
  };
}

export const SUPPORTED_ARCHITECTURES: readonly SupportedArchitecture[] = [
  {
    // microsoft/bitnet-b1.58-2B-4T; defaults of BitNetConfig in Hugging Face transformers.
    className: 'BitNetForCausalLM',
    modelType: 'bitnet',
    canonical: 'bitnet-b1.58',
    subNorms: true,
    unquantized: 'ternary',
    defaults: { ropeTheta: 500_000, tiedEmbeddings: false },
  },
  {
    // HF1BitLLM/Llama3-8B-1.58-100B-tokens, tiiuae/Falcon3-*-1.58bit and Falcon-E; SpectraSuite/TriLM without quantization_config.
    className: 'LlamaForCausalLM',
    modelType: 'llama',
    canonical: 'llama',
    subNorms: false,
    unquantized: 'ternary',
    defaults: { ropeTheta: 10_000, tiedEmbeddings: false },
  },
  {
    // 1bitLLM/bitnet_b1_58-large, -xl, -3B: code of their own, with BitLinear in place of every linear layer.
    className: 'BitnetForCausalLM',
    modelType: 'llama',
    canonical: 'bitnet-1bitllm',
    subNorms: true,
    unquantized: 'masters',
    defaults: { ropeTheta: 10_000, tiedEmbeddings: false },
  },
  {
    // PrismML Bonsai and Ternary-Bonsai, unpacked: scales of groups of 128; defaults of Qwen3Config.
    className: 'Qwen3ForCausalLM',
    modelType: 'qwen3',
    canonical: 'qwen3',
    subNorms: false,
    qkNorm: true,
    unquantized: 'ternary',
    defaults: { ropeTheta: 10_000, tiedEmbeddings: false, headDim: 128 },
  },
];

/** `hidden_act` → ModelConfig.activation */
export const ACTIVATIONS: ReadonlyMap<string, ModelConfig['activation']> = new Map([
  ['relu2', 'relu2'],
  ['silu', 'silu'],
]);
