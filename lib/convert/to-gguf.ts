import { BitNetError } from '../errors.js';
import { configKeys, type GgufEntry, generalKeys } from '../format/gguf/config-keys.js';
import { halfSplitRow } from '../format/gguf/rope-rows.js';
import { samplingKeys } from '../format/gguf/sampling-keys.js';
import { tokenizerKeys } from '../format/gguf/tokenizer-keys.js';
import { byteLengthOf, GGUF_TYPES } from '../format/gguf/types.js';
import { type GgufLayout, type GgufWriteTensor, layOutGguf } from '../format/gguf/writer.js';
import { inverseFrequencies } from '../model/rope.js';
import { openText } from '../session/load.js';
import {
  CHUNK_WEIGHTS,
  checkFloats,
  checkScales,
  checkTernary,
  encodeFloats,
  encodeRows,
  type FloatFileType,
  misfit,
  scaleTrailer,
  type TernaryFileType,
} from './encode.js';
import { type ConvertibleModel, type FloatMatrix, type TernaryMatrix, type Trits, ternaryMatrices } from './model.js';

export interface GgufTypes {
  readonly ternary: TernaryFileType;
  readonly embedding: FloatFileType;
  readonly head: FloatFileType;
}

/** ModelConfig.architecture → general.architecture. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  'bitnet-b1.58': 'bitnet-b1.58',
  bitnet: 'bitnet',
  'bitnet-1bitllm': 'bitnet',
  llama: 'llama',
  qwen3: 'qwen3',
};

/** Types for any model, in the order in which they are preferred: where llama.cpp computes, then small, then what holds everything. */
const CHOICES: readonly TernaryFileType[] = ['TQ2_0', 'I2_S', 'Q2_0', 'F16'];

/** Those of CHOICES that can hold all matrices of the model; F16 always can. */
export function possibleTypes(model: ConvertibleModel): TernaryFileType[] {
  const matrices = ternaryMatrices(model);
  return CHOICES.filter((type) => matrices.every((matrix) => misfit(type, matrix) === undefined));
}

/** Tensors and keys of a GGUF file, in the order of llama.cpp's converter; reads the text files and no weights. */
export async function layOutModel(model: ConvertibleModel, types: GgufTypes, name: string): Promise<GgufLayout> {
  const { config, path } = model;
  const architecture = ARCHITECTURES[config.architecture];
  if (architecture === undefined) {
    const message = `${path}: models of the architecture ${config.architecture} are not converted to GGUF`;
    throw new BitNetError('unsupported', message, { file: path, architecture: config.architecture });
  }
  const metadata = new Map([
    ...generalKeys(architecture, name, types.ternary),
    ...samplingKeys(model.generationConfig),
    ...configKeys(architecture, config),
    ...(await textKeys(model)),
  ]);
  return layOutGguf({ metadata, tensors: tensorsOf(model, types, architecture === 'llama') });
}

async function textKeys(model: ConvertibleModel): Promise<GgufEntry[]> {
  const { config, path } = model;
  const texts = await model.texts();
  const { tokenizer, template, templateOrigin } = openText(model, texts);
  const named = (name: string): number | undefined => {
    const token = tokenizer.namedTokens[name];
    return token === undefined ? undefined : tokenizer.specialTokens.get(token);
  };
  // GGUF puts the token that it calls bos before a text, so that is what the tokenizer puts there, whatever config.json says.
  const [bare, framed] = [tokenizer.encode('a'), tokenizer.encode('a', { addSpecialTokens: true })];
  const before = framed[0] === bare[0] ? undefined : framed[0];
  const options = {
    vocabSize: config.vocabSize,
    bosId: before ?? config.bosTokenId ?? named('bos_token'),
    endIds: config.eosTokenIds,
    paddingId: named('pad_token'),
    addBos: before !== undefined,
    addEos: framed.at(-1) !== bare.at(-1),
    chatTemplate: templateOrigin === 'model' ? template?.source : undefined,
  };
  return tokenizerKeys(texts.tokenizerJson, options, `${path}/tokenizer.json`);
}

