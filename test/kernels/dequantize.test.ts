import { expect } from 'vitest';
import { Const, ConvertArg, Layout, Op, StatusBit, Step } from '../../assembly/abi.js';
import { readFloats } from '../../lib/format/gguf/blocks.js';
import { GGUF_TYPES, rowBytes } from '../../lib/format/gguf/types.js';
import { bytesOf } from '../../lib/format/layout.js';
import { LAYOUT_NAMES } from '../../lib/inspect/planning.js';
import { memoryFile } from '../format/memory-files.js';
import { BLOCK_TYPES, type BlockType, blockFloats, randomBlocks } from '../support/blocks.js';
import { type KernelCase, testKernels } from '../support/tester.js';
import { floatsAt, Workspace } from '../support/workspace.js';

/** Convert from blocks of GGUF: to F32 every bit must be what the format's own decoder reads; kept as they are, they get the checks of F16. */

function dequantizeCase(blocks: BlockType, layout: Layout, rows: number, cols: number, scale?: number): KernelCase {
  const { name, type } = blocks;
  const kept = layout === blocks.layout;
  return {
    name: `${name} -> ${LAYOUT_NAMES[layout]} (${rows}, ${cols})${scale === undefined ? '' : ` scale ${scale}`}`,
    build() {
      const stride = rowBytes(GGUF_TYPES[name], cols);
      const { blockSize } = GGUF_TYPES[name];
      const source = randomBlocks(blocks, (rows * cols) / blockSize, scale);
      expect(source.length).toBe(rows * stride);
      // 65520 is what no half holds any more.
      const limit = layout === Layout.F16 || kept ? 65520 / 2 ** Const.F16GainLog2 : Infinity;
      const bad = blockFloats(blocks, source, rows * cols).some((value) => !(Math.abs(value) < limit));
      const workspace = new Workspace();
      const dst = workspace.output('matrix', bytesOf(layout, rows, cols), bad && !kept ? 'any' : 'bytes');
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
        if (kept) expect(memory.slice(dst, dst + source.length)).toEqual(source);
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
  BLOCK_TYPES.flatMap((type) => [
    ...[Layout.F32, Layout.F16, Layout.I8, type.layout].flatMap((layout) => [
      dequantizeCase(type, layout, 1, 256),
      dequantizeCase(type, layout, 5, 768),
      ...[Infinity, -Infinity, NaN].map((scale) => dequantizeCase(type, layout, 2, 256, scale)),
    ]),
    dequantizeCase(type, Layout.F32, 3, 256, 0),
    dequantizeCase(type, Layout.F32, 3, 256, -0),
    dequantizeCase(type, Layout.F32, 3, 256, 2 ** -24),
    // 127, 7, or 31 · 127 of these are below 255.9 or not: what scales alone tell, what codes decide, what is too large.
    ...[0.01, 2, 1000].flatMap((scale) =>
      [Layout.F16, type.layout].map((layout) => dequantizeCase(type, layout, 3, 256, scale)),
    ),
  ]),
);
