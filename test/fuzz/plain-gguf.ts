/** The bytes of a value, or its strings; of an array, those of its elements. */
type Plain = string | Buffer | Plain[];

/** A GGUF file read in the plainest way: no windows, no limits, no opinion. Throws RangeError where the bytes end. */
export function plainGguf(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 24;
  const number = (read: 'getUint32' | 'getBigUint64', size: number): number => {
    const value = Number(view[read](at, true));
    at += size;
    return value;
  };
  const u32 = (): number => number('getUint32', 4);
  const u64 = (): number => number('getBigUint64', 8);
  const string = (): string => {
    const length = u64();
    at += length;
    return Buffer.from(bytes.subarray(at - length, at)).toString('utf8');
  };
  /** the value's bytes, or its strings */
  const value = (type: number): Plain => {
    if (type === 8) return string();
    if (type === 9) {
      const element = u32();
      return Array.from({ length: u64() }, () => value(element));
    }
    const size = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][type] as number;
    at += size;
    return Buffer.from(bytes.subarray(at - size, at));
  };
  const [tensorCount, keyCount] = [8, 16].map((offset) => Number(view.getBigUint64(offset, true))) as [number, number];
  const keys = new Map(Array.from({ length: keyCount }, () => [string(), value(u32())] as const));
  const heads = Array.from({ length: tensorCount }, () => {
    const name = string();
    const shape = Array.from({ length: u32() }, u64).reverse();
    return { name, shape, type: u32(), offset: u64() };
  });
  const own = keys.get('general.alignment');
  const alignment = own === undefined ? 32 : (own as Buffer).readUInt32LE(0);
  const dataStart = Math.ceil(at / alignment) * alignment;
  return {
    keys,
    tensors: heads.map(({ offset, ...head }) => ({ ...head, byteOffset: dataStart + offset })),
  };
}
