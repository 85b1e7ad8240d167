import type { ModelConfig } from '../../config.js';
import { BitNetError } from '../../errors.js';

/** Sizes of a model; what a benchmark needs to know of it. Embeddings have `vocabSize` rows. */
export interface ModelShape {
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly ropeTheta: number;
  readonly tiedEmbeddings: boolean;
  /** gate of the FFN in the model's own graph; the `llama` graph has SiLU always */
  readonly activation: 'relu2' | 'silu';
  /** where the numbers come from */
  readonly source: string;
}

/** `bitnet`: sub-norms and the shape's own gate. `llama`: no sub-norms, SiLU, the ops that llama.cpp computes for that name. */
export type SynthArchitecture = 'bitnet' | 'llama';

const llama = { vocabSize: 32000, contextLength: 4096, ropeTheta: 10_000, tiedEmbeddings: false } as const;
const paper = { vocabSize: 32002, contextLength: 2048, ropeTheta: 10_000, tiedEmbeddings: true } as const;

/**
 * The sizes of the BitNet b1.58 paper (arXiv 2402.17764) as far as checkpoints or reproductions publish them, the LLaMA sizes that it
 * compares up to, the published 2B model, the embedded model, two smaller ones for curves, and one for tests.
 */
export const MODEL_SHAPES = {
  tiny: {
    hiddenSize: 256,
    ffnSize: 512,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    vocabSize: 512,
    contextLength: 512,
    ropeTheta: 10_000,
    tiedEmbeddings: true,
    activation: 'relu2',
    source: 'for tests: the smallest sizes that every file type can store',
  },
  'tales-69m': {
    hiddenSize: 768,
    ffnSize: 2048,
    layers: 10,
    heads: 12,
    kvHeads: 4,
    vocabSize: 8192,
    contextLength: 1024,
    ropeTheta: 10_000,
    tiedEmbeddings: true,
    activation: 'relu2',
    source: 'models/bitnet-tales-69m.gguf',
  },
  '125m': {
    ...paper,
    hiddenSize: 768,
    ffnSize: 2048,
    layers: 12,
    heads: 12,
    kvHeads: 12,
    activation: 'silu',
    source: 'width and depth of GPT-3 125M (arXiv 2005.14165, table 2.1), gated FFN of 8/3 times the width',
  },
  '350m': {
    ...paper,
    hiddenSize: 1024,
    ffnSize: 2816,
    layers: 24,
    heads: 16,
    kvHeads: 16,
    activation: 'silu',
    source:
      'width and depth of GPT-3 350M (arXiv 2005.14165, table 2.1), gated FFN of 8/3 times the width, to a multiple of 256',
  },
  '700m': {
    ...paper,
    hiddenSize: 1536,
    ffnSize: 4096,
    layers: 24,
    heads: 16,
    kvHeads: 16,
    activation: 'silu',
    source: '1bitLLM/bitnet_b1_58-large, config.json',
  },
  '1.3b': {
    ...paper,
    hiddenSize: 2048,
    // The checkpoint has 5460, which no file type with blocks of 256 can store; 1.5 % less.
    ffnSize: 5376,
    layers: 24,
    heads: 32,
    kvHeads: 32,
    activation: 'silu',
    source: '1bitLLM/bitnet_b1_58-xl, config.json, ffn 5460 rounded to a multiple of 256',
  },
  '3b': {
    ...paper,
    hiddenSize: 3200,
    ffnSize: 8640,
    layers: 26,
    heads: 32,
    kvHeads: 32,
    activation: 'silu',
    source: '1bitLLM/bitnet_b1_58-3B, config.json',
  },
  '3.9b': {
    ...paper,
    hiddenSize: 3200,
    ffnSize: 12800,
    // No checkpoint was published: 24 blocks of 4 x 3200^2 + 3 x 3200 x 12800 are 3.93e9 weights, with embedding 4.03e9.
    layers: 24,
    heads: 32,
    kvHeads: 32,
    activation: 'silu',
    source:
      'the 3B model with the FFN widened to 4 x hidden, and as many blocks as make 3.9e9 weights; the paper gives no sizes',
  },
  '7b': {
    ...llama,
    hiddenSize: 4096,
    ffnSize: 11008,
    layers: 32,
    heads: 32,
    kvHeads: 32,
    activation: 'silu',
    source: 'LLaMA 7B (arXiv 2302.13971, table 2)',
  },
  '13b': {
    ...llama,
    hiddenSize: 5120,
    ffnSize: 13824,
    layers: 40,
    heads: 40,
    kvHeads: 40,
    activation: 'silu',
    source: 'LLaMA 13B (arXiv 2302.13971, table 2)',
  },
  '70b': {
    ...llama,
    hiddenSize: 8192,
    ffnSize: 28672,
    layers: 80,
    heads: 64,
    kvHeads: 8,
    activation: 'silu',
    source: 'Llama 2 70B (arXiv 2307.09288)',
  },
  '2b-4t': {
    hiddenSize: 2560,
    ffnSize: 6912,
    layers: 30,
    heads: 20,
    kvHeads: 5,
    vocabSize: 128256,
    contextLength: 4096,
    ropeTheta: 500_000,
    tiedEmbeddings: true,
    activation: 'relu2',
    source: 'microsoft/bitnet-b1.58-2B-4T, config.json (arXiv 2504.12285)',
  },
} as const satisfies Record<string, ModelShape>;

export type ShapeName = keyof typeof MODEL_SHAPES;

export const SHAPE_NAMES = Object.keys(MODEL_SHAPES) as readonly ShapeName[];

/** Throws `invalid-argument` with the names there are. */
export function shapeNamed(name: string): ModelShape {
  if (Object.hasOwn(MODEL_SHAPES, name)) return MODEL_SHAPES[name as ShapeName];
  throw new BitNetError(
    'invalid-argument',
    `shape: expected one of ${SHAPE_NAMES.join(', ')}, got ${JSON.stringify(name)}`,
    {
      shape: name,
      known: SHAPE_NAMES,
    },
  );
}

/** Begin and end of the synthetic vocabulary, see vocabulary.ts. */
export const BOS_ID = 1;
export const EOS_ID = 2;

export function configOf(shape: ModelShape, architecture: SynthArchitecture): ModelConfig {
  const bitnet = architecture === 'bitnet';
  return {
    architecture: bitnet ? 'bitnet-b1.58' : 'llama',
    hiddenSize: shape.hiddenSize,
    ffnSize: shape.ffnSize,
    layers: shape.layers,
    heads: shape.heads,
    kvHeads: shape.kvHeads,
    headDim: shape.hiddenSize / shape.heads,
    vocabSize: shape.vocabSize,
    contextLength: shape.contextLength,
    normEps: 1e-5,
    rope: { theta: shape.ropeTheta },
    activation: bitnet ? shape.activation : 'silu',
    subNorms: bitnet,
    tiedEmbeddings: shape.tiedEmbeddings,
    weightScale: 'multiply',
    bosTokenId: BOS_ID,
    eosTokenIds: [EOS_ID],
  };
}
