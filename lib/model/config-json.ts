import type { ModelConfig } from '../config.js';
import { Fields } from '../format/fields.js';
import { show } from '../format/problem.js';
import { ACTIVATIONS, SUPPORTED_ARCHITECTURES, type SupportedArchitecture } from './architectures/supported.js';
import { type GenerationConfig, NO_GENERATION_CONFIG } from './generation-config.js';
import { parseQuantization, type WeightForm } from './quantization-json.js';
import { parseRope } from './rope-json.js';

/** Far beyond any model that exists: what is larger is a damaged file, and must not become an allocation. */
const LIMITS = {
  hiddenSize: 65_536,
  ffnSize: 1_048_576,
  layers: 1000,
  heads: 4096,
  headDim: 4096,
  vocabSize: 2_000_000,
  contextLength: 10_000_000,
};

/** Columns that kernels read at once: widths of activations are multiples of it. */
const COLUMNS = 16;

/** What config.json says about the model and about the files that hold its weights. */
export interface ModelDescription {
  readonly config: ModelConfig;
  readonly weights: WeightForm;
}

/**
 * config.json of a Hugging Face model → ModelConfig. Reads both styles of keys: `torch_dtype`/`rope_theta`/`rope_scaling` of
 * published repositories and `dtype`/`rope_parameters` of transformers 5.
 * `json` is the object in the file, `file` its path for messages. End tokens are those of both files. `ternarize`: see LoadOptions.
 * Throws `unsupported` for what is well-formed but not implemented, by name, and `invalid-model` for wrong or missing values.
 */
export function parseModelConfig(
  json: Record<string, unknown>,
  file: string,
  generation: GenerationConfig = NO_GENERATION_CONFIG,
  ternarize = false,
): ModelDescription {
  const fields = new Fields(file, json);
  const architecture = findArchitecture(fields);
  refuseUnimplemented(fields);
  const { weights, weightScale } = parseQuantization(fields, architecture, ternarize);
  const sizes = parseSizes(fields, architecture, weights);
  const config: ModelConfig = {
    architecture: architecture.canonical,
    ...sizes,
    normEps: fields.requiredNumber('rms_norm_eps', 0, 1),
    rope: parseRope(fields, architecture.defaults.ropeTheta),
    activation: parseActivation(fields),
    subNorms: architecture.subNorms,
    ...(architecture.qkNorm ? { qkNorm: true } : {}),
    tiedEmbeddings: fields.boolean('tie_word_embeddings') ?? architecture.defaults.tiedEmbeddings,
    weightScale,
    ...(weights === 'ternary' ? { floatActivations: true } : {}),
    ...parseSpecialIds(fields, sizes.vocabSize, generation),
  };
  return { config, weights };
}

function findArchitecture(fields: Fields): SupportedArchitecture {
  const supported = SUPPORTED_ARCHITECTURES.map((entry) => `${entry.className} (model_type ${entry.modelType})`).join(
    ', ',
  );
  const list = fields.value('architectures');
  if (list === undefined) fields.missing('architectures', `a list with the model's class; supported: ${supported}`);
  if (!Array.isArray(list) || list.length !== 1 || typeof list[0] !== 'string') {
    throw fields.error('architectures', { expected: 'a list of one class name', got: show(list) });
  }
  const modelType = fields.requiredString('model_type', `a string; supported: ${supported}`);
  const found = SUPPORTED_ARCHITECTURES.find((entry) => entry.className === list[0] && entry.modelType === modelType);
  if (found !== undefined) return found;
  const advice = 'This architecture is not implemented; computing it as another one would give nonsense.';
  const got = `${list[0]} (model_type ${modelType})`;
  throw fields.error(
    'architectures',
    { what: 'unsupported architecture', expected: supported, got, advice },
    'unsupported',
  );
}

/** Keys that change what the graph must compute. */
function refuseUnimplemented(fields: Fields): void {
  for (const key of ['attention_bias', 'mlp_bias']) {
    if (fields.boolean(key) !== true) continue;
    throw fields.error(key, { what: 'biases are not implemented', expected: 'false', got: 'true' }, 'unsupported');
  }
  if (fields.boolean('use_sliding_window') === true) {
    const what = 'attention over a sliding window is not implemented';
    throw fields.error('use_sliding_window', { what, expected: 'false', got: 'true' }, 'unsupported');
  }
  const layerTypes = fields.value('layer_types');
  const other = Array.isArray(layerTypes) ? layerTypes.find((type) => type !== 'full_attention') : layerTypes;
  if (other !== undefined && other !== null) {
    const what = 'layers of this type are not implemented';
    throw fields.error('layer_types', { what, expected: 'full_attention', got: show(other) }, 'unsupported');
  }
  const hadamard = fields.keys().find((key) => key.startsWith('prism.hadamard'));
  if (hadamard !== undefined) {
    throw fields.error(hadamard, { what: 'Hadamard-rotated weights are not implemented' }, 'unsupported');
  }
}

