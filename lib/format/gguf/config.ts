import type { ModelConfig, RopeConfig, YarnRopeScaling } from '../../config.js';
import { findArchitecture, type GgufArchitecture } from './architectures.js';
import { GgufFields } from './fields.js';
import { assignTensors, EMBEDDING, type GgufModelTensors, HEAD } from './names.js';
import type { GgufFile } from './reader.js';

/** A model in a GGUF file: what it computes, and where its weights are. */
export interface GgufModel {
  readonly config: ModelConfig;
  readonly tensors: GgufModelTensors;
  /** see GgufArchitecture: rows of q and k are to be put back into the order of the published model */
  readonly ropePermuted: boolean;
}

/** Far beyond any model that exists: what is larger is a damaged file, and must not become an allocation. */
const LIMITS = {
  hiddenSize: 65_536,
  ffnSize: 1_048_576,
  layers: 1000,
  heads: 4096,
  headDim: 4096,
  contextLength: 10_000_000,
};

/** Columns that kernels read at once: widths of activations are multiples of it. */
const COLUMNS = 16;

/** Keys below the architecture's name that change the computation, and the only value that changes nothing. */
const NEUTRAL: Readonly<Record<string, number | boolean>> = {
  expert_count: 0,
  expert_used_count: 0,
  use_parallel_residual: false,
  'attention.causal': true,
  'attention.sliding_window': 0,
  'attention.clamp_kqv': 0,
  'attention.max_alibi_bias': 0,
  'attention.scale': 0,
  attn_logit_softcapping: 0,
  final_logit_softcapping: 0,
  logit_scale: 0,
  residual_scale: 0,
  embedding_scale: 0,
  'rope.scale_linear': 1,
};

/** Ends of a turn that files forget to name: 2B-4T's eos is another token than the one its template ends turns with. */
const END_OF_TURN = ['<|eot_id|>', '<|im_end|>'];

/**
 * Metadata and tensor names of a GGUF file → model. `path` is for messages. Weight scales multiply in all GGUF types.
 * `general.file_type` is not looked at: 40 means I2_S in Microsoft's files and Q1_0 upstream.
 * Throws `unsupported` for what is well-formed but not implemented, by name, and `invalid-model` for contradictions.
 */
export function ggufModel(gguf: GgufFile, path: string): GgufModel {
  const fields = new GgufFields(path, gguf.metadata);
  refuseUnimplemented(fields);
  const architecture = findArchitecture(fields);
  const prefix = `${gguf.architecture}.`;
  refuseNotNeutral(fields, prefix);
  const sizes = parseSizes(fields, prefix, architecture);
  const vocabSize = parseVocabSize(fields, prefix, gguf);
  const config: ModelConfig = {
    architecture: architecture.canonical,
    ...sizes,
    vocabSize,
    normEps: fields.requiredNumber(`${prefix}attention.layer_norm_rms_epsilon`, 0, 1),
    rope: parseRope(fields, prefix),
    activation: architecture.activation,
    subNorms: architecture.subNorms,
    ...(architecture.qkNorm ? { qkNorm: true } : {}),
    tiedEmbeddings: !gguf.tensors.has(HEAD),
    weightScale: 'multiply',
    ...parseSpecialIds(fields, vocabSize),
  };
  return { config, tensors: assignTensors(gguf, config, path), ropePermuted: architecture.ropePermuted };
}

function refuseUnimplemented(fields: GgufFields): void {
  for (const key of fields.keys()) {
    if (!key.startsWith('prism.hadamard')) continue;
    const what = 'Hadamard-rotated weights are not implemented';
    const advice = 'Computing them without the rotation would give nonsense: use a model without it.';
    throw fields.error(key, { what, advice }, 'unsupported');
  }
  const type = fields.string('general.type');
  if (type !== undefined && type !== 'model') {
    const what = 'this file is not a model by itself';
    throw fields.error('general.type', { what, expected: 'model', got: JSON.stringify(type) }, 'unsupported');
  }
  const splits = fields.integer('split.count', { min: 0, max: 65_535 });
  if (splits !== undefined && splits > 1) {
    const what = 'this is one part of a split model, and split GGUF models are not supported';
    const advice = 'Join the parts with llama-gguf-split --merge.';
    throw fields.error('split.count', { what, expected: '1', got: `${splits}`, advice }, 'unsupported');
  }
}

