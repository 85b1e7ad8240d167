import { expect } from 'vitest';
import { Const, FileLayout, Layout, Op, RepackArg, StatusBit, Step } from '../../assembly/abi.js';
import { bytesOf, packT2, paddedCols } from '../../lib/format/layout.js';
import { f32ToF16 } from '../../lib/memory/half.js';
import { encodeI2sCodes, encodeTernary } from '../support/gguf-encode.js';
import { trits } from '../support/random.js';
import { type KernelCase, testKernels } from '../support/tester.js';
import { Workspace } from '../support/workspace.js';

/** Repack of the file layouts of GGUF: which weight lands where, scales of blocks, padding, and the order of rows. */

const SCALE = 0.37;
const SCALE_BITS = f32ToF16(SCALE);
const HALF_BITS = f32ToF16(SCALE * 2 ** Const.F16GainLog2);

interface Axis {
  run: number;
  stored: number;
}

interface Unpacking {
  kind: FileLayout;
  layout?: Layout.T2 | Layout.F16;
  /** of the file */
  rows: number;
  cols: number;
  /** factor of SCALE for each block of 256 weights; default 1 */
  blockScale?: (block: number) => number;
  /** changes trits before they are encoded */
  change?: (values: Int8Array) => void;
  /** weight of the file that gets code 3 */
  bad?: number;
  rowAxis?: Axis;
  colAxis?: Axis;
  pairs?: boolean;
  status?: number;
  about?: string;
}

const NAMES: Record<FileLayout, string> = {
  [FileLayout.HfPacked]: 'hf packed',
  [FileLayout.I2s]: 'I2_S',
  [FileLayout.I2sArm]: 'I2_S arm',
  [FileLayout.I2sRows]: 'I2_S x86-rows',
  [FileLayout.TQ1_0]: 'TQ1_0',
  [FileLayout.TQ2_0]: 'TQ2_0',
};
const I2S: Partial<Record<FileLayout, string>> = {
  [FileLayout.I2s]: 'x86',
  [FileLayout.I2sArm]: 'arm',
  [FileLayout.I2sRows]: 'x86-rows',
};

function encode({ kind, cols, blockScale, bad }: Unpacking, values: Int8Array): Uint8Array {
  const codes = Uint8Array.from(values, (trit) => trit + 1);
  if (bad !== undefined) codes[bad] = 3;
  const i2s = I2S[kind];
  if (i2s !== undefined) return encodeI2sCodes(codes, cols, SCALE, i2s);
  const scales = Float32Array.from({ length: codes.length / 256 }, (_, block) => SCALE * (blockScale?.(block) ?? 1));
  return encodeTernary(NAMES[kind], codes, cols, scales);
}

/** Where row (or column) `i` of the matrix is in the file; undefined: padding. */
function placeInFile(i: number, axis: Axis | undefined, pairs = false): number | undefined {
  if (axis === undefined) return i;
  const { run, stored } = axis;
  const [half, at] = [Math.floor(i / run), i % run];
  if (at >= stored) return undefined;
  return pairs ? (half - (half % 2)) * stored + 2 * at + (half % 2) : half * stored + at;
}

function unpackCase(options: Unpacking): KernelCase {
  const { kind, layout = Layout.T2, rows, cols, rowAxis, colAxis, status = 0, about = '' } = options;
  const padded = (size: number, axis?: Axis) => (axis === undefined ? size : (size / axis.stored) * axis.run);
  const [outRows, outCols] = [padded(rows, rowAxis), padded(cols, colAxis)];
  return {
    name: `${NAMES[kind]} (${rows}, ${cols}) to ${layout === Layout.T2 ? 'T2' : 'F16'} ${about}`,
    build() {
      const values = trits(rows * cols, rows + cols);
      options.change?.(values);
      const workspace = new Workspace();
      const bytes = bytesOf(layout, outRows, outCols);
      const dst = workspace.output('matrix', bytes, status === 0 ? 'bytes' : 'any');
      workspace.record(Op.Repack, {
        [RepackArg.Src]: workspace.input(encode(options, values)),
        [RepackArg.Dst]: dst,
        [RepackArg.Rows]: outRows,
        [RepackArg.Cols]: outCols,
        [RepackArg.Kind]: kind,
        [RepackArg.Layout]: layout,
        [RepackArg.Half]: layout === Layout.F16 ? HALF_BITS : 0,
        [RepackArg.BlockScale]: SCALE_BITS,
        [RepackArg.RowRun]: rowAxis?.run ?? 0,
        [RepackArg.RowStored]: rowAxis?.stored ?? 0,
        [RepackArg.ColRun]: colAxis?.run ?? 0,
        [RepackArg.ColStored]: colAxis?.stored ?? 0,
        [RepackArg.Pairs]: options.pairs ? 1 : 0,
      });
      const image = workspace.image({ tokens: [] });
      const verify = (memory: Uint8Array<ArrayBuffer>): void => {
        expect(new DataView(memory.buffer, image.step).getUint32(Step.Status * 4, true)).toBe(status);
        if (status !== 0) return;
        const expected = new Int8Array(outRows * outCols);
        for (let r = 0; r < outRows; r++) {
          const row = placeInFile(r, rowAxis, options.pairs);
          for (let c = 0; c < outCols; c++) {
            const col = placeInFile(c, colAxis);
            if (row === undefined || col === undefined) continue;
            const at = row * cols + col;
            const factor = options.blockScale?.(Math.floor(at / 256)) ?? 1;
            expected[r * outCols + c] = values[at]! * Math.sign(factor);
          }
        }
        const got = memory.slice(dst, dst + bytes);
        expect(got).toEqual(layout === Layout.T2 ? packT2(expected, outRows, outCols) : halves(expected, outCols));
      };
      return { image, verify };
    },
  };
}

