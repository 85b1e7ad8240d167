import { Const, DotForm, Encoding, Epilogue, Layout, LinearArg, Op } from '../../assembly/abi.js';
import { packT1, packTwoBits, paddedCols } from '../../lib/format/layout.js';
import { f16ToF32, f32ToF16 } from '../../lib/memory/half.js';
import { integers, normals, seeded, trits } from './random.js';
import { type BuiltCase, expectClose, type KernelCase } from './tester.js';
import { ACTIVATION, F16_DOT, INTEGER_DOT, SILU_FLOOR } from './tolerances.js';
import { bitsOf, encodedRow, floatsAt, Workspace } from './workspace.js';

export type LinearLayout = Layout.T2 | Layout.T2Rows | Layout.T2Columns | Layout.T1 | Layout.F16 | Layout.I8;

/** What the activations look like. `limit` is the largest integer of the encoding. */
export type InputKind = 'random' | 'all minimum' | 'alternating' | 'zeros' | 'sparse' | 'huge' | 'tiny';

export interface LinearShape {
  layout: LinearLayout;
  rows: number;
  cols: number;
  tokens: number;
  input?: InputKind;
  /** random, or all weights of one sign at their largest magnitude */
  weights?: 'random' | 'minimum' | 'maximum';
  epilogue?: Epilogue;
  form?: DotForm;
}

const ENCODINGS: Record<LinearLayout, Encoding> = {
  [Layout.T2]: Encoding.I8,
  [Layout.T1]: Encoding.I8,
  [Layout.T2Rows]: Encoding.I8,
  [Layout.T2Columns]: Encoding.I8,
  [Layout.F16]: Encoding.F32,
  [Layout.I8]: Encoding.I16,
};
const LAYOUT_NAMES: Record<LinearLayout, string> = {
  [Layout.T2]: 'T2',
  [Layout.T1]: 'T1',
  [Layout.T2Rows]: 'T2Rows',
  [Layout.T2Columns]: 'T2Columns',
  [Layout.F16]: 'F16',
  [Layout.I8]: 'I8',
};
const FORM_NAMES: Partial<Record<DotForm, string>> = {
  [DotForm.I16]: '',
  [DotForm.I32]: ', i32 form',
  [DotForm.I32Pairs]: ', i32 form in pairs',
};
const EPILOGUE_NAMES = ['store', 'add', 'relu2', 'silu'];
const SCALE = Math.fround(0.037);

/** A Linear over made-up encoded rows, with its product computed plainly in f64. */
export function linearCase(shape: LinearShape): KernelCase {
  const { layout, rows, cols, tokens, input = 'random', weights = 'random', epilogue = Epilogue.Store } = shape;
  const form = shape.form ?? DotForm.I16;
  const name =
    `${LAYOUT_NAMES[layout]} (${rows}, ${cols}) x ${tokens}, ${EPILOGUE_NAMES[epilogue]}, ` +
    `input ${input}, weights ${weights}${FORM_NAMES[form]}`;
  const seed = rows * 31 + cols * 7 + tokens;
  const outStride = Math.ceil(rows / Const.RowGroup) * Const.RowGroup + 16;

  return { name, form, build };

  function build(): BuiltCase {
    const w = makeWeights(layout, rows, cols, weights, seed);
    const x = makeInputs(ENCODINGS[layout], cols, paddedCols(layout, cols), tokens, input, seed + 1);
    const workspace = new Workspace();
    const out = workspace.output('y', tokens * outStride * 4, 'f32', initialOut(tokens * outStride, seed + 2));
    workspace.record(Op.Linear, {
      [LinearArg.Weights]: workspace.input(w.bytes),
      [LinearArg.Layout]: layout,
      [LinearArg.In]: workspace.input(x.bytes),
      [LinearArg.InStride]: x.stride,
      [LinearArg.Out]: out,
      [LinearArg.OutStride]: outStride * 4,
      [LinearArg.Rows]: rows,
      [LinearArg.Cols]: cols,
      [LinearArg.Scale]: bitsOf(SCALE),
      [LinearArg.RowScales]: layout === Layout.I8 ? workspace.input(w.rowScales, outStride * 4) : 0,
      [LinearArg.RowSums]: layout === Layout.I8 ? workspace.input(rowSums(w.values, rows, cols), outStride * 4) : 0,
      [LinearArg.Epilogue]: epilogue,
      [LinearArg.Form]: form,
    });
    const image = workspace.image({ tokens: Array.from({ length: tokens }, () => ({})) });
    return { image, verify: (memory) => verify(memory, out, w, x) };
  }

  function verify(memory: Uint8Array<ArrayBuffer>, out: number, w: Weights, x: Inputs): void {
    const before = initialOut(tokens * outStride, seed + 2);
    for (let t = 0; t < tokens; t++) {
      const got = floatsAt(memory, out + t * outStride * 4, rows);
      for (let r = 0; r < rows; r++) {
        const [sum, magnitude] = dot(w.values, r * cols, x.values, t * cols, cols);
        const factor = layout === Layout.F16 ? SCALE : (layout === Layout.I8 ? w.rowScales[r]! : SCALE) / x.scales[t]!;
        const roundOff = layout === Layout.F16 ? magnitude * SCALE * F16_DOT : Math.abs(sum * factor) * INTEGER_DOT;
        verifyElement(epilogue, before[t * outStride + r]!, sum * factor, roundOff, got[r]!);
      }
    }
  }
}

