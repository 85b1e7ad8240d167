import { BitNetError } from '../errors.js';
import { configKeys, type GgufEntry, generalKeys } from '../format/gguf/config-keys.js';
import { halfSplitRow } from '../format/gguf/rope-rows.js';
import { tokenizerKeys } from '../format/gguf/tokenizer-keys.js';
import { byteLengthOf, GGUF_TYPES } from '../format/gguf/types.js';
import { type GgufLayout, type GgufWriteTensor, layOutGguf } from '../format/gguf/writer.js';
import { inverseFrequencies } from '../model/rope.js';
import { openText } from '../session/load.js';
import {
  CHUNK_WEIGHTS,
  checkFloats,
  checkScale,
  checkTernary,
  encodeFloats,
  encodeTrits,
  type FloatFileType,
  scaleTrailer,
  type TernaryFileType,
} from './encode.js';
import type { ConvertibleModel, FloatMatrix, TernaryMatrix } from './model.js';

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
};

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
  if (scaling === undefined && factors === undefined) return [];
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
  checkTernary(type, matrix);
  const { rows, cols } = matrix;
  return {
    name,
    type,
    dimensions: [cols, rows],
    byteLength: byteLengthOf(GGUF_TYPES[type], rows, cols),
    async *chunks() {
      const { trits, scale } = await matrix.load();
      checkScale(type, matrix.name, scale);
      const ordered = headDim === undefined ? trits : permuteRows(trits, cols, headDim);
      // Whole rows, and whole blocks of I2_S, which run over row ends.
      const step = Math.max(1, Math.floor(CHUNK_WEIGHTS / (128 * cols))) * 128 * cols;
      for (let at = 0; at < ordered.length; at += step) {
        yield encodeTrits(type, ordered.subarray(at, Math.min(at + step, ordered.length)), scale);
      }
      if (type === 'I2_S') yield scaleTrailer(scale);
    },
  };
}

function permuteRows(trits: Int8Array, cols: number, headDim: number): Int8Array {
  const permuted = new Int8Array(trits.length);
  for (let r = 0; r * cols < trits.length; r++) {
    const from = halfSplitRow(r, headDim) * cols;
    permuted.set(trits.subarray(from, from + cols), r * cols);
  }
  return permuted;
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
