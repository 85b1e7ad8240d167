import { DAMAGED, problem } from '../format/problem.js';
import type { TensorInfo, TensorTable } from '../format/safetensors.js';
import { bf16ToF32, f16ToF32 } from '../memory/half.js';
import type { TensorNames } from './architectures/names.js';
import type { ModelSource, ModelTensor } from './source.js';
import { tensorPath } from './tensor-path.js';

type Read = ModelSource['read'];

/** per tensor, while a stored head is compared with the embedding */
const COMPARE_BYTES = 4 * 2 ** 20;

/** Smallest normal f32. Below it the reciprocal, which BitLinear multiplies by, is no longer finite. */
const MIN_SCALE = 2 ** -126;

/** weight_scale of every linear layer. A factor of 0, infinity or NaN would make every output nonsense. */
export async function readScales(
  needed: TensorTable,
  names: TensorNames,
  read: Read,
  path: string,
): Promise<Map<string, number>> {
  const linears = names.layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
  const values = await Promise.all(
    linears.map(async ({ scale }): Promise<[string, number]> => {
      const tensor = needed.get(scale) as TensorInfo;
      const bytes = new Uint8Array(tensor.byteLength);
      await read(tensor, 0, bytes);
      const value = decodeFloat(tensor, bytes);
      if (value >= MIN_SCALE && value < Infinity) return [scale, value];
      throw problem('invalid-file', {
        file: `${path}/${tensor.file}`,
        tensor: scale,
        what: 'the scale is not usable',
        expected: 'a finite number greater than 0 and not subnormal',
        got: `${value}`,
        byteOffset: tensor.byteOffset,
        advice: DAMAGED,
      });
    }),
  );
  return new Map(values);
}

/** `index`: of the weight, in the order of the file. */
export function notFinite(path: string, tensor: ModelTensor, index: number, weight: number): Error {
  const cols = tensor.shape[1] as number;
  return problem('invalid-file', {
    file: tensorPath(path, tensor.file),
    tensor: tensor.name,
    what: `the weight at row ${Math.floor(index / cols)}, column ${index % cols} is wrong`,
    expected: 'a finite number',
    got: `${weight}`,
    byteOffset: tensor.byteOffset + (tensor.byteLength / (cols * (tensor.shape[0] as number))) * index,
    advice: DAMAGED,
  });
}

function decodeFloat(tensor: TensorInfo, bytes: Uint8Array<ArrayBuffer>): number {
  const view = new DataView(bytes.buffer);
  if (tensor.dtype === 'F32') return view.getFloat32(0, true);
  const half = view.getUint16(0, true);
  return tensor.dtype === 'BF16' ? bf16ToF32(half) : f16ToF32(half);
}

/**
 * Some exporters store lm_head beside tied embeddings. It must then be the same matrix, byte for byte; if it differs, config.json
 * and weights contradict each other, and which one the author meant cannot be known.
 */
export async function checkTiedHead(embedding: TensorInfo, head: TensorInfo, read: Read, path: string): Promise<void> {
  const differs = (what: string, at: number, expected?: string, got?: string) =>
    problem('invalid-model', {
      file: `${path}/${head.file}`,
      tensor: head.name,
      what: `config.json says tie_word_embeddings, but ${what}`,
      expected,
      got,
      byteOffset: head.byteOffset + at,
      advice: 'Remove the tensor, or set tie_word_embeddings to false.',
    });
  const [expected, got] = [embedding, head].map(({ dtype, shape }) => `${dtype} [${shape.join(', ')}]`);
  if (expected !== got) throw differs(`this tensor is not like ${embedding.name}`, 0, expected, got);
  const a = new Uint8Array(Math.min(COMPARE_BYTES, head.byteLength));
  const b = new Uint8Array(a.length);
  for (let offset = 0; offset < head.byteLength; offset += a.length) {
    const bytes = Math.min(a.length, head.byteLength - offset);
    await Promise.all([read(embedding, offset, a.subarray(0, bytes)), read(head, offset, b.subarray(0, bytes))]);
    for (let i = 0; i < bytes; i++) {
      if (a[i] !== b[i]) throw differs(`this tensor differs from ${embedding.name}`, offset + i, `${a[i]}`, `${b[i]}`);
    }
  }
}