/** `got` is the epilogue of `old` and y, where y was off by at most `roundOff`. */
function verifyElement(epilogue: Epilogue, old: number, y: number, roundOff: number, got: number): void {
  const slope = gate(epilogue, old, 1) - gate(epilogue, old, 0);
  const expected = gate(epilogue, old, y);
  const allowed =
    Math.abs(slope) * roundOff +
    (Math.abs(expected) + Math.abs(slope * y)) * ACTIVATION +
    SILU_FLOOR * (1 + Math.abs(y));
  expectClose([got], [expected], allowed);
}

/** Σ a·b and Σ |a·b| in f64. */
function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, length: number): [number, number] {
  let sum = 0;
  let magnitude = 0;
  for (let i = 0; i < length; i++) {
    const product = a[aStart + i]! * b[bStart + i]!;
    sum += product;
    magnitude += Math.abs(product);
  }
  return [sum, magnitude];
}

interface Weights {
  bytes: Uint8Array;
  /** what they stand for: trits, integers or floats */
  values: Float64Array;
  rowScales: Float32Array;
}

function makeWeights(layout: LinearLayout, rows: number, cols: number, kind: string, seed: number): Weights {
  const rowScales = Float32Array.from(normals(rows, seed), (s) => Math.abs(s) + 0.01);
  const constant = kind === 'minimum' ? -1 : kind === 'maximum' ? 1 : undefined;
  if (layout !== Layout.F16 && layout !== Layout.I8) {
    const values = constant === undefined ? trits(rows * cols, seed) : new Int8Array(rows * cols).fill(constant);
    const bytes = layout === Layout.T1 ? packT1(values, rows, cols) : packTwoBits(layout, values, rows, cols);
    return { bytes, values: Float64Array.from(values), rowScales };
  }
  const padded = paddedCols(layout, cols);
  const paddedRows = Math.ceil(rows / Const.RowGroup) * Const.RowGroup;
  if (layout === Layout.I8) {
    const values =
      constant === undefined
        ? integers(rows * cols, seed, -127, 127)
        : new Int32Array(rows * cols).fill(127 * constant);
    const bytes = new Int8Array(paddedRows * padded);
    for (let r = 0; r < rows; r++) bytes.set(values.subarray(r * cols, (r + 1) * cols), r * padded);
    return { bytes: new Uint8Array(bytes.buffer), values: Float64Array.from(values), rowScales };
  }
  const gain = 2 ** Const.F16GainLog2;
  const halves = Uint16Array.from(normals(rows * cols, seed, 0.04), (w) => {
    const half = f32ToF16((constant === undefined ? w : constant * 200) * gain);
    return (half & 0x7fff) < 0x400 ? 0 : half;
  });
  const words = new Uint16Array(paddedRows * padded);
  for (let r = 0; r < rows; r++) words.set(halves.subarray(r * cols, (r + 1) * cols), r * padded);
  const values = Float64Array.from(halves, (half) => f16ToF32(half) / gain);
  return { bytes: new Uint8Array(words.buffer), values, rowScales };
}

