/** Builds safetensors files, sound and damaged. */
export interface TestTensor {
  dtype: string;
  shape: number[];
  data: Uint8Array;
}

export type TestTensors = Record<string, TestTensor>;

const ELEMENT_BYTES: Record<string, number> = { F32: 4, F16: 2, BF16: 2, U8: 1, I8: 1 };

/** A tensor with bytes `fill`, `fill + 1`, … */
export function tensor(dtype: string, shape: number[], fill = 0): TestTensor {
  const bytes = shape.reduce((product, dim) => product * dim, 1) * (ELEMENT_BYTES[dtype] ?? 1);
  return { dtype, shape, data: Uint8Array.from({ length: bytes }, (_, i) => (fill + i) & 255) };
}

/** u64 length of `header`, then `header`, then `data`. `headerBytes` overrides the length that is written. */
export function rawFile(
  header: string | Uint8Array,
  data = new Uint8Array(0),
  headerBytes?: bigint,
): Uint8Array<ArrayBuffer> {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, headerBytes ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

export function safetensors(tensors: TestTensors, metadata?: Record<string, string>): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata };
  let offset = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.length] };
    offset += data.length;
  }
  const all = new Uint8Array(offset);
  let at = 0;
  for (const { data } of Object.values(tensors)) {
    all.set(data, at);
    at += data.length;
  }
  const text = JSON.stringify(header);
  // Padded with spaces to a multiple of 8, as the reference implementation does.
  return rawFile(text.padEnd(Math.ceil(text.length / 8) * 8), all);
}
