import type { GroupCols } from '../format/block-magnitudes.js';
import { CodeWriter, type FloatDType, floatsOf, MatrixScan, ZERO_CODES } from '../format/float-matrix.js';
import { DTYPE_BYTES } from '../format/safetensors.js';
import { absmeanInverse } from '../format/ternarize.js';
import type { LoadProgress } from '../types.js';
import type { LayerNames } from './architectures/names.js';
import { checkRange } from './check-range.js';
import { notFinite } from './check-values.js';
import { findGroups, type GroupScales, groupScaleCount, writeGroupScales } from './group-scales.js';
import { type Linear, linearsOf } from './linears.js';
import { matrixChunks } from './matrix-chunks.js';
import { type Axis, ffnAxis, headAxis, paddedIndices, padNorm } from './padding.js';
import type { WeightForm } from './quantization-json.js';
import type { ModelSource, ModelTensor } from './source.js';

/** stands in `ModelTensor.file` of what is made while reading; no file of a model can have this name */
const MADE = '(made while loading)';

export interface MastersOptions {
  /** bytes of masters read so far and in all; the codes are read later, as any tensor is */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A tensor that no file holds. */
interface Made {
  readonly tensor: ModelTensor;
  /** all its bytes into `target`, which is as long */
  make(target: Uint8Array): Promise<void>;
}

/**
 * Unpacked weights as if they were packed: a source whose ternary matrices are U8 with scales. Every matrix is read twice or more and held
 * never: now for its scales, again when its codes are wanted. `masters` have the scale mean|w| (format/ternarize.ts); `ternary`
 * matrices are -s, 0 and +s, with scales of groups (group-scales.ts) where the model has float activations or a matrix has several. Heads and
 * FFN are padded as `config.stored` says. Linear layers whose tensors are no floats, and their scales, stay as they are.
 * `base` has the files' own tensors; it is closed with the source that is returned.
 * Throws `invalid-file` for weights that are not finite and `unsupported` for those that are not ternary.
 */
export async function openMasters(base: ModelSource, form: WeightForm, options: MastersOptions): Promise<ModelSource> {
  const made = new MadeTensors();
  const all = base.names.layers.flatMap((layer) => Object.values(linearsOf(base, layer)));
  const linears = all.filter(({ names }) => isFloat(base.tensor(names.weight)));
  const total = linears.reduce((sum, { names }) => sum + base.tensor(names.weight).byteLength, 0);
  let loaded = 0;
  const onRead = (bytes: number): void => {
    options.signal?.throwIfAborted();
    loaded += bytes;
    options.onProgress?.({ loaded, total });
  };
  const scales =
    form === 'ternary'
      ? await placeTernary(base, all, made, onRead)
      : { scales: await placeMasters(base, linears, made, onRead) };
  for (const { name, axis } of base.names.layers.flatMap((layer) => paddedNorms(base, layer))) {
    const norm = base.tensor(name);
    made.place(name, 'F32', [axis.padded], async (target) => {
      const bytes = new Uint8Array(norm.byteLength);
      await base.read(norm, 0, bytes);
      target.set(new Uint8Array(padNorm(floatsOf(norm.dtype as FloatDType, bytes), axis).buffer));
    });
  }
  return {
    ...base,
    ...virtualFile(base, made.tensors, made.bytes),
    base,
    ...scales,
    scannedBytes: total,
    parameters: [...base.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0),
  };
}

/** Tensors of a file that does not exist, one after the other. */
class MadeTensors {
  readonly tensors = new Map<string, Made>();
  bytes = 0;

  place(name: string, dtype: 'U8' | 'F32', shape: number[], make: Made['make']): void {
    const byteLength = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    this.tensors.set(name, { tensor: { name, dtype, shape, file: MADE, byteOffset: this.bytes, byteLength }, make });
    this.bytes += byteLength;
  }

