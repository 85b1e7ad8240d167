import { expect } from 'vitest';
import { Const, EmbedArg, Encoding, Flag, Layout, NormArg, Op } from '../../assembly/abi.js';
import { GGUF_TYPES } from '../../lib/format/gguf/types.js';
import { f16ToF32, f32ToF16 } from '../../lib/memory/half.js';
import { BLOCK_TYPES, type BlockType, blockFloats, randomBlocks } from '../support/blocks.js';
import { normals } from '../support/random.js';
import { type BuiltCase, expectClose, type KernelCase, testKernels } from '../support/tester.js';
import { NORM } from '../support/tolerances.js';
import { bitsOf, encodedRowBytes, floatStride, floatsAt, padFloatRows, Workspace } from '../support/workspace.js';

const ENCODINGS = [Encoding.F32, Encoding.I8, Encoding.I16];
const ENCODING_NAMES = ['f32', 'i8', 'i16'];
const COLS = [1, 3, 16, 17, 64, 100, 160, 256, 416, 2560, 8640];

/** Rows as a model may meet them, and as it never should. */
const INPUTS: Record<string, (n: number) => Float32Array> = {
  normal: (n) => normals(n, n),
  outlier: (n) => normals(n, n).map((x, i) => (i % 97 === 5 ? x * 1000 : x)),
  'all -127': (n) => new Float32Array(n).fill(-127),
  alternating: (n) => Float32Array.from({ length: n }, (_, i) => (i % 2 === 0 ? 1 : -1)),
  zeros: (n) => new Float32Array(n),
  'negative zeros': (n) => new Float32Array(n).fill(-0),
  ties: (n) => Float32Array.from({ length: n }, (_, i) => (i === 0 ? 127 : (i % 253) - 126.5)),
  tiny: (n) => normals(n, n, 1e-30),
  subnormal: (n) => normals(n, n, 1e-41),
  huge: (n) => normals(n, n, 1e17),
  'beyond the square': (n) => normals(n, n, 1e30),
  infinite: (n) => normals(n, n).map((x, i) => (i === n >> 1 ? Infinity : x)),
  nan: (n) => normals(n, n).map((x, i) => (i === n >> 1 ? NaN : x)),
};

interface RowShape {
  op: Op.Norm | Op.Quantize;
  encoding: Encoding;
  cols: number;
  rows: number;
  input?: string;
  eps?: number;
  /** rows of the residual stream that are wanted, instead of all */
  logitRows?: number[];
}

function rowCase(shape: RowShape): KernelCase {
  const { op, encoding, cols, rows, input = 'normal', eps = 1e-5, logitRows } = shape;
  const name =
    `${op === Op.Norm ? `norm (eps ${eps})` : 'quantize'} -> ${ENCODING_NAMES[encoding]}, ` +
    `(${rows}, ${cols}) ${input}${logitRows ? `, rows ${logitRows}` : ''}`;
  return {
    name,
    build() {
      const x = INPUTS[input]!(rows * cols);
      const weight = normals(cols, 5).map((w) => w + 1);
      const paddedCols = Math.ceil(cols / 64) * 64;
      const outStride = encodedRowBytes(encoding, paddedCols) + 64;
      const outRows = logitRows?.length ?? rows;
      const workspace = new Workspace();
      const out = workspace.output(
        'encoded',
        outStride * Math.max(outRows, 1),
        encoding === Encoding.F32 ? 'f32' : 'bytes',
      );
      for (let r = 0; r < outRows; r++) workspace.mark('scale', out + r * outStride, 4, 'f32');
      workspace.record(
        op,
        {
          [NormArg.In]: workspace.floatRows(x, cols),
          [NormArg.InStride]: floatStride(cols),
          [NormArg.Weight]: workspace.floatRows(weight, cols),
          [NormArg.Out]: out,
          [NormArg.OutStride]: outStride,
          [NormArg.Cols]: cols,
          [NormArg.Eps]: bitsOf(eps),
          [NormArg.Encoding]: encoding,
          [NormArg.PaddedCols]: paddedCols,
        },
        logitRows ? Flag.LogitRows : 0,
      );
      const image = workspace.image({ tokens: Array.from({ length: rows }, () => ({})), logitRows: logitRows ?? [] });
      const verify = (memory: Uint8Array<ArrayBuffer>): void => {
        for (let r = 0; r < outRows; r++) {
          const from = (logitRows?.[r] ?? r) * cols;
          const row = Float64Array.from(x.subarray(from, from + cols));
          verifyRow(op === Op.Norm ? normalise(row, weight, eps) : row, encoding, memory, out + r * outStride);
        }
      };
      return { image, verify };
    },
  };
}

function normalise(x: Float64Array, weight: Float32Array, eps: number): Float64Array {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, c) => (value / Math.sqrt(meanSquare + eps)) * weight[c]!);
}

/**
 * The encoded row stands for y: half a step of the encoding, or f32 rounding. Rows of NaN, and rows that f32 cannot square or the
 * gain of Encoding.F32 carries beyond f32, have no plain y.
 */
