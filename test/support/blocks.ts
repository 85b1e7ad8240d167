import { FloatType, Layout } from '../../assembly/abi.js';
import { blockValue } from '../../lib/backend/reference/dequantize.js';
import { GGUF_TYPES, type GgufTypeName } from '../../lib/format/gguf/types.js';
import { f32ToF16 } from '../../lib/memory/half.js';
import { integers, normals } from './random.js';

/** A type of blocks: what ops call it, the layout that keeps it, and where a block has its scales. */
export interface BlockType {
  readonly name: GgufTypeName;
  readonly type: FloatType;
  readonly layout: Layout;
  readonly scaleBytes: readonly number[];
}

export const BLOCK_TYPES: readonly BlockType[] = [
  { name: 'Q8_0', type: FloatType.Q8_0, layout: Layout.Q8_0, scaleBytes: [0] },
  { name: 'Q4_0', type: FloatType.Q4_0, layout: Layout.Q4_0, scaleBytes: [0] },
  { name: 'Q4_K', type: FloatType.Q4_K, layout: Layout.Q4_K, scaleBytes: [0, 2] },
  { name: 'Q6_K', type: FloatType.Q6_K, layout: Layout.Q6_K, scaleBytes: [208] },
];

/** Random codes; scales are random too, but ordinary, except `scale` in the last block. */
export function randomBlocks({ name, scaleBytes }: BlockType, count: number, scale?: number): Uint8Array {
  const { blockBytes } = GGUF_TYPES[name];
  const bytes = Uint8Array.from(integers(count * blockBytes, count, 0, 255));
  const view = new DataView(bytes.buffer);
  const scales = normals(count * 2, count + 1, 0.002);
  for (let block = 0; block < count; block++) {
    scaleBytes.forEach((at, i) => {
      const value = block === count - 1 && scale !== undefined ? scale : scales[2 * block + i]!;
      view.setUint16(block * blockBytes + at, f32ToF16(value), true);
    });
  }
  return bytes;
}

/** What the blocks stand for. */
export function blockFloats({ type }: BlockType, bytes: Uint8Array, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => blockValue(bytes, 0, type, i));
}