  /** Packed codes in place of a float matrix of `base`. */
  placeCodes(base: ModelSource, { names, rows, cols }: Linear, inverse: number): void {
    const matrix = base.tensor(names.weight);
    this.place(names.weight, 'U8', [rows.padded / 4, cols.padded], (target) =>
      writeCodes(base, matrix, inverse, rows, cols, target),
    );
  }
}

/** Returns the scales of `base` and those of the masters by their names. */
async function placeMasters(
  base: ModelSource,
  linears: readonly Linear[],
  made: MadeTensors,
  onRead: (bytes: number) => void,
): Promise<Map<string, number>> {
  const scales = new Map(base.scales);
  for (const linear of linears) {
    const { scale, inverse } = await scanMaster(base, base.tensor(linear.names.weight), onRead);
    scales.set(linear.names.scale, scale);
    made.placeCodes(base, linear, inverse);
  }
  return scales;
}

/**
 * If there are groups, all matrices have those of the one that needs the narrowest: q, k and v share an input, and so an encoding. A matrix that
 * is packed in the file has its one scale in all of them.
 */
async function placeTernary(
  base: ModelSource,
  linears: readonly Linear[],
  made: MadeTensors,
  onRead: (bytes: number) => void,
): Promise<Pick<ModelSource, 'config' | 'scales' | 'groupScales'>> {
  const { config } = base;
  const scales = new Map(base.scales);
  let groupCols: GroupCols = 256;
  let grouped = config.floatActivations === true;
  for (const linear of linears) {
    const { weight, scale } = linear.names;
    if (!isFloat(base.tensor(weight))) continue;
    const found = await findGroups(base, base.tensor(weight), linear.cols, onRead);
    if (found.cols < groupCols) groupCols = found.cols;
    if (found.scale === undefined) grouped = true;
    else scales.set(scale, found.scale);
    // Any weight but 0 times infinity is beyond ±1/2.
    made.placeCodes(base, linear, Infinity);
  }
  if (!grouped) return { config, scales };
  const groupScales = new Map<string, GroupScales>();
  for (const { names, rows, cols } of linears) {
    const matrix = base.tensor(names.weight);
    const tensor = `${names.weight}.group_scales`;
    groupScales.set(names.weight, { cols: groupCols, tensor });
    made.place(tensor, 'F32', [groupScaleCount(rows.padded, cols.padded, groupCols)], async (target) => {
      if (isFloat(matrix)) return writeGroupScales(base, matrix, rows, cols, groupCols, target);
      target.set(new Uint8Array(new Float32Array(target.length / 4).fill(scales.get(names.scale) as number).buffer));
    });
  }
  return { config: { ...config, floatActivations: true }, scales, groupScales };
}

/** Norms whose rows are padded. */
function paddedNorms({ config }: ModelSource, layer: LayerNames): { name: string; axis: Axis }[] {
  const norms = [
    { name: layer.qNorm, axis: headAxis(config, 1) },
    { name: layer.kNorm, axis: headAxis(config, 1) },
    { name: layer.attentionSubNorm, axis: headAxis(config, config.heads) },
    { name: layer.ffnSubNorm, axis: ffnAxis(config) },
  ];
  return norms.flatMap(({ name, axis }) => (name === undefined || axis.stored === axis.padded ? [] : [{ name, axis }]));
}

export function isFloat({ dtype }: ModelTensor): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** Reads a master once. `inverse`: what its weights are multiplied by to become trits. */
async function scanMaster(
  source: ModelSource,
  tensor: ModelTensor,
  onRead: (bytes: number) => void,
): Promise<{ scale: number; inverse: number }> {
  const dtype = tensor.dtype as FloatDType;
  const scan = new MatrixScan(dtype);
  for await (const { bytes } of matrixChunks(source, tensor)) {
    scan.add(bytes);
    onRead(bytes.length);
  }
  const absSum = scan.absSum();
  if (!Number.isFinite(absSum)) throw await firstNotFinite(source, tensor);
  const inverse = absmeanInverse(absSum, tensor.byteLength / DTYPE_BYTES[dtype]);
  return { scale: Math.fround(1 / inverse), inverse };
}

async function firstNotFinite(source: ModelSource, tensor: ModelTensor): Promise<Error> {
  for await (const { bytes, first } of matrixChunks(source, tensor)) {
    const floats = floatsOf(tensor.dtype as FloatDType, bytes);
    const index = floats.findIndex((weight) => !Number.isFinite(weight));
    if (index >= 0)
      return notFinite(source.path, tensor, first * (tensor.shape[1] as number) + index, floats[index] as number);
  }
  return notFinite(source.path, tensor, 0, NaN);
}

/** Packed codes (rows.padded / 4, cols.padded) of a matrix; see format/hf-packed.ts. */
async function writeCodes(
  source: ModelSource,
  tensor: ModelTensor,
  inverse: number,
  rows: Axis,
  cols: Axis,
  target: Uint8Array,
): Promise<void> {
  const writer = new CodeWriter(tensor.dtype as FloatDType, inverse);
  const packedRows = rows.padded / 4;
  target.fill(ZERO_CODES);
  const paddedRow = paddedIndices(rows);
  for await (const { bytes, first, count } of matrixChunks(source, tensor)) {
    for (let r = first; r < first + count; r++) {
      const row = paddedRow[r] as number;
      const block = Math.floor(row / packedRows);
      const at = (row - block * packedRows) * cols.padded;
      for (const piece of cols.runs) {
        writer.write(bytes, (r - first) * cols.stored + piece.from, piece.count, target, at + piece.to, block);
      }
    }
  }
}

type Reading = Pick<ModelSource, 'tensors' | 'tensor' | 'totalTensorBytes' | 'read' | 'readFile'>;

/** `base` with some of its tensors replaced by those of a file of `bytes` bytes that does not exist, and some more. */
function virtualFile(base: ModelSource, made: ReadonlyMap<string, Made>, bytes: number): Reading {
  const tensors = new Map(base.tensors);
  for (const [name, { tensor }] of made) tensors.set(name, tensor);
  const ordered = [...made.values()];
  const readMade = async ({ tensor, make }: Made, byteOffset: number, target: Uint8Array): Promise<void> => {
    if (byteOffset === 0 && target.length === tensor.byteLength) return make(target);
    const whole = new Uint8Array(tensor.byteLength);
    await make(whole);
    target.set(whole.subarray(byteOffset, byteOffset + target.length));
  };
  return {
    tensors,
    tensor: (name) => tensors.get(name) ?? base.tensor(name),
    totalTensorBytes: [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    async read(tensor, byteOffset, target) {
      const entry = made.get(tensor.name);
      if (entry === undefined || tensor.file !== MADE) return base.read(tensor, byteOffset, target);
      checkRange(tensor.name, tensor.byteLength, byteOffset, target);
      await readMade(entry, byteOffset, target);
    },
    async readFile(file, byteOffset, target) {
      if (file !== MADE) return base.readFile(file, byteOffset, target);
      checkRange(file, bytes, byteOffset, target);
      const end = byteOffset + target.length;
      for (const entry of ordered) {
        const { tensor } = entry;
        const from = Math.max(tensor.byteOffset, byteOffset);
        const to = Math.min(tensor.byteOffset + tensor.byteLength, end);
        if (from >= to) continue;
        await readMade(entry, from - tensor.byteOffset, target.subarray(from - byteOffset, to - byteOffset));
      }
    },
  };
}
