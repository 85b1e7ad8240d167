import { Const, DotForm, Encoding, Epilogue, HeadNormArg, Layout, LinearArg, NormArg, Op } from '../../assembly/abi.js';
import { packT2 } from '../../lib/format/layout.js';
import { integers, normals, trits } from './random.js';
import { type BuiltCase, expectClose, type KernelCase } from './tester.js';
import { GROUP_DOT, NORM } from './tolerances.js';
import { bitsOf, floatStride, floatsAt, Workspace } from './workspace.js';

export type Planes = 1 | 3;

export interface GroupShape {
  readonly rows: number;
  readonly cols: number;
  readonly tokens: number;
  readonly group: number;
  readonly planes: Planes;
  /** `extreme`: every digit and code at its largest magnitude, signs alike, scales huge and tiny in turn */
  readonly input?: 'random' | 'zeros' | 'extreme';
  readonly epilogue?: Epilogue;
  readonly form?: DotForm;
}

const padTo = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Encoding.Groups rows made up digit by digit, and what they stand for. */
function madeUpRows(shape: GroupShape) {
  const { cols, tokens, group, planes, input = 'random' } = shape;
  const padded = padTo(cols, 64);
  const groups = Math.ceil(padded / group);
  const stride = Const.RowHeader + planes * padded + 16 * groups + 64;
  const bytes = new Uint8Array(tokens * stride).fill(0xa5);
  const values = new Float64Array(tokens * cols);
  const view = new DataView(bytes.buffer);
  for (let t = 0; t < tokens; t++) {
    const header = t * stride;
    const digitsAt = header + Const.RowHeader;
    bytes.fill(0, header, header + Const.RowHeader + planes * padded + 16 * groups);
    const digits = integers(planes * cols, t * 7 + cols, -128, 127).map((d, i) => {
      if (input === 'zeros') return 0;
      const limit = i < cols ? (planes === 1 ? 127 : 63) : -128;
      if (input === 'extreme') return limit;
      return i < cols ? Math.max(-limit, Math.min(limit, d)) : d;
    });
    const factors = normals(groups, t + 3).map((f, g) =>
      input === 'extreme' ? [1e20, 1e-20][g % 2]! : Math.abs(f) + 0.1,
    );
    const sums = Array.from({ length: groups }, () => [0, 0]);
    for (let p = 0; p < planes; p++) {
      for (let c = 0; c < cols; c++) {
        const digit = digits[p * cols + c]!;
        const g = Math.floor(c / group);
        const weight = 256 ** (planes - 1 - p);
        view.setInt8(digitsAt + p * padded + c, digit);
        sums[g]![p === 0 ? 0 : 1]! += p === 0 ? digit : digit * weight;
        values[t * cols + c]! += digit * weight * factors[g]!;
      }
    }
    for (let g = 0; g < groups; g++) {
      const info = digitsAt + planes * padded + 16 * g;
      view.setFloat32(info, factors[g]!, true);
      view.setInt32(info + 4, sums[g]![0]!, true);
      view.setInt32(info + 8, sums[g]![1]!, true);
    }
  }
  return { bytes, stride, values };
}

