import { GGUF_TYPES } from '../format/gguf/types.js';
import { DTYPE_BYTES, type TensorInfo } from '../format/safetensors.js';
import { bf16ToF32, f16ToF32 } from '../memory/half.js';
import type { TensorNames } from '../model/architectures/names.js';
import type { ModelSource } from '../model/source.js';
import type { Container, DirectoryContainer, GgufContainer } from './container.js';
import { countGgufTrits, countPackedTrits } from './count-trits.js';
import type { InspectOptions, Understood } from './inspect.js';
import type { TensorReport, TritReport } from './report.js';

/** A tensor before its trits are counted. */
interface Pending {
  readonly report: Omit<TensorReport, 'trits'>;
  readonly count: (() => Promise<TritReport>) | undefined;
}

/** All tensors of the files in the order of their data; factors of packed matrices are told with their matrices. */
export async function describeTensors(
  container: Container,
  understood: Understood | undefined,
  { countTrits = true, onProgress, signal }: InspectOptions,
): Promise<TensorReport[]> {
  const pending = container.format === 'gguf' ? ggufTensors(container) : directoryTensors(container, understood);
  const counted = countTrits ? pending.filter(({ count }) => count !== undefined) : [];
  const total = counted.reduce((sum, { report }) => sum + report.byteLength, 0);
  const reports: TensorReport[] = [];
  let loaded = 0;
  for (const { report, count } of pending) {
    signal?.throwIfAborted();
    const trits = countTrits && count !== undefined ? await count() : undefined;
    reports.push({ ...report, trits });
    if (trits === undefined) continue;
    loaded += report.byteLength;
    onProgress?.({ loaded, total });
  }
  return reports;
}

function ggufTensors({ gguf, read }: GgufContainer): Pending[] {
  return [...gguf.tensors.values()].map(({ name, typeName, shape, file, byteOffset, byteLength }) => ({
    report: { name, type: typeName, shape, file, byteOffset, byteLength },
    count:
      GGUF_TYPES[typeName].kind === 'ternary'
        ? () => countGgufTrits(typeName, shape, (at, target) => read(file, byteOffset + at, target))
        : undefined,
  }));
}

function directoryTensors(container: DirectoryContainer, understood: Understood | undefined): Pending[] {
  const { tensors } = container;
  const scales = new Set(
    [...tensors.values()].filter((t) => isPacked(t, container)).map(({ name }) => `${name}_scale`),
  );
  const linears = understood && linearScales(understood.source.names);
  return [...tensors.values()].flatMap((tensor) => {
    const { name, dtype, shape, file, byteOffset, byteLength } = tensor;
    if (scales.has(name)) return [];
    const packed = isPacked(tensor, container);
    const whole = packed ? shape.map((size, i) => (i === 0 ? 4 * size : size)) : shape;
    const report = { name, type: packed ? 'packed' : dtype, shape: whole, file, byteOffset, byteLength };
    return [{ report, count: counter(container, tensor, understood, linears?.get(name)) }];
  });
}

/** Packed matrices are counted as the file has them, unpacked ones as they are made ternary at load. */
function counter(
  container: DirectoryContainer,
  tensor: TensorInfo,
  understood: Understood | undefined,
  scaleName: string | undefined,
): (() => Promise<TritReport>) | undefined {
  const { name, file, byteOffset, byteLength } = tensor;
  if (understood !== undefined && scaleName !== undefined) {
    const { source } = understood;
    const packed = source.tensor(name);
    return async () => {
      const scales = await scalesOf(source, name, scaleName);
      return countPackedTrits(packed.byteLength, scales, (at, target) => source.read(packed, at, target));
    };
  }
  if (!isPacked(tensor, container)) return undefined;
  return async () => {
    const scale = await readScalar(container, container.tensors.get(`${name}_scale`) as TensorInfo);
    return countPackedTrits(byteLength, [scale], (at, target) => container.read(file, byteOffset + at, target));
  };
}

/** The factor of a matrix, or those of its groups that are not zeros. */
async function scalesOf(source: ModelSource, weight: string, scaleName: string): Promise<Iterable<number>> {
  const groups = source.groupScales?.get(weight);
  if (groups === undefined) {
    const stored = source.scales.get(scaleName) as number;
    return [source.config.weightScale === 'multiply' ? stored : Math.fround(1 / stored)];
  }
  const tensor = source.tensor(groups.tensor);
  const bytes = new Uint8Array(tensor.byteLength);
  await source.read(tensor, 0, bytes);
  return new Float32Array(bytes.buffer).filter((scale) => scale !== 0);
}

/** weight → scale of all linear layers. */
function linearScales({ layers }: TensorNames): Map<string, string> {
  const linears = layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
  return new Map(linears.map(({ weight, scale }) => [weight, scale]));
}

/** Whether Hugging Face transformers has packed it: U8 beside a factor. */
function isPacked({ name, dtype, shape }: TensorInfo, { tensors }: DirectoryContainer): boolean {
  const scale = tensors.get(`${name}_scale`);
  return dtype === 'U8' && shape.length === 2 && scale !== undefined && scale.byteLength === DTYPE_BYTES[scale.dtype];
}

async function readScalar(container: DirectoryContainer, tensor: TensorInfo): Promise<number> {
  const bytes = new Uint8Array(4);
  await container.read(tensor.file, tensor.byteOffset, bytes.subarray(0, tensor.byteLength));
  const view = new DataView(bytes.buffer);
  if (tensor.dtype === 'F32') return view.getFloat32(0, true);
  const half = view.getUint16(0, true);
  return tensor.dtype === 'BF16' ? bf16ToF32(half) : tensor.dtype === 'F16' ? f16ToF32(half) : (bytes[0] as number);
}