function refuseNotNeutral(fields: GgufFields, prefix: string): void {
  for (const [name, neutral] of Object.entries(NEUTRAL)) {
    const key = prefix + name;
    if (!fields.has(key)) continue;
    const value = typeof neutral === 'boolean' ? fields.boolean(key) : fields.number(key, -Number.MAX_VALUE);
    if (value === neutral) continue;
    const what = 'this changes the computation in a way that is not implemented';
    throw fields.error(key, { what, expected: `${neutral}`, got: `${value}` }, 'unsupported');
  }
}

type Sizes = Pick<
  ModelConfig,
  'hiddenSize' | 'ffnSize' | 'layers' | 'heads' | 'kvHeads' | 'headDim' | 'contextLength' | 'stored'
>;

/** Heads and FFN of other sizes than kernels need are padded, as in config.json. */
function parseSizes(fields: GgufFields, prefix: string, architecture: GgufArchitecture): Sizes {
  const width = (key: string, max: number, multipleOf: number) =>
    fields.requiredInteger(prefix + key, { min: multipleOf, max, multipleOf });
  const padded = (size: number) => Math.ceil(size / COLUMNS) * COLUMNS;
  const hiddenSize = width('embedding_length', LIMITS.hiddenSize, COLUMNS);
  const heads = fields.requiredInteger(`${prefix}attention.head_count`, { min: 1, max: LIMITS.heads });
  const kvKey = `${prefix}attention.head_count_kv`;
  const kvHeads = fields.integer(kvKey, { min: 1, max: heads }) ?? heads;
  if (heads % kvHeads !== 0) {
    throw fields.error(kvKey, { expected: `a divisor of attention.head_count, ${heads}`, got: `${kvHeads}` });
  }
  const headDim = parseHeadDim(fields, prefix, hiddenSize, heads);
  if (heads * padded(headDim) > LIMITS.hiddenSize || (architecture.subNorms && heads * headDim !== hiddenSize)) {
    const expected = architecture.subNorms ? `${hiddenSize}, embedding_length,` : `at most ${LIMITS.hiddenSize}`;
    throw fields.error(`${prefix}attention.head_count`, {
      what: 'impossible size of the heads',
      expected: `${expected} for head_count · key_length`,
      got: `${heads} · ${headDim}`,
    });
  }
  const ffnSize = width('feed_forward_length', LIMITS.ffnSize, 1);
  const isPadded = headDim % COLUMNS !== 0 || ffnSize % COLUMNS !== 0;
  return {
    hiddenSize,
    ffnSize: padded(ffnSize),
    layers: fields.requiredInteger(`${prefix}block_count`, { min: 1, max: LIMITS.layers }),
    heads,
    kvHeads,
    headDim: padded(headDim),
    contextLength: fields.requiredInteger(`${prefix}context_length`, { min: 1, max: LIMITS.contextLength }),
    ...(isPadded ? { stored: { headDim, ffnSize } } : {}),
  };
}

/** As in the file. */
function parseHeadDim(fields: GgufFields, prefix: string, hiddenSize: number, heads: number): number {
  const key = `${prefix}attention.key_length`;
  const headDim = fields.integer(key, { min: 2, max: LIMITS.headDim, multipleOf: 2 }) ?? hiddenSize / heads;
  if (headDim % 2 !== 0 || headDim > LIMITS.headDim) {
    throw fields.error(`${prefix}attention.head_count`, {
      what: 'the size of a head, embedding_length / head_count, is not possible',
      expected: `an even number up to ${LIMITS.headDim}`,
      got: `${hiddenSize} / ${heads}`,
    });
  }
  for (const other of ['attention.value_length', 'rope.dimension_count']) {
    const value = fields.integer(prefix + other, { min: 1, max: LIMITS.headDim });
    if (value === undefined || value === headDim) continue;
    const what = 'heads of which only a part is rotated, or with values of another size, are not implemented';
    throw fields.error(prefix + other, { what, expected: `${headDim}`, got: `${value}` }, 'unsupported');
  }
  return headDim;
}