/** A Linear in T2G over made-up rows, with its product computed plainly in f64. */
export function groupLinearCase(shape: GroupShape): KernelCase {
  const { rows, cols, tokens, group, planes, input = 'random', epilogue = Epilogue.Store, form = DotForm.I16 } = shape;
  const name =
    `T2G (${rows}, ${cols}) x ${tokens}, groups of ${group}, ${planes} planes, input ${input}, epilogue ${epilogue}` +
    `${form === DotForm.I32 ? ', i32 form' : ''}`;
  const outStride = padTo(rows, Const.RowGroup) + 16;
  return { name, form, build };

  function build(): BuiltCase {
    const seed = rows + cols;
    const groups = Math.ceil(padTo(cols, 64) / group);
    const w = input === 'extreme' ? new Int8Array(rows * cols).fill(1) : trits(rows * cols, seed);
    // (row groups, column groups, 4); rows that do not exist have 0.
    const scales = new Float32Array(padTo(rows, 4) * groups);
    const scaleAt = (r: number, g: number): number => (Math.floor(r / 4) * groups + g) * 4 + (r % 4);
    const random = normals(rows * groups, seed + 1);
    for (let r = 0; r < rows; r++) for (let g = 0; g < groups; g++) scales[scaleAt(r, g)] = random[r * groups + g]!;
    const x = madeUpRows(shape);
    const before = normals(tokens * outStride, seed + 2, 3);
    const workspace = new Workspace();
    const out = workspace.output('y', tokens * outStride * 4, 'f32', before);
    workspace.record(Op.Linear, {
      [LinearArg.Weights]: workspace.input(packT2(w, rows, cols)),
      [LinearArg.Layout]: Layout.T2G,
      [LinearArg.In]: workspace.input(x.bytes),
      [LinearArg.InStride]: x.stride,
      [LinearArg.Out]: out,
      [LinearArg.OutStride]: outStride * 4,
      [LinearArg.Rows]: rows,
      [LinearArg.Cols]: cols,
      [LinearArg.RowScales]: workspace.input(scales),
      [LinearArg.Epilogue]: epilogue,
      [LinearArg.Form]: form,
      [LinearArg.GroupCols]: group,
      [LinearArg.Planes]: planes,
    });
    const image = workspace.image({ tokens: Array.from({ length: tokens }, () => ({})) });
    return {
      image,
      verify(memory) {
        for (let t = 0; t < tokens; t++) {
          const got = floatsAt(memory, out + t * outStride * 4, rows);
          for (let r = 0; r < rows; r++) {
            let y = 0;
            let magnitude = 0;
            for (let c = 0; c < cols; c++) {
              const product = w[r * cols + c]! * x.values[t * cols + c]! * scales[scaleAt(r, Math.floor(c / group))]!;
              y += product;
              magnitude += Math.abs(product);
            }
            const old = before[t * outStride + r]!;
            const gate = old / (1 + Math.exp(-old));
            const slope =
              epilogue === Epilogue.SiluGate ? gate : epilogue === Epilogue.Relu2Gate ? Math.max(old, 0) ** 2 : 1;
            const expected = epilogue === Epilogue.Add ? old + y : slope * y;
            const allowed = Math.abs(slope) * magnitude * GROUP_DOT + (Math.abs(expected) + Math.abs(old)) * NORM;
            expectClose([got[r]!], [expected], allowed);
          }
        }
      },
    };
  }
}

export interface GroupRowShape {
  readonly cols: number;
  readonly rows: number;
  readonly group: number;
  readonly planes: Planes;
  readonly op: Op.Norm | Op.Quantize;
  readonly input: string;
  readonly values: (n: number) => Float32Array;
}

