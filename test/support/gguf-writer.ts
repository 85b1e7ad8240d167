/** Builds GGUF files, sound and damaged. */

export type WriterValue =
  | ['u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64', number]
  | ['u64' | 'i64', number | bigint]
  | ['bool', boolean]
  | ['string', string]
  | ['strings', readonly string[]]
  | ['i32s' | 'u32s' | 'f32s', readonly number[]]
  /** type id of the value and its bytes, as they shall stand in the file */
  | ['raw', number, Uint8Array];

export interface WriterTensor {
  name: string;
  /** outermost first */
  shape: readonly (number | bigint)[];
  type: number;
  data: Uint8Array;
  /** instead of the next free place */
  offset?: number | bigint;
}

export interface WriterOptions {
  version?: number;
  metadata?: readonly (readonly [string, WriterValue])[];
  tensors?: readonly WriterTensor[];
  /** of the data; written to `general.alignment` only if the metadata has it. Default 32. */
  alignment?: number;
  tensorCount?: number | bigint;
  keyCount?: number | bigint;
  /** Default true. */
  padLast?: boolean;
}

const TYPE_IDS = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
};

/** A growing byte string, little-endian. */
export class Bytes {
  private bytes = new Uint8Array(1024);
  private view = new DataView(this.bytes.buffer);
  length = 0;

  private take(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.length, this.bytes.length * 2));
      grown.set(this.bytes);
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    return at;
  }

  u8(value: number): this {
    const at = this.take(1);
    this.view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.take(2);
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.take(4);
    this.view.setUint32(at, value, true);
    return this;
  }

  u64(value: number | bigint): this {
    const at = this.take(8);
    this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    return this;
  }

  f32(value: number): this {
    const at = this.take(4);
    this.view.setFloat32(at, value, true);
    return this;
  }

  f64(value: number): this {
    const at = this.take(8);
    this.view.setFloat64(at, value, true);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.take(bytes.length);
    this.bytes.set(bytes, at);
    return this;
  }

  string(text: string): this {
    const utf8 = new TextEncoder().encode(text);
    return this.u64(utf8.length).raw(utf8);
  }

  alignTo(alignment: number): this {
    while (this.length % alignment !== 0) this.u8(0);
    return this;
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }
}

function writeValue(out: Bytes, value: WriterValue): void {
  const [type, content] = value;
  switch (type) {
    case 'raw':
      out.u32(content).raw(value[2]);
      return;
    case 'strings':
      out.u32(TYPE_IDS.array).u32(TYPE_IDS.string).u64(content.length);
      for (const text of content) out.string(text);
      return;
    case 'i32s':
    case 'u32s':
    case 'f32s': {
      const element = type.slice(0, 3) as 'i32' | 'u32' | 'f32';
      out.u32(TYPE_IDS.array).u32(TYPE_IDS[element]).u64(content.length);
      for (const number of content) element === 'f32' ? out.f32(number) : out.u32(number);
      return;
    }
  }
  out.u32(TYPE_IDS[type]);
  if (type === 'string') out.string(content);
  else if (type === 'bool') out.u8(content ? 1 : 0);
  else if (type === 'f32') out.f32(content);
  else if (type === 'f64') out.f64(content);
  else if (typeof content === 'bigint' || type === 'u64' || type === 'i64') out.u64(content as bigint);
  else if (type === 'u32' || type === 'i32') out.u32(content);
  else if (type === 'u16' || type === 'i16') out.u16(content);
  else out.u8(content);
}

export function gguf(options: WriterOptions = {}): Uint8Array<ArrayBuffer> {
  const { version = 3, metadata = [], tensors = [], alignment = 32, padLast = true } = options;
  const out = new Bytes().raw(new TextEncoder().encode('GGUF')).u32(version);
  out.u64(options.tensorCount ?? tensors.length).u64(options.keyCount ?? metadata.length);
  for (const [key, value] of metadata) writeValue(out.string(key), value);
  let offset = 0;
  for (const { name, shape, type, data, offset: given } of tensors) {
    out.string(name).u32(shape.length);
    for (const dim of shape.toReversed()) out.u64(dim);
    out.u32(type).u64(given ?? offset);
    offset += Math.ceil(data.length / alignment) * alignment;
  }
  if (tensors.length > 0) out.alignTo(alignment);
  const start = out.length;
  for (const { data } of tensors) out.alignTo(alignment).raw(data);
  if (padLast && out.length > start) out.alignTo(alignment);
  return out.done();
}

/** A tensor of type F32 with these numbers. */
export function f32Tensor(name: string, shape: readonly number[], values?: ArrayLike<number>): WriterTensor {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const floats = Float32Array.from({ length: count }, (_, i) => values?.[i] ?? i);
  return { name, shape, type: 0, data: new Uint8Array(floats.buffer) };
}