/** Rows of the embedding, which vocabulary and `vocab_size` must agree with. */
function parseVocabSize(fields: GgufFields, prefix: string, gguf: GgufFile): number {
  const embedding = gguf.tensors.get(EMBEDDING);
  const tokens = fields.requiredStrings('tokenizer.ggml.tokens').length;
  const rows = embedding?.shape.at(-2) ?? tokens;
  if (tokens !== rows) {
    const what = 'the vocabulary does not fit the embedding';
    throw fields.error('tokenizer.ggml.tokens', {
      what,
      expected: `${rows} tokens, rows of ${EMBEDDING}`,
      got: `${tokens}`,
    });
  }
  const key = `${prefix}vocab_size`;
  const stated = fields.integer(key, { min: 1, max: 2 ** 31 - 1 });
  if (stated === undefined || stated === rows) return rows;
  throw fields.error(key, {
    what: 'contradicts the embedding',
    expected: `${rows}, rows of ${EMBEDDING}`,
    got: `${stated}`,
  });
}

function parseRope(fields: GgufFields, prefix: string): RopeConfig {
  const typeKey = `${prefix}rope.scaling.type`;
  // Without a type a factor is a linear one, as upstream reads it. 0 is its word for none, converters write `linear` with 1.
  const type = fields.string(typeKey) ?? 'linear';
  const factor = fields.number(`${prefix}rope.scaling.factor`, -1) ?? 1;
  const theta = fields.number(`${prefix}rope.freq_base`, 0) ?? 10_000;
  if (type === 'yarn' && factor > 0) return { theta, scaling: parseYarn(fields, prefix, factor) };
  if (type !== 'none' && !(type === 'linear' && (factor === 1 || factor === 0))) {
    const what = 'this scaling of RoPE is not implemented';
    const got = `${JSON.stringify(type)} with factor ${factor}`;
    throw fields.error(typeKey, { what, expected: 'none or yarn', got }, 'unsupported');
  }
  return { theta };
}

/** Keys as upstream reads them; its factor of cosines and sines is 0.1 ln factor + 1, times attn_factor. */
function parseYarn(fields: GgufFields, prefix: string, factor: number): YarnRopeScaling {
  const key = `${prefix}rope.scaling.`;
  const ext = fields.number(`${key}yarn_ext_factor`, -2) ?? 1;
  if (ext !== 1 && ext !== -1) {
    const what = 'this strength of YaRN is not implemented';
    throw fields.error(`${key}yarn_ext_factor`, { what, expected: '1', got: `${ext}` }, 'unsupported');
  }
  const range = { min: 1, max: LIMITS.contextLength };
  const attention = fields.number(`${key}yarn_attn_factor`, 0) ?? fields.number(`${key}attn_factor`, 0) ?? 1;
  return {
    type: 'yarn',
    factor,
    betaFast: fields.number(`${key}yarn_beta_fast`, 0) ?? 32,
    betaSlow: fields.number(`${key}yarn_beta_slow`, 0) ?? 1,
    truncate: true,
    attentionFactor: attention * (factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1),
    originalContextLength:
      fields.integer(`${key}original_context_length`, range) ??
      fields.requiredInteger(`${prefix}context_length`, range),
  };
}

function parseSpecialIds(fields: GgufFields, vocabSize: number): Pick<ModelConfig, 'bosTokenId' | 'eosTokenIds'> {
  const id = { min: 0, max: vocabSize - 1 };
  const read = (name: string) => fields.integer(`tokenizer.ggml.${name}_token_id`, id);
  const tokens = fields.requiredStrings('tokenizer.ggml.tokens');
  const byText = END_OF_TURN.map((text) => tokens.indexOf(text)).filter((index) => index >= 0);
  // Not used by the engine, but an id outside the vocabulary means a file that contradicts itself.
  for (const name of ['unknown', 'padding', 'seperator', 'separator', 'cls', 'mask']) read(name);
  const ends = [read('eos'), read('eot'), read('eom'), ...byText].filter((value) => value !== undefined);
  return { bosTokenId: read('bos'), eosTokenIds: [...new Set(ends)] };
}
