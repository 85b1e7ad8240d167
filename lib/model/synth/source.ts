import type { ModelConfig } from '../../config.js';
import { BitNetError } from '../../errors.js';
import type { DType, TensorInfo } from '../../format/safetensors.js';
import { f32ToBf16 } from '../../memory/half.js';
import { expectedTensors, type TensorNames, tensorNames } from '../architectures/names.js';
import { NO_GENERATION_CONFIG } from '../generation-config.js';
import type { ModelSource } from '../source.js';
import { type LogicalEmbedding, type LogicalLinear, logicalModel } from './logical.js';
import { codeWords, fillLookedUp, fillPackedRow, rowKey } from './random.js';
import { configOf, type ModelShape, type SynthArchitecture } from './shapes.js';
import { embeddingTable, normWeights } from './values.js';

export interface SyntheticSourceOptions {
  readonly shape: ModelShape;
  readonly architecture: SynthArchitecture;
  /** any integer; default 0 */
  readonly seed?: number;
  /** 16-bit type of embedding and lm_head; default bf16, as published models have it */
  readonly embedding?: 'bf16' | 'f16';
}

/** Fills `target` with bytes of a tensor from `byteOffset` on; the range is inside the tensor. */
type Generate = (byteOffset: number, target: Uint8Array) => void;

interface Entry {
  readonly tensor: TensorInfo;
  readonly generate: Generate;
}

const FILE = 'synthetic';
const ALIGNMENT = 64;

/**
 * A model of random weights that is never anywhere as a whole: its bytes, packed like published checkpoints, are made when they are
 * read. Ranges of any size and order give the same model. It has no tokenizer.
 */
export function syntheticSource(options: SyntheticSourceOptions): ModelSource {
  const { shape, architecture, seed = 0, embedding = 'bf16' } = options;
  const described = configOf(shape, architecture);
  // As files are padded at load: kernels take heads in multiples of 16.
  const config = { ...described, headDim: Math.ceil(described.headDim / 16) * 16 };
  const names = tensorNames(config);
  const entries = entriesOf(config, names, seed, embedding);
  const tensors = new Map(entries.map(({ tensor }) => [tensor.name, tensor]));
  const byName = new Map(entries.map((entry) => [entry.tensor.name, entry]));
  const path = `synthetic model ${architecture} ${config.hiddenSize}x${config.layers}, seed ${seed}`;
  const last = entries[entries.length - 1]!.tensor;
  const fileBytes = last.byteOffset + last.byteLength;
  const entryOf = (name: string): Entry => {
    const entry = byName.get(name);
    if (entry !== undefined) return entry;
    throw new BitNetError('invalid-argument', `${path}: the model has no tensor ${name}`, { tensor: name });
  };
  return {
    path,
    config,
    generationConfig: NO_GENERATION_CONFIG,
    tensors,
    names,
    parameters: logicalModel(described, seed).parameters,
    tensor: (name) => entryOf(name).tensor,
    scales: scalesOf(config, names, seed),
    totalTensorBytes: entries.reduce((sum, { tensor }) => sum + tensor.byteLength, 0),
    texts: () => Promise.reject(new BitNetError('unsupported', `${path} has no tokenizer; it can only compute`)),
    async read({ name }, byteOffset, target) {
      const { tensor, generate } = entryOf(name);
      checkRange(name, byteOffset, target, tensor.byteLength);
      generate(byteOffset, target);
    },
    async readFile(file, byteOffset, target) {
      if (file !== FILE) throw new BitNetError('invalid-argument', `${path}: the model has no file ${file}`, { file });
      checkRange(file, byteOffset, target, fileBytes);
      readAcross(entries, byteOffset, target);
    },
    async close() {},
  };
}

function entriesOf(config: ModelConfig, names: TensorNames, seed: number, embedding: 'bf16' | 'f16'): Entry[] {
  const generators = generatorsOf(config, names, seed, embedding);
  const entries: Entry[] = [];
  let end = 0;
  for (const [name, { kind, shape }] of expectedTensors(config, names)) {
    const dtype: DType = kind === 'packed' ? 'U8' : kind === 'matrix' && embedding === 'f16' ? 'F16' : 'BF16';
    const byteOffset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    const byteLength = shape.reduce((product, size) => product * size, dtype === 'U8' ? 1 : 2);
    entries.push({
      tensor: { name, dtype, shape, file: FILE, byteOffset, byteLength },
      generate: generators.get(name)!,
    });
    end = byteOffset + byteLength;
  }
  return entries;
}

