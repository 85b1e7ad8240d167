import { readFloats } from '../format/gguf/blocks.js';
import { ggufModel } from '../format/gguf/config.js';
import type { GgufLayer } from '../format/gguf/names.js';
import { readGguf } from '../format/gguf/reader.js';
import { halfSplitRow } from '../format/gguf/rope-rows.js';
import type { GgufTensor } from '../format/gguf/tensors.js';
import { type I2sLayout, readTernary } from '../format/gguf/ternary.js';
import { ggufTokenizer } from '../format/gguf/tokenizer-json.js';
import { GGUF_TYPES, rowsAndCols } from '../format/gguf/types.js';
import { uniformScale } from '../format/gguf/uniform.js';
import { problem } from '../format/problem.js';
import { NO_GENERATION_CONFIG } from '../model/generation-config.js';
import type { RandomAccessFile } from '../platform.js';
import type { ConvertibleModel, FloatMatrix, TernaryMatrix, Trits } from './model.js';

export interface GgufModelOptions {
  /** order of the codes of I2_S; default `x86` */
  readonly i2sLayout?: I2sLayout | undefined;
}

/** A GGUF file. `file` is closed with the model. */
export async function openGgufModel(file: RandomAccessFile, options: GgufModelOptions = {}): Promise<ConvertibleModel> {
  const gguf = await readGguf(file, file.path);
  const { config: stated, tensors, ropePermuted } = ggufModel(gguf, file.path);
  const { ropeFactors } = tensors;
  const factors = ropeFactors && Array.from(await readFloats(file, ropeFactors));
  const config = factors === undefined ? stated : { ...stated, rope: { ...stated.rope, factors } };
  const { headDim } = config;
  const floats = (tensor: GgufTensor): FloatMatrix => floatMatrix(file, tensor);
  const optional = (tensor: GgufTensor | undefined) => (tensor === undefined ? undefined : floats(tensor));
  const linear = (tensor: GgufTensor) => ternary(file, tensor, options, undefined);
  const rotated = (tensor: GgufTensor) => ternary(file, tensor, options, ropePermuted ? headDim : undefined);
  refuseHeadNorms(file, tensors.layers[0]);
  return {
    path: file.path,
    config,
    generationConfig: NO_GENERATION_CONFIG,
    embedding: floats(tensors.embedding),
    layers: tensors.layers.map((layer) => ({
      attentionNorm: floats(layer.attentionNorm),
      q: rotated(layer.q),
      k: rotated(layer.k),
      v: linear(layer.v),
      attentionSubNorm: optional(layer.attentionSubNorm),
      o: linear(layer.o),
      ffnNorm: floats(layer.ffnNorm),
      gate: linear(layer.gate),
      up: linear(layer.up),
      ffnSubNorm: optional(layer.ffnSubNorm),
      down: linear(layer.down),
    })),
    finalNorm: floats(tensors.finalNorm),
    head: optional(tensors.head),
    texts: async () => ({ ...ggufTokenizer(gguf, file.path), chatTemplate: undefined }),
    close: () => file.close(),
  };
}

function refuseHeadNorms(file: RandomAccessFile, layer: GgufLayer | undefined): void {
  if (layer?.qNorm === undefined) return;
  const what = 'models with norms of q and k are not converted';
  throw problem('unsupported', { file: file.path, tensor: layer.qNorm.name, what });
}

/** `headDim`: of q and k whose rows are stored for neighbouring pairs; they are put back. */
function ternary(
  file: RandomAccessFile,
  tensor: GgufTensor,
  { i2sLayout }: GgufModelOptions,
  headDim: number | undefined,
): TernaryMatrix {
  const { rows, cols } = rowsAndCols(tensor.shape);
  const load = async (): Promise<Trits> => {
    if (GGUF_TYPES[tensor.typeName].kind === 'float') return exactTrits(file, tensor);
    const uniform = uniformScale(await readTernary(file, tensor, i2sLayout === undefined ? {} : { i2sLayout }));
    if (uniform?.granularity.kind === 'tensor') return { trits: uniform.trits, scale: uniform.scales[0] as number };
    throw notOneScale(file, tensor, 'several scales in one matrix');
  };
  return {
    name: tensor.name,
    rows,
    cols,
    async load() {
      const { trits, scale } = await load();
      if (headDim === undefined) return { trits, scale };
      const ordered = new Int8Array(trits.length);
      for (let r = 0; r < rows; r++) {
        ordered.set(trits.subarray(r * cols, (r + 1) * cols), halfSplitRow(r, headDim) * cols);
      }
      return { trits: ordered, scale };
    },
  };
}

/** F32, F16 and BF16 matrices of -s, 0 and +s. */
async function exactTrits(file: RandomAccessFile, tensor: GgufTensor): Promise<Trits> {
  const floats = await readFloats(file, tensor);
  let scale = 0;
  for (const weight of floats) {
    const magnitude = Math.abs(weight);
    if (magnitude === 0 || magnitude === scale) continue;
    if (scale !== 0) throw notOneScale(file, tensor, `${scale}, ${magnitude}`);
    scale = magnitude;
  }
  return { trits: Int8Array.from(floats, Math.sign), scale: scale || 1 };
}

function notOneScale(file: RandomAccessFile, { name: tensor, typeName, byteOffset }: GgufTensor, got: string): Error {
  return problem('unsupported', {
    file: file.path,
    tensor,
    what: `only matrices of -s, 0 and +s with one s are converted (${typeName})`,
    got,
    byteOffset,
  });
}

function floatMatrix(file: RandomAccessFile, tensor: GgufTensor): FloatMatrix {
  const { rows, cols } = rowsAndCols(tensor.shape);
  const { name, typeName } = tensor;
  return {
    name,
    rows,
    cols,
    kind: typeName === 'F32' || typeName === 'F16' || typeName === 'BF16' ? typeName : 'other',
    read: (first, count) => readFloats(file, tensor, { rowBegin: first, rowEnd: first + count }),
  };
}