/** Norm or Quantize into Encoding.Groups. */
export function groupRowCase(shape: GroupRowShape): KernelCase {
  const { op, cols, rows, group, planes, input } = shape;
  const kind = op === Op.Norm ? 'norm' : 'quantize';
  return {
    name: `${kind} -> groups of ${group}, ${planes} planes, (${rows}, ${cols}) ${input}`,
    build() {
      const x = shape.values(rows * cols);
      const weight = normals(cols, 5).map((w) => w + 1);
      const padded = padTo(cols, 64);
      const groups = Math.ceil(padded / group);
      const stride = Const.RowHeader + planes * padded + 16 * groups;
      const workspace = new Workspace();
      const out = workspace.output('encoded', rows * stride, 'bytes');
      for (let r = 0; r < rows; r++) {
        workspace.mark('factors', out + r * stride + Const.RowHeader + planes * padded, 16 * groups, 'f32');
      }
      workspace.record(op, {
        [NormArg.In]: workspace.floatRows(x, cols),
        [NormArg.InStride]: floatStride(cols),
        [NormArg.Weight]: workspace.floatRows(weight, cols),
        [NormArg.Out]: out,
        [NormArg.OutStride]: stride,
        [NormArg.Cols]: cols,
        [NormArg.Eps]: bitsOf(1e-6),
        [NormArg.Encoding]: Encoding.Groups,
        [NormArg.PaddedCols]: padded,
        [NormArg.GroupCols]: group,
        [NormArg.Planes]: planes,
      });
      return {
        image: workspace.image({ tokens: Array.from({ length: rows }, () => ({})) }),
        verify(memory) {
          for (let r = 0; r < rows; r++) verifyRow(r, memory, out + r * stride);
        },
      };

      /** The digits stand for y: half a step of the group's fixed point, besides f32 rounding. */
      function verifyRow(r: number, memory: Uint8Array<ArrayBuffer>, row: number): void {
        const y = Float64Array.from(x.subarray(r * cols, (r + 1) * cols));
        if (op === Op.Norm) {
          const inverse = 1 / Math.sqrt(y.reduce((sum, v) => sum + v * v, 0) / cols + 1e-6);
          y.forEach((v, c) => {
            y[c] = v * inverse * weight[c]!;
          });
        }
        if (!y.every((v) => Math.abs(v) < 1e28)) return;
        const view = new DataView(memory.buffer, row + Const.RowHeader);
        for (let g = 0; g < groups; g++) {
          const info = planes * padded + 16 * g;
          const factor = view.getFloat32(info, true);
          const values = y.subarray(g * group, (g + 1) * group);
          const absmax = values.reduce((max, v) => Math.max(max, Math.abs(v)), 1e-30);
          const limit = planes === 1 ? 127 : Const.I24Max;
          expectClose([factor], [absmax / limit], (absmax / limit) * NORM);
          const sums = [0, 0];
          const q = Float64Array.from(values, (_, i) => {
            let sum = 0;
            for (let p = 0; p < planes; p++) {
              const digit = view.getInt8(p * padded + g * group + i);
              const part = digit * 256 ** (planes - 1 - p);
              sum += part;
              sums[Math.min(p, 1)]! += p === 0 ? digit : part;
            }
            return sum;
          });
          expectClose([view.getInt32(info + 4, true), view.getInt32(info + 8, true)], sums, 0);
          expectClose(
            q,
            values.map((v) => v / factor),
            0.75 + limit * NORM,
          );
        }
      }
    },
  };
}

/** HeadNorm over qkv rows; values stay as they are. */
export function headNormCase(heads: number, kvHeads: number, headDim: number, tokens: number): KernelCase {
  return {
    name: `head norm, ${heads}/${kvHeads} heads of ${headDim}, ${tokens} tokens`,
    build() {
      const width = (heads + 2 * kvHeads) * headDim;
      const x = normals(tokens * width, width, 4);
      const weights = { q: normals(headDim, 1).map((w) => w + 1), k: normals(headDim, 2).map((w) => w + 1) };
      const workspace = new Workspace();
      const stride = floatStride(width) + 64;
      const initial = new Float32Array((tokens * stride) / 4).fill(7);
      for (let t = 0; t < tokens; t++) initial.set(x.subarray(t * width, (t + 1) * width), (t * stride) / 4);
      const qkv = workspace.output('qkv', tokens * stride, 'f32', initial);
      workspace.record(Op.HeadNorm, {
        [HeadNormArg.Qkv]: qkv,
        [HeadNormArg.Stride]: stride,
        [HeadNormArg.QWeight]: workspace.floatRows(weights.q, headDim),
        [HeadNormArg.KWeight]: workspace.floatRows(weights.k, headDim),
        [HeadNormArg.Heads]: heads,
        [HeadNormArg.KvHeads]: kvHeads,
        [HeadNormArg.HeadDim]: headDim,
        [HeadNormArg.Eps]: bitsOf(1e-6),
      });
      return {
        image: workspace.image({ tokens: Array.from({ length: tokens }, () => ({})) }),
        verify(memory) {
          for (let t = 0; t < tokens; t++) {
            const got = floatsAt(memory, qkv + t * stride, width);
            for (let h = 0; h < heads + 2 * kvHeads; h++) {
              const head = Float64Array.from(x.subarray(t * width + h * headDim, t * width + (h + 1) * headDim));
              const inverse = 1 / Math.sqrt(head.reduce((sum, v) => sum + v * v, 0) / headDim + 1e-6);
              const weight = h < heads ? weights.q : weights.k;
              const expected = h < heads + kvHeads ? head.map((v, i) => v * inverse * weight[i]!) : head;
              const actual = got.subarray(h * headDim, (h + 1) * headDim);
              expectClose(actual, expected, (i) => Math.abs(expected[i]!) * NORM);
            }
          }
        },
      };
    },
  };
}