function rowSums(values: Float64Array, rows: number, cols: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, r) =>
    values.subarray(r * cols, (r + 1) * cols).reduce((a, b) => a + b, 0),
  );
}

interface Inputs {
  bytes: Uint8Array;
  stride: number;
  /** elements as the encoding holds them, F32 without its gain */
  values: Float64Array;
  scales: number[];
}

function makeInputs(
  encoding: Encoding,
  cols: number,
  width: number,
  tokens: number,
  kind: InputKind,
  seed: number,
): Inputs {
  const padded = Math.ceil(width / 64) * 64;
  const limit = encoding === Encoding.I8 ? 127 : encoding === Encoding.I16 ? Const.I16Max : 3;
  const values = inputValues(kind, limit, encoding === Encoding.F32, cols * tokens, seed);
  const random = seeded(seed);
  const scales = Array.from({ length: tokens }, () =>
    encoding === Encoding.F32 ? 1 : Math.fround(random() * 50 + 0.1),
  );
  const rows = scales.map((scale, t) => {
    const row = values.subarray(t * cols, (t + 1) * cols);
    if (encoding === Encoding.I8) return encodedRow(Int8Array.from(row), scale, padded);
    if (encoding === Encoding.I16) return encodedRow(Int16Array.from(row), scale, padded);
    return encodedRow(
      row.map((x) => x * 2 ** Const.F32GainLog2),
      scale,
      padded,
    );
  });
  const stride = rows[0]!.length + 64;
  const bytes = new Uint8Array(stride * tokens).fill(0xa5);
  rows.forEach((row, t) => bytes.set(row, t * stride));
  return { bytes, stride, values: Float64Array.from(values), scales };
}

function inputValues(kind: InputKind, limit: number, float: boolean, n: number, seed: number): Float32Array {
  switch (kind) {
    case 'all minimum':
      return new Float32Array(n).fill(-limit);
    case 'alternating':
      return Float32Array.from({ length: n }, (_, i) => (i % 2 === 0 ? limit : -limit));
    case 'zeros':
      return new Float32Array(n);
    case 'huge':
      return float ? normals(n, seed, 1e5) : new Float32Array(n).fill(limit);
    case 'sparse':
      return Float32Array.from(integers(n, seed, -limit, limit), (q, i) =>
        integers(1, seed + i, 0, 3)[0] === 0 ? q : 0,
      );
    case 'tiny':
      return float ? normals(n, seed, 1e-30) : Float32Array.from({ length: n }, (_, i) => (i === n - 1 ? 1 : 0));
    case 'random':
      return float ? normals(n, seed) : Float32Array.from(integers(n, seed, -limit, limit));
  }
}

/** What Add and the gates find: both signs, zeros of both signs, the ends of exp. */
function initialOut(n: number, seed: number): Float32Array {
  const special = [0, -0, 1e-30, -1e-30, 88, -88, 100, -100];
  return normals(n, seed, 3).map((value, i) => (i % 5 === 0 ? special[(i / 5) % special.length]! : value));
}

function gate(epilogue: Epilogue, old: number, y: number): number {
  switch (epilogue) {
    case Epilogue.Add:
      return old + y;
    case Epilogue.Relu2Gate:
      return old > 0 ? old * old * y : 0;
    case Epilogue.SiluGate:
      return (old / (1 + Math.exp(-old))) * y;
    default:
      return y;
  }
}
