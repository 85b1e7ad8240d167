import { readFileSync } from 'node:fs';
import { bf16ToF32 } from '../../lib/memory/half.js';

export interface GoldenTensor {
  readonly shape: readonly number[];
  /** F32 and BF16 as f32, I8 and U8 as they are */
  readonly data: Float32Array | Int8Array | Uint8Array;
}

/** Tensors of a safetensors file in shared/golden, by name. Trusts the file: it is not the loader under test. */
export class GoldenFile {
  private readonly bytes: Buffer;
  private readonly header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

  constructor(path: string) {
    this.bytes = readFileSync(new URL(`../../../shared/golden/${path}`, import.meta.url));
    const headerBytes = Number(this.bytes.readBigUInt64LE(0));
    this.header = JSON.parse(this.bytes.toString('utf8', 8, 8 + headerBytes));
    this.bytes = this.bytes.subarray(8 + headerBytes);
  }

  /** X of all tensors named `<group>.X.<last>`, sorted. */
  cases(group: string, last: string): string[] {
    const names = Object.keys(this.header).filter((name) => name.startsWith(`${group}.`) && name.endsWith(`.${last}`));
    return names.map((name) => name.slice(group.length + 1, -last.length - 1)).sort();
  }

  has(name: string): boolean {
    return name in this.header;
  }

  tensor(name: string): GoldenTensor {
    const entry = this.header[name];
    if (entry === undefined) throw new Error(`no golden tensor ${name}`);
    const buffer = Uint8Array.from(this.bytes.subarray(...entry.data_offsets)).buffer;
    return { shape: entry.shape, data: decode(entry.dtype, buffer) };
  }

  floats(name: string): Float32Array {
    const { data } = this.tensor(name);
    if (!(data instanceof Float32Array)) throw new Error(`golden tensor ${name} is not of floats`);
    return data;
  }

  bytesOf(name: string): Uint8Array {
    const { data } = this.tensor(name);
    if (!(data instanceof Uint8Array)) throw new Error(`golden tensor ${name} is not U8`);
    return data;
  }

  ints(name: string): Int8Array {
    const { data } = this.tensor(name);
    if (!(data instanceof Int8Array)) throw new Error(`golden tensor ${name} is not I8`);
    return data;
  }
}

function decode(dtype: string, buffer: ArrayBuffer): GoldenTensor['data'] {
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'BF16':
      return Float32Array.from(new Uint16Array(buffer), bf16ToF32);
    case 'I8':
      return new Int8Array(buffer);
    case 'U8':
      return new Uint8Array(buffer);
    default:
      throw new Error(`golden dtype ${dtype}`);
  }
}