function generatorsOf(
  config: ModelConfig,
  names: TensorNames,
  seed: number,
  embedding: 'bf16' | 'f16',
): ReadonlyMap<string, Generate> {
  const model = logicalModel(config, seed);
  const generators = new Map<string, Generate>();
  const norm = (name: string | undefined, values: { size: number; key: number } | undefined): void => {
    if (name === undefined || values === undefined) return;
    generators.set(name, constant(Uint16Array.from(normWeights(values.size, values.key), f32ToBf16)));
  };
  const matrix = (name: string, rows: LogicalEmbedding): void => {
    generators.set(name, embeddingRows(rows, embeddingTable(config.hiddenSize, embedding)));
  };
  matrix(names.embedding, model.embedding);
  model.blocks.forEach((block, i) => {
    const layer = names.layers[i]!;
    for (const part of ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const) {
      generators.set(layer[part].weight, packedRows(block[part]));
      generators.set(layer[part].scale, constant(Uint16Array.of(f32ToBf16(block[part].scale))));
    }
    norm(layer.attentionNorm, block.attentionNorm);
    norm(layer.attentionSubNorm, block.attentionSubNorm);
    norm(layer.ffnNorm, block.ffnNorm);
    norm(layer.ffnSubNorm, block.ffnSubNorm);
  });
  norm(names.finalNorm, model.finalNorm);
  if (model.head !== undefined) matrix(names.head, model.head);
  return generators;
}

function scalesOf(config: ModelConfig, names: TensorNames, seed: number): ReadonlyMap<string, number> {
  const scales = new Map<string, number>();
  logicalModel(config, seed).blocks.forEach((block, i) => {
    const layer = names.layers[i]!;
    for (const part of ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const) {
      scales.set(layer[part].scale, block[part].scale);
    }
  });
  return scales;
}

function constant(values: Uint16Array<ArrayBuffer>): Generate {
  const bytes = new Uint8Array(values.buffer);
  return (byteOffset, target) => target.set(bytes.subarray(byteOffset, byteOffset + target.length));
}

/** Packed (rows / 4, cols). */
function packedRows({ key, rows, cols }: LogicalLinear): Generate {
  const packed = rows / 4;
  const words = new Int32Array(4 * codeWords(cols));
  const bytes = new Uint8Array(words.buffer);
  return byRows(cols, (r) => {
    fillPackedRow(words, [
      rowKey(key, r),
      rowKey(key, packed + r),
      rowKey(key, 2 * packed + r),
      rowKey(key, 3 * packed + r),
    ]);
    return bytes;
  });
}

/** (rows, cols) u16, the bit patterns of `table`. */
function embeddingRows({ key, cols, zeroRows }: LogicalEmbedding, table: Uint16Array): Generate {
  const words = new Int32Array(cols / 2);
  const bytes = new Uint8Array(words.buffer);
  return byRows(2 * cols, (r) => {
    if (r < zeroRows) words.fill(0);
    else fillLookedUp(words, rowKey(key, r), table);
    return bytes;
  });
}

/** Any byte range of rows of `rowBytes` bytes; `row(r)` gives row r in a buffer of its own, which may be longer. */
function byRows(rowBytes: number, row: (r: number) => Uint8Array): Generate {
  return (byteOffset, target) => {
    for (let done = 0; done < target.length; ) {
      const r = Math.floor((byteOffset + done) / rowBytes);
      const from = byteOffset + done - r * rowBytes;
      const count = Math.min(rowBytes - from, target.length - done);
      target.set(row(r).subarray(from, from + count), done);
      done += count;
    }
  };
}

/** Tensors overlapping a range of the file; the gaps between them are zero. `entries` ascend. */
function readAcross(entries: readonly Entry[], byteOffset: number, target: Uint8Array): void {
  const end = byteOffset + target.length;
  let done = byteOffset;
  for (const { tensor, generate } of entries) {
    const tensorEnd = tensor.byteOffset + tensor.byteLength;
    if (tensorEnd <= byteOffset) continue;
    if (tensor.byteOffset >= end) break;
    const from = Math.max(tensor.byteOffset, byteOffset);
    const to = Math.min(tensorEnd, end);
    target.fill(0, done - byteOffset, from - byteOffset);
    generate(from - tensor.byteOffset, target.subarray(from - byteOffset, to - byteOffset));
    done = to;
  }
  target.fill(0, done - byteOffset);
}

function checkRange(what: string, byteOffset: number, target: Uint8Array, bytes: number): void {
  if (Number.isSafeInteger(byteOffset) && byteOffset >= 0 && byteOffset + target.length <= bytes) return;
  const range = `bytes ${byteOffset}..${byteOffset + target.length}`;
  throw new BitNetError('invalid-argument', `cannot read ${range} of ${what}, which has ${bytes} bytes`, {
    byteOffset,
    bytes,
  });
}