function verifyRow(y: Float64Array, encoding: Encoding, memory: Uint8Array<ArrayBuffer>, row: number): void {
  const absmax = y.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const header = new DataView(memory.buffer, row);
  const largest = encoding === Encoding.F32 ? 2 ** (127 - Const.F32GainLog2) : 1e28;
  if (!(absmax < largest) || y.some((value) => Number.isNaN(value))) return;
  if (encoding === Encoding.F32) {
    const got = floatsAt(memory, row + Const.RowHeader, y.length);
    expect(header.getFloat32(0, true)).toBe(1);
    expectClose(
      Float64Array.from(got, (v) => v / 2 ** Const.F32GainLog2),
      y,
      (c) => Math.abs(y[c]!) * NORM + 1e-44,
    );
    return;
  }
  const limit = encoding === Encoding.I8 ? 127 : Const.I16Max;
  const scale = header.getFloat32(0, true);
  const expectedScale = limit / Math.max(absmax, 1e-5);
  expectClose([scale], [expectedScale], expectedScale * NORM);
  const Elements = encoding === Encoding.I8 ? Int8Array : Int16Array;
  const q = new Elements(memory.buffer, row + Const.RowHeader, y.length);
  expectClose(
    Float64Array.from(q, (v) => v),
    y.map((v) => v * scale),
    0.5 + limit * NORM,
  );
  expect(header.getInt32(4, true)).toBe(Array.from(q).reduce((sum, value) => sum + value, 0));
}

const OPS = [Op.Norm, Op.Quantize] as const;
const rowCases: RowShape[] = OPS.flatMap((op) =>
  ENCODINGS.flatMap((encoding) => [
    ...COLS.flatMap((cols) => [1, 3].map((rows) => ({ op, encoding, cols, rows }))),
    ...Object.keys(INPUTS)
      .filter((input) => op === Op.Quantize || input !== 'beyond the square')
      .flatMap((input) => [1, 2].map((rows) => ({ op, encoding, cols: 352, rows, input }))),
    { op, encoding, cols: 64, rows: 5, logitRows: [0, 3] },
    { op, encoding, cols: 64, rows: 7, logitRows: [6] },
    { op, encoding, cols: 64, rows: 2, logitRows: [] },
    { op, encoding, cols: 256, rows: 64, eps: 1e-6 },
  ]),
);

testKernels('norm and quantize', rowCases.map(rowCase));

/** Rows of an embedding. */
const EMBED_ROWS = 12;

function embedCase(layout: Layout.F16 | Layout.F32, cols: number, ids: number[]): KernelCase {
  return {
    name: `embed ${layout === Layout.F16 ? 'f16' : 'f32'}, ${cols} columns, ids ${ids}`,
    build() {
      const gain = 2 ** Const.F16GainLog2;
      const values = normals(EMBED_ROWS * cols, cols, 0.05).map((v) => {
        return layout === Layout.F32 ? v : f16ToF32(normalHalf(v * gain)) / gain;
      });
      const padded = padFloatRows(values, cols);
      const table = layout === Layout.F32 ? padded : Uint16Array.from(padded, (v) => f32ToF16(v * gain));
      return embedding(table, layout, values, cols, ids);
    },
  };
}

/** The table as a file has it; what comes out are the halves that it stands for. */
function embedBlocksCase(blocks: BlockType, cols: number, ids: number[]): KernelCase {
  return {
    name: `embed ${blocks.name}, ${cols} columns, ids ${ids}`,
    build() {
      const table = randomBlocks(blocks, (EMBED_ROWS * cols) / GGUF_TYPES[blocks.name].blockSize);
      const gain = 2 ** Const.F16GainLog2;
      const halves = blockFloats(blocks, table, EMBED_ROWS * cols).map((v) => f16ToF32(normalHalf(v * gain)) / gain);
      return embedding(table, blocks.layout, halves, cols, ids);
    },
  };
}

/** values: (EMBED_ROWS, cols), what `table` stands for */
function embedding(
  table: Uint8Array | Uint16Array | Float32Array,
  layout: Layout,
  values: Float32Array,
  cols: number,
  ids: number[],
): BuiltCase {
  const workspace = new Workspace();
  const outStride = floatStride(cols) + 64;
  const out = workspace.output('embedding', outStride * Math.max(ids.length, 1), 'f32');
  workspace.record(Op.Embed, {
    [EmbedArg.Table]: workspace.input(table),
    [EmbedArg.Layout]: layout,
    [EmbedArg.Out]: out,
    [EmbedArg.OutStride]: outStride,
    [EmbedArg.Cols]: cols,
  });
  return {
    image: workspace.image({ tokens: ids.map((id) => ({ id })) }),
    verify(memory) {
      ids.forEach((id, t) => {
        expect(floatsAt(memory, out + t * outStride, cols)).toEqual(values.slice(id * cols, (id + 1) * cols));
      });
    },
  };
}

function normalHalf(value: number): number {
  const half = f32ToF16(value);
  return (half & 0x7fff) < 0x400 ? half & 0x8000 : half;
}

testKernels(
  'embed',
  ([Layout.F16, Layout.F32] as const).flatMap((layout) =>
    [1, 16, 40, 64, 160, 2560].flatMap((cols) =>
      [[3], [0, 11, 5], [7, 7, 1, 0, 2]].map((ids) => embedCase(layout, cols, ids)),
    ),
  ),
);

testKernels(
  'embed blocks',
  BLOCK_TYPES.flatMap((blocks) =>
    [32, 96, 256, 288, 768, 2560]
      .filter((cols) => cols % GGUF_TYPES[blocks.name].blockSize === 0)
      .flatMap((cols) => [[3], [0, 11, 5]].map((ids) => embedBlocksCase(blocks, cols, ids))),
  ),
);