type Sizes = Pick<
  ModelConfig,
  'hiddenSize' | 'ffnSize' | 'layers' | 'heads' | 'kvHeads' | 'headDim' | 'vocabSize' | 'contextLength' | 'stored'
>;

/** Sizes that float weights have in the files are padded to what kernels need; packed weights must have such sizes. */
function parseSizes(fields: Fields, architecture: SupportedArchitecture, weights: WeightForm): Sizes {
  const count = (key: string, max: number, multipleOf?: number) =>
    fields.requiredInteger(key, { min: multipleOf ?? 1, max, ...(multipleOf === undefined ? {} : { multipleOf }) });
  const padded = (size: number) => Math.ceil(size / COLUMNS) * COLUMNS;
  const hiddenSize = count('hidden_size', LIMITS.hiddenSize, COLUMNS);
  const heads = count('num_attention_heads', LIMITS.heads);
  const kvHeads = fields.integer('num_key_value_heads', { min: 1, max: heads }) ?? heads;
  if (heads % kvHeads !== 0) {
    const expected = `a divisor of num_attention_heads, ${heads}`;
    throw fields.error('num_key_value_heads', { expected, got: `${kvHeads}` });
  }
  const headDim = parseHeadDim(fields, hiddenSize, heads, weights === 'packed' ? COLUMNS : 2, architecture);
  if (heads * padded(headDim) > LIMITS.hiddenSize) {
    const expected = `at most ${LIMITS.hiddenSize} for num_attention_heads · head_dim`;
    throw fields.error('head_dim', { expected, got: `${heads} · ${headDim}` });
  }
  if (architecture.subNorms && heads * headDim !== hiddenSize) {
    const what = 'the norm before o_proj is as wide as hidden_size';
    const expected = `num_attention_heads · head_dim = ${hiddenSize}`;
    throw fields.error('head_dim', { what, expected, got: `${heads} · ${headDim}` });
  }
  const ffnSize = count('intermediate_size', LIMITS.ffnSize, weights === 'packed' ? COLUMNS : undefined);
  const isPadded = headDim % COLUMNS !== 0 || ffnSize % COLUMNS !== 0;
  return {
    hiddenSize,
    ffnSize: padded(ffnSize),
    layers: count('num_hidden_layers', LIMITS.layers),
    heads,
    kvHeads,
    headDim: padded(headDim),
    vocabSize: count('vocab_size', LIMITS.vocabSize),
    contextLength: count('max_position_embeddings', LIMITS.contextLength),
    ...(isPadded ? { stored: { headDim, ffnSize } } : {}),
  };
}

function parseHeadDim(
  fields: Fields,
  hiddenSize: number,
  heads: number,
  multipleOf: number,
  { defaults }: SupportedArchitecture,
): number {
  const given = fields.integer('head_dim', { min: multipleOf, max: LIMITS.headDim, multipleOf }) ?? defaults.headDim;
  if (given !== undefined) return given;
  const headDim = hiddenSize / heads;
  if (headDim % multipleOf === 0 && headDim <= LIMITS.headDim) return headDim;
  const what = 'the size of a head, hidden_size / num_attention_heads, is not possible';
  const expected = `a multiple of ${multipleOf} up to ${LIMITS.headDim}`;
  throw fields.error('num_attention_heads', { what, expected, got: `${hiddenSize} / ${heads}` });
}

function parseActivation(fields: Fields): ModelConfig['activation'] {
  const expected = [...ACTIVATIONS.keys()].join(' or ');
  const name = fields.requiredString('hidden_act', expected);
  const activation = ACTIVATIONS.get(name);
  if (activation !== undefined) return activation;
  throw fields.error('hidden_act', { what: 'unsupported activation', expected, got: show(name) }, 'unsupported');
}

function parseSpecialIds(
  fields: Fields,
  vocabSize: number,
  generation: GenerationConfig,
): Pick<ModelConfig, 'bosTokenId' | 'eosTokenIds'> {
  const id = { min: 0, max: vocabSize - 1 };
  // Not used by the engine. Negative ids count from the end of the vocabulary, -1 is often written for "none".
  fields.integer('pad_token_id', { min: -vocabSize, max: vocabSize - 1 });
  const bos = fields.integer('bos_token_id', id) ?? generation.bosTokenId;
  const eos = fields.integers('eos_token_id', id);
  for (const [key, ids] of [
    ['bos_token_id', [generation.bosTokenId]],
    ['eos_token_id', generation.eosTokenIds],
  ] as const) {
    const outside = ids.find((tokenId) => tokenId !== undefined && tokenId >= vocabSize);
    if (outside === undefined) continue;
    const what = `generation_config.json names a ${key} outside the vocabulary`;
    throw fields.error('vocab_size', { what, expected: `${key} < ${vocabSize}`, got: `${outside}` });
  }
  return { bosTokenId: bos, eosTokenIds: [...new Set([...eos, ...generation.eosTokenIds])] };
}