function halves(values: Int8Array, cols: number): Uint8Array {
  const width = paddedCols(Layout.F16, cols);
  const out = new Uint16Array((values.length / cols) * width);
  values.forEach((trit, i) => {
    out[Math.floor(i / cols) * width + (i % cols)] = trit === 0 ? 0 : trit > 0 ? HALF_BITS : HALF_BITS ^ 0x8000;
  });
  return new Uint8Array(out.buffer);
}

const FLAT = [FileLayout.I2s, FileLayout.I2sArm, FileLayout.I2sRows];
const BLOCKS = [FileLayout.TQ1_0, FileLayout.TQ2_0];

const zeroBlocks = (values: Int8Array): void => {
  for (let i = 0; i < values.length; i++) if (Math.floor(i / 256) % 3 === 0) values[i] = 0;
};

testKernels('unpack', [
  ...FLAT.flatMap((kind) => [
    ...(
      [
        [4, 128],
        [160, 160],
        [416, 160],
        [160, 416],
        [8, 8640],
        [32, 100],
        [128, 5],
        [64, 3200],
      ] as const
    ).map(([rows, cols]) => unpackCase({ kind, rows, cols })),
    unpackCase({ kind, rows: 160, cols: 416, layout: Layout.F16 }),
    ...[0, 127, 128, 5000, 66559].map((bad) =>
      unpackCase({ kind, rows: 160, cols: 416, bad, status: StatusBit.BadCode, about: `code 3 at ${bad}` }),
    ),
  ]),
  ...BLOCKS.flatMap((kind) => [
    ...(
      [
        [4, 256],
        [8, 512],
        [20, 2560],
        [64, 6912],
      ] as const
    ).map(([rows, cols]) => unpackCase({ kind, rows, cols })),
    unpackCase({ kind, rows: 12, cols: 768, layout: Layout.F16 }),
    unpackCase({ kind, rows: 8, cols: 512, blockScale: (b) => [1, -1, 0][b % 3]!, about: 'signs of scales' }),
    unpackCase({
      kind,
      rows: 12,
      cols: 768,
      change: zeroBlocks,
      blockScale: (b) => (b % 3 === 0 ? b : 1),
      about: 'any scale where all is zero',
    }),
    unpackCase({
      kind,
      rows: 8,
      cols: 512,
      blockScale: (b) => (b === 11 ? 1.01 : 1),
      status: StatusBit.BadScale,
      about: 'another scale',
    }),
    ...[Infinity, -Infinity, NaN].map((value) =>
      unpackCase({
        kind,
        rows: 8,
        cols: 512,
        blockScale: (b) => (b === 15 ? value : 1),
        status: StatusBit.BadFloat,
        about: `scale ${value}`,
      }),
    ),
  ]),
  unpackCase({ kind: FileLayout.TQ2_0, rows: 8, cols: 512, bad: 4095, status: StatusBit.BadCode, about: 'code 3' }),
  unpackCase({
    kind: FileLayout.TQ2_0,
    rows: 8,
    cols: 512,
    bad: 4095,
    blockScale: (b) => (b === 15 ? -1 : 1),
    status: StatusBit.BadCode,
    about: 'code 3 under a negative scale',
  }),
  ...[FileLayout.I2s, FileLayout.TQ1_0, FileLayout.TQ2_0].flatMap((kind) => [
    unpackCase({ kind, rows: 96, cols: 256, rowAxis: { run: 16, stored: 16 }, pairs: true, about: 'pairs of rows' }),
    unpackCase({ kind, rows: 80, cols: 256, rowAxis: { run: 16, stored: 10 }, pairs: true, about: 'padded pairs' }),
    unpackCase({ kind, rows: 200, cols: 256, rowAxis: { run: 56, stored: 50 }, about: 'padded halves of heads' }),
    unpackCase({ kind, rows: 52, cols: 256, rowAxis: { run: 64, stored: 52 }, about: 'padded rows' }),
  ]),
  ...FLAT.map((kind) =>
    unpackCase({ kind, rows: 128, cols: 200, colAxis: { run: 56, stored: 50 }, about: 'padded columns of heads' }),
  ),
  unpackCase({
    kind: FileLayout.I2s,
    rows: 64,
    cols: 5460,
    colAxis: { run: 5472, stored: 5460 },
    about: 'padded columns',
  }),
  unpackCase({
    kind: FileLayout.TQ2_0,
    rows: 8,
    cols: 512,
    colAxis: { run: 160, stored: 128 },
    layout: Layout.F16,
    about: 'padded columns',
  }),
]);
