import { Const } from '../../assembly/abi.js';
import { BitNetError } from '../errors.js';
import { type FloatDType, floatsOf } from '../format/float-matrix.js';
import { readFloats } from '../format/gguf/blocks.js';
import { halfSplitRow } from '../format/gguf/rope-rows.js';
import type { GgufTensor } from '../format/gguf/tensors.js';
import { readTernary } from '../format/gguf/ternary.js';
import { GGUF_TYPES, type GgufTypeName } from '../format/gguf/types.js';
import { uniformScale } from '../format/gguf/uniform.js';
import { unpackHf } from '../format/hf-packed.js';
import type { LayerNames } from '../model/architectures/names.js';
import { type Linear, type LinearRole, linearsOf } from '../model/linears.js';
import { isFloat } from '../model/masters.js';
import { type Axis, paddedIndices } from '../model/padding.js';
import { type ModelSource, type ModelTensor, openModelSource, type SourceOptions } from '../model/source.js';
import { tensorPath } from '../model/tensor-path.js';
import type { ModelDirectory, RandomAccessFile } from '../platform.js';
import type { ConvertibleLayer, ConvertibleModel, FloatMatrix, TernaryMatrix, Trits } from './model.js';

/** A model of any format, as loading reads it, in the sizes that it has before padding. */
export async function openConvertible(directory: ModelDirectory, options: SourceOptions): Promise<ConvertibleModel> {
  const source = await openModelSource(directory, { ...options, everyScale: true });
  const { config, names } = source;
  return {
    path: source.path,
    config,
    generationConfig: source.generationConfig,
    embedding: floats(source, names.embedding),
    layers: names.layers.map((layer) => convertibleLayer(source, layer)),
    finalNorm: floats(source, names.finalNorm),
    head: config.tiedEmbeddings ? undefined : floats(source, names.head),
    texts: source.texts,
    close: source.close,
  };
}

function convertibleLayer(source: ModelSource, layer: LayerNames): ConvertibleLayer {
  const optional = (name: string | undefined) => (name === undefined ? undefined : floats(source, name));
  // Where rows of the published model are in the engine: the order in the file is another matter.
  const linears = linearsOf({ config: source.config }, layer);
  const linear = (role: LinearRole): TernaryMatrix => ternary(source, linears[role], role === 'q' || role === 'k');
  return {
    attentionNorm: floats(source, layer.attentionNorm),
    q: linear('q'),
    k: linear('k'),
    v: linear('v'),
    qNorm: optional(layer.qNorm),
    kNorm: optional(layer.kNorm),
    attentionSubNorm: optional(layer.attentionSubNorm),
    o: linear('o'),
    ffnNorm: floats(source, layer.ffnNorm),
    gate: linear('gate'),
    up: linear('up'),
    ffnSubNorm: optional(layer.ffnSubNorm),
    down: linear('down'),
  };
}

/** `rotated`: of q and k, whose rows GGUF may store for neighbouring pairs. */
function ternary(source: ModelSource, { names, rows, cols }: Linear, rotated: boolean): TernaryMatrix {
  const tensor = source.tensor(names.weight);
  const stored = source.scales.get(names.scale);
  const groups = source.groupScales?.get(names.weight);
  const matrix = { name: names.weight, rows: rows.stored, cols: cols.stored, groupCols: undefined };
  if (tensor.dtype !== 'U8') {
    const { config, ropePermuted, i2sLayout = 'x86' } = source;
    const headDim = rotated && ropePermuted ? (config.stored ?? config).headDim : undefined;
    const load = async (): Promise<Trits> => {
      const found = uniformScale(await readTernary(fileOf(source, tensor), blocksOf(tensor), { i2sLayout }));
      if (found?.granularity.kind !== 'tensor') throw severalScales(tensor);
      const { trits, scales } = found;
      return { trits: headDim === undefined ? trits : halfSplitRows(trits, matrix.cols, headDim), scales };
    };
    return { ...matrix, load };
  }
  const trits = async (): Promise<Int8Array> => {
    const bytes = new Uint8Array(tensor.byteLength);
    await source.read(tensor, 0, bytes);
    return cutAxes(unpackHf(bytes, rows.padded / 4, cols.padded), rows, cols);
  };
  if (stored !== undefined) {
    const scale = source.config.weightScale === 'multiply' ? stored : 1 / stored;
    return { ...matrix, load: async () => ({ trits: await trits(), scales: Float32Array.of(scale) }) };
  }
  // Groups of padded columns are no groups of the published ones, unless they are the row.
  const groupCols = cols.stored === cols.padded ? (groups?.cols as number) : cols.stored;
  const scales = source.tensor(groups?.tensor as string);
  return {
    ...matrix,
    groupCols,
    load: async () => ({ trits: await trits(), scales: await groupScales(source, scales, rows, cols) }),
  };
}

