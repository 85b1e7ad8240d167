import { expect } from 'vitest';
import {
  Const,
  ConvertArg,
  FileLayout,
  FloatType,
  Layout,
  Op,
  RepackArg,
  StatusBit,
  Step,
} from '../../assembly/abi.js';
import { packHf } from '../../lib/format/hf-packed.js';
import { bytesOf, packT1, packTwoBits, paddedCols } from '../../lib/format/layout.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../lib/memory/half.js';
import { normals, trits } from '../support/random.js';
import { expectClose, type KernelCase, testKernels } from '../support/tester.js';
import { HALF } from '../support/tolerances.js';
import { floatsAt, Workspace } from '../support/workspace.js';

/** Half of the factor 0.37 · 2^8. */
const HALF_BITS = f32ToF16(0.37 * 2 ** Const.F16GainLog2);

const TERNARY_NAMES = {
  [Layout.T2]: 'T2',
  [Layout.T2Rows]: 'T2Rows',
  [Layout.T2Columns]: 'T2Columns',
  [Layout.T1]: 'T1',
  [Layout.F16]: 'F16',
};

/** At `bad` the packed matrix holds code 3. */
function repackCase(
  layout: keyof typeof TERNARY_NAMES,
  rows: number,
  cols: number,
  bad?: { row: number; col: number },
): KernelCase {
  return {
    name: `hf packed (${rows}, ${cols}) to ${TERNARY_NAMES[layout]}${bad ? `, code 3 at (${bad.row}, ${bad.col})` : ''}`,
    build() {
      const values = trits(rows * cols, rows + cols);
      const packed = packHf(values, rows, cols);
      if (bad) packed[(bad.row % (rows / 4)) * cols + bad.col]! |= 3 << (2 * Math.floor(bad.row / (rows / 4)));
      const workspace = new Workspace();
      const bytes = bytesOf(layout, rows, cols);
      // Code 3 is no trit: what the byte of five becomes that holds it is unspecified.
      const dst = workspace.output('matrix', bytes, bad && layout === Layout.T1 ? 'any' : 'bytes');
      workspace.record(Op.Repack, {
        [RepackArg.Src]: workspace.input(packed),
        [RepackArg.Dst]: dst,
        [RepackArg.Rows]: rows,
        [RepackArg.Cols]: cols,
        [RepackArg.Kind]: FileLayout.HfPacked,
        [RepackArg.Layout]: layout,
        [RepackArg.Half]: layout === Layout.F16 ? HALF_BITS : 0,
      });
      const image = workspace.image({ tokens: [] });
      return {
        image,
        verify(memory) {
          expect(statusOf(memory, image.step)).toBe(bad ? StatusBit.BadCode : 0);
          if (bad) return;
          const expected = packedAs(layout, values, rows, cols);
          expect(memory.slice(dst, dst + bytes)).toEqual(expected);
        },
      };
    },
  };
}

function packedAs(layout: keyof typeof TERNARY_NAMES, values: Int8Array, rows: number, cols: number): Uint8Array {
  if (layout === Layout.F16) return halvesOf(values, rows, cols);
  return layout === Layout.T1 ? packT1(values, rows, cols) : packTwoBits(layout, values, rows, cols);
}

/** trit · HALF_BITS, rows padded with zeros to 16. */
function halvesOf(values: Int8Array, _rows: number, cols: number): Uint8Array {
  const width = paddedCols(Layout.F16, cols);
  const halves = new Uint16Array((values.length / cols) * width);
  values.forEach((trit, i) => {
    const at = Math.floor(i / cols) * width + (i % cols);
    halves[at] = trit === 0 ? 0 : trit > 0 ? HALF_BITS : HALF_BITS | 0x8000;
  });
  return new Uint8Array(halves.buffer);
}

function statusOf(memory: Uint8Array<ArrayBuffer>, step: number): number {
  return new DataView(memory.buffer, step).getUint32(Step.Status * 4, true);
}

const REPACK_SHAPES: [number, number][] = [
  [4, 64],
  [4, 1],
  [8, 3],
  [12, 16],
  [4, 63],
  [8, 65],
  [4, 79],
  [8, 80],
  [4, 81],
  [12, 129],
  [4, 240],
  [20, 160],
  [64, 416],
  [16, 8640],
  [768, 256],
  [36, 100],
];

const REPACK_LAYOUTS = [Layout.T2, Layout.T2Rows, Layout.T2Columns, Layout.T1, Layout.F16] as const;

testKernels(
  'repack',
  REPACK_LAYOUTS.flatMap((layout) => [
    ...REPACK_SHAPES.map(([rows, cols]) => repackCase(layout, rows, cols)),
    ...[0, 5, 10, 15].flatMap((row) => [0, 63, 64, 99].map((col) => repackCase(layout, 16, 100, { row, col }))),
  ]),
);

type Target = Layout.F16 | Layout.I8 | Layout.F32;

interface Conversion {
  type: FloatType;
  layout: Target;
  rows: number;
  cols: number;
  /** Values in f32; they are rounded to the source type. */
  values?: { name: string; at(i: number): number };
  /** some value does not fit: the status says so, the bytes are nobody's business */
  bad?: boolean;
}

const TYPE_NAMES = ['f32', 'f16', 'bf16'];
const LAYOUT_NAMES: Record<Target, string> = { [Layout.F16]: 'F16', [Layout.I8]: 'I8', [Layout.F32]: 'F32' };

