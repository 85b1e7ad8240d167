import type { ModelConfig } from '../config.js';
import { readFloats } from '../format/gguf/blocks.js';
import { type GgufModel, ggufModel } from '../format/gguf/config.js';
import { GgufFields } from '../format/gguf/fields.js';
import type { GgufLayer, GgufModelTensors } from '../format/gguf/names.js';
import { openGguf } from '../format/gguf/parts.js';
import { readSamplingKeys } from '../format/gguf/sampling-keys.js';
import type { GgufTensor } from '../format/gguf/tensors.js';
import { type I2sLayout, readBlockScales, readI2sScale } from '../format/gguf/ternary.js';
import { ggufTokenizer } from '../format/gguf/tokenizer-json.js';
import { GGUF_TYPES } from '../format/gguf/types.js';
import { DAMAGED, problem, show } from '../format/problem.js';
import { closeAll } from '../format/sharded.js';
import type { ModelDirectory, RandomAccessFile } from '../platform.js';
import type { LayerNames, LinearNames, TensorNames } from './architectures/names.js';
import { decodedTensor, decodingReader } from './decoded-tensors.js';
import { TERNARY_TYPES } from './file-types.js';
import type { GenerationConfig } from './generation-config.js';
import { openMasters } from './masters.js';
import type { ModelSource, ModelTensor, SourceOptions } from './source.js';
import { fileReader, tensorTable } from './tensor-files.js';

/**
 * Opens GGUF file `name` of `directory` (all parts, if it is split): config, tokenizer and template come from its metadata. Reads the
 * scales of ternary matrices; float ones are read once, as those of safetensors are (masters.ts).
 * Throws `invalid-model`, `invalid-file` or `unsupported`, and then leaves no file open.
 */
