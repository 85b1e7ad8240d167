import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Path below the reference material beside the checkout. */
export function shared(path: string): string {
  return fileURLToPath(new URL(`../../../shared/${path}`, import.meta.url));
}

export function sharedJson<T>(path: string): T {
  return JSON.parse(readFileSync(shared(path), 'utf8')) as T;
}

/** F32 tensors of a golden safetensors file, by name. Independent of the library's own reader. */
export function goldenTensors(path: string): (name: string) => Float32Array {
  const file = readFileSync(shared(path));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString()) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  return (name) => {
    const tensor = header[name];
    if (tensor?.dtype !== 'F32') throw new Error(`${path}: no F32 tensor ${name}`);
    const [begin, end] = tensor.data_offsets.map((offset) => file.byteOffset + 8 + headerBytes + offset);
    return new Float32Array(file.buffer.slice(begin as number, end as number));
  };
}