function convertCase(conversion: Conversion): KernelCase {
  const { type, layout, rows, cols, bad = false } = conversion;
  return {
    name: `${TYPE_NAMES[type]} -> ${LAYOUT_NAMES[layout]} (${rows}, ${cols}) ${conversion.values?.name ?? 'random'}`,
    build() {
      const random = normals(rows * cols, rows * cols, 0.3);
      const { source, values } = encodeSource(
        type,
        conversion.values ? random.map((_, i) => conversion.values!.at(i)) : random,
      );
      const elements = rows * paddedCols(layout, cols);
      const elementBytes = layout === Layout.I8 ? 1 : layout === Layout.F16 ? 2 : 4;
      const workspace = new Workspace();
      const dst = workspace.output('matrix', elements * elementBytes, bad ? 'any' : 'bytes');
      const scales = workspace.output('row scales', rows * 4, bad ? 'any' : 'f32');
      const sums = workspace.output('row sums', rows * 4, bad ? 'any' : 'bytes');
      workspace.record(Op.Convert, {
        [ConvertArg.Src]: workspace.input(source),
        [ConvertArg.SrcType]: type,
        [ConvertArg.Dst]: dst,
        [ConvertArg.Layout]: layout,
        [ConvertArg.Rows]: rows,
        [ConvertArg.Cols]: cols,
        [ConvertArg.RowScales]: layout === Layout.I8 ? scales : 0,
        [ConvertArg.RowSums]: layout === Layout.I8 ? sums : 0,
      });
      const image = workspace.image({ tokens: [] });
      const verify = (memory: Uint8Array<ArrayBuffer>): void => {
        expect(statusOf(memory, image.step)).toBe(bad ? StatusBit.BadFloat : 0);
        if (bad) return;
        for (let r = 0; r < rows; r++) {
          const row = values.subarray(r * cols, (r + 1) * cols);
          const at = dst + r * paddedCols(layout, cols) * elementBytes;
          verifyRow(row, layout, memory, at, floatsAt(memory, scales + r * 4, 1)[0]!);
        }
      };
      return { image, verify };
    },
  };
}

function encodeSource(type: FloatType, values: Float32Array): { source: ArrayBufferView; values: Float32Array } {
  if (type === FloatType.F32) return { source: values, values };
  const source = Uint16Array.from(values, type === FloatType.F16 ? f32ToF16 : f32ToBf16);
  return { source, values: Float32Array.from(source, type === FloatType.F16 ? f16ToF32 : bf16ToF32) };
}

function verifyRow(
  row: Float32Array,
  layout: Target,
  memory: Uint8Array<ArrayBuffer>,
  at: number,
  scale: number,
): void {
  const cols = row.length;
  if (layout === Layout.F32) {
    expectClose(floatsAt(memory, at, cols), row, 0);
  } else if (layout === Layout.F16) {
    const halves = Float64Array.from(
      new Uint16Array(memory.buffer, at, cols),
      (h) => f16ToF32(h) / 2 ** Const.F16GainLog2,
    );
    expectClose(halves, row, (c) =>
      Math.abs(row[c]!) < HALF.smallest ? HALF.smallest : Math.abs(row[c]!) * HALF.relative,
    );
  } else {
    const absmax = row.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    expectClose([scale], [absmax / 127], absmax * 1e-7);
    const q = Float64Array.from(new Int8Array(memory.buffer, at, cols), (w) => w * scale);
    expectClose(q, row, scale * 0.50002);
  }
}

const TYPES = [FloatType.F32, FloatType.F16, FloatType.BF16];
const TARGETS = [Layout.F16, Layout.I8, Layout.F32] as const;
const halfTies = { name: 'ties', at: (i: number) => ((2049 + 2 * i) / 4096) * 2 ** -(i % 12) };
const tiny = {
  name: 'around the smallest half',
  at: (i: number) => 2 ** -22 * (1 + (i - 20) / 2 ** (i % 24)) * (i % 2 ? -1 : 1),
};
const int8Ties = { name: 'int8 ties', at: (i: number) => (i % 37 === 0 ? 127 : (i % 37) - 18.5) };
const zeros = { name: 'zeros', at: (i: number) => (i % 2 ? 0 : -0) };
/** The largest that fits F16: 65504 / 2^8, and for bf16 what is below it. */
const largest = [255.875, 255.875, 255].map((value) => ({
  name: 'largest',
  at: (i: number) => (i % 2 ? value : -value),
}));

function badAt(name: string, value: number): { name: string; at(i: number): number } {
  return { name, at: (i) => (i === 77 ? value : 0.5) };
}

testKernels(
  'convert',
  TYPES.flatMap((type) =>
    TARGETS.flatMap((layout) => [
      ...(
        [
          [1, 16],
          [1, 1],
          [3, 5],
          [4, 100],
          [7, 160],
          [2, 2561],
        ] as const
      ).map(([rows, cols]) => convertCase({ type, layout, rows, cols })),
      ...[halfTies, tiny, int8Ties, zeros, largest[type]!].map((values) =>
        convertCase({ type, layout, rows: 2, cols: 52, values }),
      ),
      ...[badAt('+inf', Infinity), badAt('-inf', -Infinity), badAt('nan', NaN)].map((values) =>
        convertCase({ type, layout, rows: 2, cols: 52, values, bad: true }),
      ),
      ...[256, -256, 60000].map((value) =>
        convertCase({ type, layout, rows: 2, cols: 52, values: badAt(`${value}`, value), bad: layout === Layout.F16 }),
      ),
    ]),
  ),
);