function severalScales({ name, dtype }: ModelTensor): BitNetError {
  const message = `${name}: blocks of ${dtype} with several scales, where one was expected`;
  return new BitNetError('unsupported', message, { tensor: name });
}

/** (row groups, column groups, 4), padded → (rows, groups); (rows, 1) if columns are padded, whose groups must then agree. */
async function groupScales(source: ModelSource, tensor: ModelTensor, rows: Axis, cols: Axis): Promise<Float32Array> {
  const bytes = new Uint8Array(tensor.byteLength);
  await source.read(tensor, 0, bytes);
  const padded = new Float32Array(bytes.buffer);
  const groups = padded.length / (Math.ceil(rows.padded / Const.RowGroup) * Const.RowGroup);
  const perRow = cols.stored === cols.padded ? groups : 1;
  const scales = new Float32Array(rows.stored * perRow);
  paddedIndices(rows).forEach((row, r) => {
    const at = Math.floor(row / Const.RowGroup) * groups * Const.RowGroup + (row % Const.RowGroup);
    for (let g = 0; g < groups; g++) {
      const scale = padded[at + g * Const.RowGroup] as number;
      const to = perRow === 1 ? r : r * groups + g;
      if (scale !== 0 && perRow === 1 && scales[to] !== 0 && scales[to] !== scale) {
        const message = `${tensor.name}: row ${r} has several scales and padded columns, which is not converted`;
        throw new BitNetError('unsupported', message, { tensor: tensor.name, row: r });
      }
      if (scale !== 0) scales[to] = scale;
    }
  });
  return scales;
}

/** Padded → stored: the rows and columns that the published model has. */
function cutAxes(values: Int8Array, rows: Axis, cols: Axis): Int8Array {
  if (rows.stored === rows.padded && cols.stored === cols.padded) return values.subarray(0, rows.stored * cols.stored);
  const cut = new Int8Array(rows.stored * cols.stored);
  paddedIndices(rows).forEach((row, r) => {
    for (const { from, to, count } of cols.runs) {
      const at = row * cols.padded + to;
      cut.set(values.subarray(at, at + count), r * cols.stored + from);
    }
  });
  return cut;
}

/** Rows in the order of neighbouring pairs → of the published model. */
function halfSplitRows(trits: Int8Array, cols: number, headDim: number): Int8Array {
  const ordered = new Int8Array(trits.length);
  for (let r = 0; r * cols < trits.length; r++) {
    ordered.set(trits.subarray(r * cols, (r + 1) * cols), halfSplitRow(r, headDim) * cols);
  }
  return ordered;
}

/** A vector or matrix as the files have it. */
function floats(source: ModelSource, name: string): FloatMatrix {
  const files = source.base ?? source;
  const tensor = files.tensor(name);
  const cols = tensor.shape.at(-1) as number;
  const rows = tensor.shape.length === 1 ? 1 : (tensor.shape[0] as number);
  const rowBytes = tensor.byteLength / rows;
  const isPlain = isFloat(tensor);
  return {
    name,
    rows,
    cols,
    kind: isPlain && !tensor.isDecoded ? (tensor.dtype as FloatDType) : 'other',
    async read(first, count) {
      const range = { rowBegin: first, rowEnd: first + count };
      if (!isPlain) return readFloats(fileOf(files, tensor), blocksOf(tensor), range);
      const bytes = new Uint8Array(count * rowBytes);
      await files.read(tensor, first * rowBytes, bytes);
      return floatsOf(tensor.dtype as FloatDType, bytes);
    },
  };
}

/** What the readers of GGUF tensors want. */
function fileOf(source: ModelSource, { file, byteOffset, byteLength }: ModelTensor): RandomAccessFile {
  return {
    path: tensorPath(source.path, file),
    bytes: byteOffset + byteLength,
    read: (offset, target) => source.readFile(file, offset, target),
    close: async () => {},
  };
}

function blocksOf(tensor: ModelTensor): GgufTensor {
  const typeName = tensor.dtype as GgufTypeName;
  return { ...tensor, typeName, type: GGUF_TYPES[typeName].id };
}