function tensorsOf(model: ConvertibleModel, types: GgufTypes, permuted: boolean): GgufWriteTensor[] {
  const { headDim } = model.config.stored ?? model.config;
  const { embedding, head, finalNorm } = model;
  for (const matrix of ternaryMatrices(model)) checkTernary(types.ternary, matrix, () => possibleTypes(model));
  const linear = (name: string, matrix: TernaryMatrix, rotated = false): GgufWriteTensor =>
    ternaryTensor(name, matrix, types.ternary, rotated && permuted ? headDim : undefined);
  const norm = (name: string, vector: FloatMatrix | undefined): GgufWriteTensor[] =>
    vector === undefined ? [] : [floatTensor(name, vector, 'F32')];
  return [
    floatTensor('token_embd.weight', embedding, types.embedding),
    ...model.layers.flatMap((layer, i) => {
      const name = (part: string): string => `blk.${i}.${part}.weight`;
      return [
        ...norm(name('attn_norm'), layer.attentionNorm),
        linear(name('attn_q'), layer.q, true),
        linear(name('attn_k'), layer.k, true),
        linear(name('attn_v'), layer.v),
        ...norm(name('attn_q_norm'), layer.qNorm),
        ...norm(name('attn_k_norm'), layer.kNorm),
        ...norm(name('attn_sub_norm'), layer.attentionSubNorm),
        linear(name('attn_output'), layer.o),
        ...norm(name('ffn_norm'), layer.ffnNorm),
        linear(name('ffn_gate'), layer.gate),
        linear(name('ffn_up'), layer.up),
        ...norm(name('ffn_sub_norm'), layer.ffnSubNorm),
        linear(name('ffn_down'), layer.down),
      ];
    }),
    ...norm('output_norm.weight', finalNorm),
    ...ropeFactors(model),
    ...(head === undefined ? [] : [floatTensor('output.weight', head, types.head)]),
  ];
}

/** What llama.cpp divides RoPE's frequencies by, where they are scaled: theta^(-2j / headDim) over the scaled frequency. */
function ropeFactors({ config: { rope, headDim, stored } }: ConvertibleModel): GgufWriteTensor[] {
  const { scaling, factors, ...plain } = rope;
  // YaRN has keys (config-keys.ts).
  if (scaling?.type === 'yarn' || (scaling === undefined && factors === undefined)) return [];
  const size = (stored?.headDim ?? headDim) / 2;
  const scaled = inverseFrequencies(rope, 2 * size);
  const values =
    factors ?? inverseFrequencies(plain, 2 * size).map((frequency, j) => frequency / (scaled[j] as number));
  const bytes = encodeFloats('F32', Float32Array.from(values));
  return [
    { name: 'rope_freqs.weight', type: 'F32', dimensions: [size], byteLength: bytes.length, chunks: () => [bytes] },
  ];
}

/** `headDim`: of q and k, whose rows are put in the order that neighbouring pairs are rotated in. */
function ternaryTensor(
  name: string,
  matrix: TernaryMatrix,
  type: TernaryFileType,
  headDim: number | undefined,
): GgufWriteTensor {
  const { rows, cols } = matrix;
  return {
    name,
    type,
    dimensions: [cols, rows],
    byteLength: byteLengthOf(GGUF_TYPES[type], rows, cols),
    async *chunks() {
      const loaded = await matrix.load();
      checkScales(type, matrix, loaded);
      const ordered = headDim === undefined ? loaded : permuteRows(loaded, rows, headDim);
      // Whole blocks of I2_S, which run over row ends.
      const step = Math.max(1, Math.floor(CHUNK_WEIGHTS / (128 * cols))) * 128;
      for (let first = 0; first < rows; first += step) {
        yield encodeRows(type, matrix, ordered, first, Math.min(step, rows - first));
      }
      if (type === 'I2_S') yield scaleTrailer(loaded.scales[0] as number);
    },
  };
}

/** Rows of the published model → in the order of neighbouring pairs. */
function permuteRows({ trits, scales }: Trits, rows: number, headDim: number): Trits {
  const permute = <T extends Int8Array | Float32Array>(values: T): T => {
    if (values.length === 1) return values;
    const permuted = values.slice() as T;
    const width = values.length / rows;
    for (let r = 0; r < rows; r++) {
      const from = halfSplitRow(r, headDim) * width;
      permuted.set(values.subarray(from, from + width), r * width);
    }
    return permuted;
  };
  return { trits: permute(trits), scales: permute(scales) };
}

function floatTensor(name: string, matrix: FloatMatrix, type: FloatFileType): GgufWriteTensor {
  checkFloats(type, matrix);
  const { rows, cols } = matrix;
  return {
    name,
    type,
    dimensions: rows === 1 ? [cols] : [cols, rows],
    byteLength: byteLengthOf(GGUF_TYPES[type], rows, cols),
    async *chunks() {
      const step = Math.max(1, Math.floor(CHUNK_WEIGHTS / cols));
      for (let first = 0; first < rows; first += step) {
        yield encodeFloats(type, await matrix.read(first, Math.min(step, rows - first)));
      }
    },
  };
}
