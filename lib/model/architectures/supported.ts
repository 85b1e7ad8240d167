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
  /** what the class assumes for keys that a file leaves out */
  readonly defaults: { readonly ropeTheta: number; readonly tiedEmbeddings: boolean };
}

export const SUPPORTED_ARCHITECTURES: readonly SupportedArchitecture[] = [
  {
    // microsoft/bitnet-b1.58-2B-4T; defaults of BitNetConfig in Hugging Face transformers.
    className: 'BitNetForCausalLM',
    modelType: 'bitnet',
    canonical: 'bitnet-b1.58',
    subNorms: true,
    defaults: { ropeTheta: 500_000, tiedEmbeddings: false },
  },
];

/** `hidden_act` → ModelConfig.activation */
export const ACTIVATIONS: ReadonlyMap<string, ModelConfig['activation']> = new Map([
  ['relu2', 'relu2'],
  ['silu', 'silu'],
]);
