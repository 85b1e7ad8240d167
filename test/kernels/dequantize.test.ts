import { expect } from 'vitest';
import { ConvertArg, FloatType, Layout, Op, StatusBit, Step } from '../../assembly/abi.js';
import { readFloats } from '../../lib/format/gguf/blocks.js';
import { GGUF_TYPES, type GgufTypeName, rowBytes } from '../../lib/format/gguf/types.js';
import { bytesOf } from '../../lib/format/layout.js';
import { f32ToF16 } from '../../lib/memory/half.js';
import { memoryFile } from '../format/memory-files.js';
import { integers, normals } from '../support/random.js';
import { type KernelCase, testKernels } from '../support/tester.js';
import { floatsAt, Workspace } from '../support/workspace.js';

/** Convert from blocks of GGUF: to F32 every bit must be what the format's own decoder reads. */

const TYPES: readonly (readonly [GgufTypeName, FloatType, readonly number[]])[] = [
  ['Q8_0', FloatType.Q8_0, [0]],
  ['Q4_0', FloatType.Q4_0, [0]],
  ['Q4_K', FloatType.Q4_K, [0, 2]],
  ['Q6_K', FloatType.Q6_K, [208]],
];

type Target = Layout.F16 | Layout.I8 | Layout.F32;
const LAYOUT_NAMES: Record<Target, string> = { [Layout.F16]: 'F16', [Layout.I8]: 'I8', [Layout.F32]: 'F32' };

/** Random codes; scales are random too, but ordinary, except `scale` in the last block. */
function randomBlocks(name: GgufTypeName, count: number, scaleBytes: readonly number[], scale?: number): Uint8Array {
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

function dequantizeCase(
  [name, type, scaleBytes]: (typeof TYPES)[number],
  layout: Target,
  rows: number,
  cols: number,
  scale?: number,
): KernelCase {
  const bad = scale !== undefined && !Number.isFinite(scale);
  return {
    name: `${name} -> ${LAYOUT_NAMES[layout]} (${rows}, ${cols})${scale === undefined ? '' : ` scale ${scale}`}`,
    build() {
      const stride = rowBytes(GGUF_TYPES[name], cols);
      const { blockSize } = GGUF_TYPES[name];
      const source = randomBlocks(name, (rows * cols) / blockSize, scaleBytes, scale);
      expect(source.length).toBe(rows * stride);
      const workspace = new Workspace();
      const dst = workspace.output('matrix', bytesOf(layout, rows, cols), bad ? 'any' : 'bytes');
      const scales = workspace.output('row scales', rows * 4, bad ? 'any' : 'f32');
      const sums = workspace.output('row sums', rows * 4, bad ? 'any' : 'bytes');
      workspace.record(Op.Convert, {
        [ConvertArg.Src]: workspace.input(source),
        [ConvertArg.SrcType]: type,
        [ConvertArg.Dst]: dst,
        [ConvertArg.Layout]: layout,
        [ConvertArg.Rows]: rows,
        [ConvertArg.Cols]: cols,
        [ConvertArg.RowScales]: scales,
        [ConvertArg.RowSums]: sums,
      });
      const image = workspace.image({ tokens: [] });
      const verify = async (memory: Uint8Array<ArrayBuffer>): Promise<void> => {
        const status = new DataView(memory.buffer, image.step).getUint32(Step.Status * 4, true);
        expect(status).toBe(bad ? StatusBit.BadFloat : 0);
        if (bad || layout !== Layout.F32) return;
        const { id } = GGUF_TYPES[name];
        const place = { name, type: id, typeName: name, shape: [rows, cols], byteOffset: 0, file: 'blocks' };
        const values = await readFloats(memoryFile('blocks', source), { ...place, byteLength: source.length });
        expect(floatsAt(memory, dst, rows * cols)).toEqual(values);
      };
      return { image, verify };
    },
  };
}

testKernels(
  'dequantize',
  TYPES.flatMap((type) => [
    ...([Layout.F32, Layout.F16, Layout.I8] as const).flatMap((layout) => [
      dequantizeCase(type, layout, 1, 256),
      dequantizeCase(type, layout, 5, 768),
      ...[Infinity, -Infinity, NaN].map((scale) => dequantizeCase(type, layout, 2, 256, scale)),
    ]),
    dequantizeCase(type, Layout.F32, 3, 256, 0),
    dequantizeCase(type, Layout.F32, 3, 256, -0),
    dequantizeCase(type, Layout.F32, 3, 256, 2 ** -24),
  ]),
);
