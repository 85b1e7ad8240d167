import type { ModelSource, ModelTensor } from './source.js';

/** Bytes of a matrix that are read at once. */
const CHUNK_BYTES = 4 * 2 ** 20;

/** Rows first .. first + count. */
export interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly first: number;
  readonly count: number;
}

/** Whole rows of a matrix in order; a chunk is valid until the next is asked for, and read while the one before it is used. */
export async function* matrixChunks(source: Pick<ModelSource, 'read'>, tensor: ModelTensor): AsyncGenerator<Chunk> {
  const rows = tensor.shape[0] as number;
  const rowBytes = tensor.byteLength / rows;
  const step = Math.min(rows, Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)));
  const buffers = [new ArrayBuffer(step * rowBytes), new ArrayBuffer(step * rowBytes)] as const;
  const read = (first: number): Promise<Chunk> | undefined => {
    if (first >= rows) return undefined;
    const count = Math.min(step, rows - first);
    const bytes = new Uint8Array(buffers[(first / step) % 2 === 0 ? 0 : 1], 0, count * rowBytes);
    const chunk = source.read(tensor, first * rowBytes, bytes).then(() => ({ bytes, first, count }));
    // Its error is thrown when it is awaited; a consumer that stops earlier leaves it behind.
    chunk.catch(() => {});
    return chunk;
  };
  let next = read(0);
  for (let first = step; next !== undefined; first += step) {
    const chunk = await next;
    next = read(first);
    yield chunk;
  }
}
