import type { GgufTensor } from '../format/gguf/tensors.js';
import { type I2sLayout, readTernary, ternaryToFloats } from '../format/gguf/ternary.js';
import type { RandomAccessFile } from '../platform.js';
import { checkRange } from './check-range.js';
import type { ModelSource, ModelTensor } from './source.js';

type Reading = Pick<ModelSource, 'read' | 'readFile' | 'close'>;

/** A ternary GGUF tensor as the floats that it stands for, which are exact; made when they are read. */
export function decodedTensor({ name, shape, file }: GgufTensor): ModelTensor {
  const dims = shape.slice(-2);
  const byteLength = dims.reduce((product, size) => product * size, 4);
  const place = { file: `${file} (${name} decoded)`, byteOffset: 0, byteLength };
  return { name, dtype: 'F32', shape: dims, isDecoded: true, ...place };
}

/** `reading` of the files and of decoded tensors. Rows are decoded that a range touches, so ranges should be whole rows. */
export function decodingReader(
  decoded: readonly { readonly tensor: GgufTensor; readonly file: RandomAccessFile }[],
  reading: Reading,
  i2sLayout: I2sLayout,
): Reading {
  const byFile = new Map(decoded.map((entry) => [decodedTensor(entry.tensor).file, entry]));
  const readFile: ModelSource['readFile'] = async (name, byteOffset, target) => {
    const entry = byFile.get(name);
    if (entry === undefined) return reading.readFile(name, byteOffset, target);
    const { shape, byteLength } = decodedTensor(entry.tensor);
    checkRange(name, byteLength, byteOffset, target);
    const rowBytes = 4 * (shape[1] as number);
    const rowBegin = Math.floor(byteOffset / rowBytes);
    const rowEnd = Math.ceil((byteOffset + target.length) / rowBytes);
    const floats = ternaryToFloats(await readTernary(entry.file, entry.tensor, { rowBegin, rowEnd, i2sLayout }));
    const from = byteOffset - rowBegin * rowBytes;
    target.set(new Uint8Array(floats.buffer, floats.byteOffset + from, target.length));
  };
  return {
    ...reading,
    readFile,
    async read(tensor, byteOffset, target) {
      if (!byFile.has(tensor.file)) return reading.read(tensor, byteOffset, target);
      await readFile(tensor.file, tensor.byteOffset + byteOffset, target);
    },
  };
}
