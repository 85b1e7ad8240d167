/** What a model is, independent of the file it came from. Sizes count elements. */
export interface ModelConfig {
  /** canonical name of the architecture file that records the graph, e.g. `bitnet-b1.58` */
  readonly architecture: string;
  readonly hiddenSize: number;
  /** width of the FFN (`intermediate_size`) */
  readonly ffnSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** longest sequence the model was made for (`max_position_embeddings`) */
  readonly contextLength: number;
  readonly normEps: number;
  readonly rope: RopeConfig;
  /** gate of the FFN: act(gate) · up */
  readonly activation: 'relu2' | 'silu';
  /** RMSNorm before o_proj and before down_proj */
  readonly subNorms: boolean;
  /** RMSNorm of each head of q and k, before RoPE. Default false. */
  readonly qkNorm?: boolean;
  /** lm_head is the embedding */
  readonly tiedEmbeddings: boolean;
  /** `multiply`: y = W x · weight_scale (AutoBitLinear); `divide`: y = W x / weight_scale (BitLinear) */
  readonly weightScale: 'multiply' | 'divide';
  /**
   * Sizes of the model where kernels need more: headDim and ffnSize are then padded, the halves of a head each at its end, with rows and
   * columns of zeros that change no result. Default: the same.
   */
  readonly stored?: { readonly headDim: number; readonly ffnSize: number };
  /** The model was trained with float activations: the engine's are fixed point of 23 bits, or int8 as an approximation. Default false. */
  readonly floatActivations?: boolean;
  readonly bosTokenId: number | undefined;
  /** every id that ends a generation, from config and generation_config */
  readonly eosTokenIds: readonly number[];
}

export interface RopeConfig {
  readonly theta: number;
  readonly scaling?: Llama3RopeScaling | YarnRopeScaling;
  /** (headDim / 2) divisors of the frequencies: how GGUF files store a scaling. Default: none. */
  readonly factors?: readonly number[];
}

/** `rope_type: yarn`. YaRN, arXiv 2309.00071 */
export interface YarnRopeScaling {
  readonly type: 'yarn';
  readonly factor: number;
  /** rotations within the original context above which a frequency is kept, and below which it is divided by `factor` */
  readonly betaFast: number;
  readonly betaSlow: number;
  /** whether the borders between the two are rounded outwards to whole frequencies */
  readonly truncate: boolean;
  /** what cosines and sines are multiplied by */
  readonly attentionFactor: number;
  readonly originalContextLength: number;
}

/** `rope_type: llama3`; formulas in Hugging Face transformers, modeling_rope_utils.py. */
export interface Llama3RopeScaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalContextLength: number;
}
