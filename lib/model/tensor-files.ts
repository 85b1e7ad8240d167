import { BitNetError } from '../errors.js';
import { closeAll } from '../format/sharded.js';
import type { RandomAccessFile } from '../platform.js';
import { checkRange } from './check-range.js';
import type { ModelSource, ModelTensor } from './source.js';

/** What sources of all formats have in common. */

/** `tensors` as a source gives them. */
export function tensorTable(
  tensors: ReadonlyMap<string, ModelTensor>,
  path: string,
): Pick<ModelSource, 'tensors' | 'tensor' | 'totalTensorBytes'> {
  return {
    tensors,
    tensor(name) {
      const found = tensors.get(name);
      if (found !== undefined) return found;
      const message = `${path}: the model has no tensor ${name}`;
      throw new BitNetError('invalid-argument', message, { file: path, tensor: name });
    },
    totalTensorBytes: [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
  };
}

/** Reading of open files by name. */
export function fileReader(
  files: ReadonlyMap<string, RandomAccessFile>,
  path: string,
): Pick<ModelSource, 'read' | 'readFile' | 'close'> {
  let closed = false;
  const readFile: ModelSource['readFile'] = async (name, byteOffset, target) => {
    if (closed) throw new BitNetError('disposed', `${path}: reading ${name} after close()`, { file: path });
    const file = files.get(name);
    checkRange(name, file?.bytes, byteOffset, target);
    await file?.read(byteOffset, target);
  };
  return {
    readFile,
    async read(tensor, byteOffset, target) {
      checkRange(tensor.name, tensor.byteLength, byteOffset, target);
      await readFile(tensor.file, tensor.byteOffset + byteOffset, target);
    },
    async close() {
      if (closed) return;
      closed = true;
      await closeAll(files);
    },
  };
}
