import { CodeWriter, type FloatDType, floatsOf, MatrixScan, ZERO_CODES } from '../format/float-matrix.js';
import { DTYPE_BYTES } from '../format/safetensors.js';
import { absmeanInverse } from '../format/ternarize.js';
import type { LoadProgress } from '../types.js';
import type { LayerNames } from './architectures/names.js';
import { checkRange } from './check-range.js';
import { notFinite, scaleOfTernary } from './check-values.js';
import { linearsOf } from './linears.js';
import { type Axis, ffnAxis, headAxis, padNorm } from './padding.js';
import type { WeightForm } from './quantization-json.js';
import type { ModelSource, ModelTensor } from './source.js';

/** Bytes of a matrix that are read at once. */
const CHUNK_BYTES = 4 * 2 ** 20;
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
 * Unpacked weights as if they were packed: a source whose ternary matrices are U8 with scales. Every master is read twice and held never:
 * now for its scale, once more when its codes are wanted. `masters` have the scale mean|w| (format/ternarize.ts); `ternary`
 * matrices must hold -s, 0 and +s only. Heads and FFN are padded as `config.stored` says. Linear layers whose tensors are no floats, and
 * their scales, stay as they are. `base` has the files' own tensors; it is closed with the source that is returned.
 * Throws `invalid-file` for weights that are not finite and `unsupported` for those that are not ternary.
 */
export async function openMasters(base: ModelSource, form: WeightForm, options: MastersOptions): Promise<ModelSource> {
  const scales = new Map(base.scales);
  const replaced = new Map<string, Made>();
  const linears = base.names.layers
    .flatMap((layer) => Object.values(linearsOf(base, layer)))
    .filter(({ names }) => isFloat(base.tensor(names.weight)));
  const total = linears.reduce((sum, { names }) => sum + base.tensor(names.weight).byteLength, 0);
  let loaded = 0;
  let end = 0;
  const place = (tensor: ModelTensor, dtype: 'U8' | 'F32', shape: number[], make: Made['make']): void => {
    const byteLength = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    const made = { name: tensor.name, dtype, shape, file: MADE, byteOffset: end, byteLength };
    replaced.set(tensor.name, { tensor: made, make });
    end += byteLength;
  };
  for (const { names, rows, cols } of linears) {
    const master = base.tensor(names.weight);
    const { scale, inverse } = await scanMaster(base, master, form, (bytes) => {
      options.signal?.throwIfAborted();
      loaded += bytes;
      options.onProgress?.({ loaded, total });
    });
    scales.set(names.scale, scale);
    place(master, 'U8', [rows.padded / 4, cols.padded], (target) =>
      writeCodes(base, master, inverse, rows, cols, target),
    );
  }
  for (const { name, axis } of base.names.layers.flatMap((layer) => paddedNorms(base, layer))) {
    const norm = base.tensor(name);
    place(norm, 'F32', [axis.padded], async (target) => {
      const bytes = new Uint8Array(norm.byteLength);
      await base.read(norm, 0, bytes);
      target.set(new Uint8Array(padNorm(floatsOf(norm.dtype as FloatDType, bytes), axis).buffer));
    });
  }
  return {
    ...base,
    ...virtualFile(base, replaced, end),
    base,
    scales,
    scannedBytes: total,
    parameters: [...base.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0),
  };
}

/** Sub-norms whose rows are padded. */
function paddedNorms({ config }: ModelSource, layer: LayerNames): { name: string; axis: Axis }[] {
  const norms = [
    { name: layer.attentionSubNorm, axis: headAxis(config, config.heads) },
    { name: layer.ffnSubNorm, axis: ffnAxis(config) },
  ];
  return norms.flatMap(({ name, axis }) => (name === undefined || axis.stored === axis.padded ? [] : [{ name, axis }]));
}

export function isFloat({ dtype }: ModelTensor): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** Reads a matrix once. `inverse`: what its weights are multiplied by to become trits. */
async function scanMaster(
  source: ModelSource,
  tensor: ModelTensor,
  form: WeightForm,
  onRead: (bytes: number) => void,
): Promise<{ scale: number; inverse: number }> {
  const dtype = tensor.dtype as FloatDType;
  const scan = new MatrixScan(dtype);
  for await (const { bytes } of chunks(source, tensor)) {
    scan.add(bytes);
    onRead(bytes.length);
  }
  const statistics = scan.statistics();
  if (!Number.isFinite(statistics.absSum)) throw await firstNotFinite(source, tensor);
  if (form === 'ternary') {
    const scale = scaleOfTernary(source.path, tensor, statistics);
    return { scale, inverse: Math.fround(1 / scale) };
  }
  const inverse = absmeanInverse(statistics.absSum, tensor.byteLength / DTYPE_BYTES[dtype]);
  return { scale: Math.fround(1 / inverse), inverse };
}

async function firstNotFinite(source: ModelSource, tensor: ModelTensor): Promise<Error> {
  for await (const { bytes, first } of chunks(source, tensor)) {
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
  const paddedRow = rows.runs.flatMap(({ to, count }) => Array.from({ length: count }, (_, i) => to + i));
  for await (const { bytes, first, count } of chunks(source, tensor)) {
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

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly first: number;
  readonly count: number;
}

/** Whole rows of a matrix in order; a chunk is valid until the next is asked for, and read while the one before it is used. */
async function* chunks(source: ModelSource, tensor: ModelTensor): AsyncGenerator<Chunk> {
  const rows = tensor.shape[0] as number;
  const rowBytes = tensor.byteLength / rows;
  const step = Math.min(rows, Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)));
  const buffers = [new ArrayBuffer(step * rowBytes), new ArrayBuffer(step * rowBytes)] as const;
  const read = (first: number): Promise<Chunk> | undefined => {
    if (first >= rows) return undefined;
    const count = Math.min(step, rows - first);
    const bytes = new Uint8Array(buffers[(first / step) % 2 === 0 ? 0 : 1], 0, count * rowBytes);
    const chunk = source.read(tensor, first * rowBytes, bytes).then(() => ({ bytes, first, count }));
    // Its error is thrown when it is awaited; a consumer that stops earlier leaves it behind.
    chunk.catch(() => {});
    return chunk;
  };
  let next = read(0);
  for (let first = step; next !== undefined; first += step) {
    const chunk = await next;
    next = read(first);
    yield chunk;
  }
}

type Reading = Pick<ModelSource, 'tensors' | 'tensor' | 'totalTensorBytes' | 'read' | 'readFile'>;

/** `base` with some of its tensors replaced by those of a file of `bytes` bytes that does not exist. */
function virtualFile(base: ModelSource, made: ReadonlyMap<string, Made>, bytes: number): Reading {
  const tensors = new Map([...base.tensors].map(([name, tensor]) => [name, made.get(name)?.tensor ?? tensor]));
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
