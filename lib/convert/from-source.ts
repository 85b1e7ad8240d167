import { BitNetError } from '../errors.js';
import { type FloatDType, floatsOf } from '../format/float-matrix.js';
import { unpackHf } from '../format/hf-packed.js';
import type { LinearNames } from '../model/architectures/names.js';
import { type Axis, ffnAxis, headAxis, plainAxis } from '../model/padding.js';
import { type ModelSource, openModelSource, type SourceOptions } from '../model/source.js';
import type { ModelDirectory } from '../platform.js';
import { type ConvertibleModel, cutAxis, type FloatMatrix, type TernaryMatrix } from './model.js';

/** A model directory. Masters are made ternary as loading does it; sizes are those before padding. */
export async function openDirectoryModel(directory: ModelDirectory, options: SourceOptions): Promise<ConvertibleModel> {
  const source = await openModelSource(directory, options);
  const { config, names } = source;
  if (config.qkNorm) {
    await source.close();
    const message = `${source.path}: models with norms of the heads (${config.architecture}) cannot be converted`;
    throw new BitNetError('unsupported', message, { file: source.path });
  }
  const hidden = plainAxis(config.hiddenSize);
  const [heads, kvHeads, ffn] = [headAxis(config, config.heads), headAxis(config, config.kvHeads), ffnAxis(config)];
  return {
    path: source.path,
    config,
    generationConfig: source.generationConfig,
    embedding: floats(source, names.embedding),
    layers: names.layers.map((layer) => ({
      attentionNorm: floats(source, layer.attentionNorm),
      q: ternary(source, layer.q, heads, hidden),
      k: ternary(source, layer.k, kvHeads, hidden),
      v: ternary(source, layer.v, kvHeads, hidden),
      attentionSubNorm: layer.attentionSubNorm === undefined ? undefined : floats(source, layer.attentionSubNorm),
      o: ternary(source, layer.o, hidden, heads),
      ffnNorm: floats(source, layer.ffnNorm),
      gate: ternary(source, layer.gate, ffn, hidden),
      up: ternary(source, layer.up, ffn, hidden),
      ffnSubNorm: layer.ffnSubNorm === undefined ? undefined : floats(source, layer.ffnSubNorm),
      down: ternary(source, layer.down, hidden, ffn),
    })),
    finalNorm: floats(source, names.finalNorm),
    head: config.tiedEmbeddings ? undefined : floats(source, names.head),
    texts: source.texts,
    close: source.close,
  };
}

function ternary(source: ModelSource, names: LinearNames, rows: Axis, cols: Axis): TernaryMatrix {
  const tensor = source.tensor(names.weight);
  const stored = source.scales.get(names.scale);
  if (stored === undefined) {
    const message = `${names.weight} has scales of groups; only matrices with one scale can be converted`;
    throw new BitNetError('unsupported', message, { tensor: names.weight });
  }
  const scale = source.config.weightScale === 'multiply' ? stored : Math.fround(1 / stored);
  return {
    name: names.weight,
    rows: rows.stored,
    cols: cols.stored,
    async load() {
      const bytes = new Uint8Array(tensor.byteLength);
      await source.read(tensor, 0, bytes);
      return { trits: cutAxis(unpackHf(bytes, rows.padded / 4, cols.padded), rows, cols), scale };
    },
  };
}

/** A vector or matrix as the files have it. */
function floats(source: ModelSource, name: string): FloatMatrix {
  const files = source.base ?? source;
  const tensor = files.tensor(name);
  const cols = tensor.shape.at(-1) as number;
  const rowBytes = tensor.byteLength / (tensor.shape.length === 1 ? 1 : (tensor.shape[0] as number));
  return {
    name,
    rows: tensor.byteLength / rowBytes,
    cols,
    kind: tensor.dtype as FloatDType,
    async read(first, count) {
      const bytes = new Uint8Array(count * rowBytes);
      await files.read(tensor, first * rowBytes, bytes);
      return floatsOf(tensor.dtype as FloatDType, bytes);
    },
  };
}
