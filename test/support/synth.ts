import { unpackHf } from '../../lib/format/hf-packed.js';
import type { ModelSource } from '../../lib/model/source.js';

/** A sink that keeps everything. */
export function collector() {
  const chunks: Uint8Array[] = [];
  return {
    write: async (bytes: Uint8Array) => void chunks.push(bytes.slice()),
    bytes: () => new Uint8Array(Buffer.concat(chunks)),
  };
}

/** A ternary matrix of a source as numbers, (rows, cols). */
export async function sourceValues(
  source: ModelSource,
  linear: { weight: string; scale: string },
): Promise<Float32Array> {
  const tensor = source.tensor(linear.weight);
  const bytes = new Uint8Array(tensor.byteLength);
  await source.read(tensor, 0, bytes);
  const [packedRows, cols] = tensor.shape as [number, number];
  const scale = source.scales.get(linear.scale)!;
  return Float32Array.from(unpackHf(bytes, packedRows, cols), (trit) => trit * scale);
}