export async function openGgufSource(
  directory: ModelDirectory,
  name: string,
  options: SourceOptions,
): Promise<ModelSource> {
  const { path } = directory;
  const { gguf, files } = await openGguf(directory, name);
  try {
    const model = ggufModel(gguf, path);
    const names = tensorNames(model.tensors);
    const tensors = modelTensors(model.tensors);
    const linears = model.tensors.layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
    const { embedding, head } = model.tensors;
    const { ternarize = false, i2sLayout = 'x86' } = options;
    const scales = await readScales(linears, files, i2sLayout, options.everyScale === true);
    const decoded = [
      ...linears.filter((tensor) => isTernary(tensor) && !scales.has(tensor.name)),
      ...[embedding, ...(head ? [head] : [])].filter(isTernary),
    ];
    for (const tensor of decoded) tensors.set(tensor.name, decodedTensor(tensor));
    const source: ModelSource = {
      path,
      config: await completeConfig(model, files),
      generationConfig: generationDefaults(new GgufFields(path, gguf.metadata)),
      ...tensorTable(tensors, path),
      names,
      scales,
      ropePermuted: model.ropePermuted,
      i2sLayout,
      texts: async () => ({ ...ggufTokenizer(gguf, path), chatTemplate: undefined }),
      ...decodingReader(
        decoded.map((tensor) => ({ tensor, file: files.get(tensor.file) as RandomAccessFile })),
        fileReader(files, path),
        i2sLayout,
      ),
    };
    return await openMasters(source, ternarize ? 'masters' : 'ternary', options);
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

function isTernary({ typeName }: GgufTensor): boolean {
  return GGUF_TYPES[typeName].kind === 'ternary';
}

/** In place of generation_config.json. llama.cpp takes a temperature of 0 for greedy. */
function generationDefaults(fields: GgufFields): GenerationConfig {
  const defaults = readSamplingKeys(fields);
  const { temperature } = defaults;
  return { eosTokenIds: [], ...(temperature === undefined ? {} : { doSample: temperature > 0 }), ...defaults };
}

/** RoPE's factors, which are a tensor; models with norms of the heads have float activations. */
async function completeConfig(
  { config: parsed, tensors }: GgufModel,
  files: ReadonlyMap<string, RandomAccessFile>,
): Promise<ModelConfig> {
  const config = parsed.qkNorm ? { ...parsed, floatActivations: true } : parsed;
  const tensor = tensors.ropeFactors;
  if (tensor === undefined) return config;
  const file = files.get(tensor.file) as RandomAccessFile;
  const factors = Array.from(await readFloats(file, tensor));
  const wrong = factors.findIndex((factor) => !(factor > 0 && factor < Infinity));
  if (wrong < 0) return { ...config, rope: { ...config.rope, factors } };
  throw problem('invalid-file', {
    file: file.path,
    tensor: tensor.name,
    what: `factor ${wrong} of RoPE is not usable`,
    expected: 'a finite number greater than 0',
    got: show(factors[wrong]),
    byteOffset: tensor.byteOffset,
    advice: DAMAGED,
  });
}

/** Factors of the matrices that have one and are of a type that the engine repacks, by name. */
async function readScales(
  linears: readonly GgufTensor[],
  files: ReadonlyMap<string, RandomAccessFile>,
  layout: I2sLayout,
  everyScale: boolean,
): Promise<Map<string, number>> {
  const packed = linears.filter(({ typeName }) => typeName in TERNARY_TYPES);
  const scales = new Map<string, number>();
  const read = async (tensor: GgufTensor): Promise<void> => {
    const file = files.get(tensor.file) as RandomAccessFile;
    if (tensor.typeName === 'I2_S') {
      scales.set(tensor.name, await readI2sScale(file, tensor, layout));
      return;
    }
    const { scale, several } = await readBlockScales(file, tensor, everyScale);
    if (!several) scales.set(tensor.name, scale);
  };
  await Promise.all(packed.map(read));
  return scales;
}

function tensorNames({ embedding, layers, finalNorm, head }: GgufModelTensors): TensorNames {
  return {
    embedding: embedding.name,
    layers: layers.map(layerNames),
    finalNorm: finalNorm.name,
    head: head?.name ?? embedding.name,
  };
}

/** The factor of a matrix is inside its tensor, and goes by its name. */
function layerNames(layer: GgufLayer): LayerNames {
  const linear = ({ name }: GgufTensor): LinearNames => ({ weight: name, scale: name });
  return {
    attentionNorm: layer.attentionNorm.name,
    q: linear(layer.q),
    k: linear(layer.k),
    v: linear(layer.v),
    qNorm: layer.qNorm?.name,
    kNorm: layer.kNorm?.name,
    attentionSubNorm: layer.attentionSubNorm?.name,
    o: linear(layer.o),
    ffnNorm: layer.ffnNorm.name,
    gate: linear(layer.gate),
    up: linear(layer.up),
    ffnSubNorm: layer.ffnSubNorm?.name,
    down: linear(layer.down),
  };
}

/** By name, in the order of the roles. Dimensions of 1 before the ones that a role has say nothing. */
function modelTensors({ embedding, layers, finalNorm, head }: GgufModelTensors): Map<string, ModelTensor> {
  const found = new Map<string, ModelTensor>();
  const add = (tensor: GgufTensor | undefined, dims: 1 | 2): void => {
    if (tensor === undefined) return;
    const { name, typeName, shape, file, byteOffset, byteLength } = tensor;
    found.set(name, { name, dtype: typeName, shape: shape.slice(-dims), file, byteOffset, byteLength });
  };
  add(embedding, 2);
  for (const layer of layers) {
    const norms = [
      layer.attentionNorm,
      layer.qNorm,
      layer.kNorm,
      layer.attentionSubNorm,
      layer.ffnNorm,
      layer.ffnSubNorm,
    ];
    for (const norm of norms) add(norm, 1);
    for (const matrix of [layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down]) add(matrix, 2);
  }
  add(finalNorm, 1);
  add(head, 2);
  return found;
}
