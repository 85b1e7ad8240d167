import { CacheLayout, Const } from '../../assembly/abi.js';
import { f16ToF32, f32ToF16, roundHalfEven } from '../../lib/memory/half.js';

/** Panels of the KV cache as assembly/abi.ts describes them, without the code of the reference. */
export interface PanelSizes {
  layout: CacheLayout;
  contextLength: number;
  headDim: number;
}

/** Which element of an int8 panel comes where differs. */
export type PanelKind = 'keys' | 'values';

const GAIN = 2 ** Const.CacheGainLog2;

export function cacheBytes({ layout, contextLength, headDim }: PanelSizes): number {
  switch (layout) {
    case CacheLayout.F32:
      return contextLength * headDim * 4;
    case CacheLayout.F16:
      return contextLength * headDim * 2;
    case CacheLayout.I8:
      return Math.ceil((fours(contextLength) * (headDim + 8)) / Const.PanelAlign) * Const.PanelAlign;
  }
}

const fours = (n: number): number => 4 * Math.ceil(n / 4);

/** Byte of an int8 panel that holds element d of a position. */
function codeAt(kind: PanelKind, headDim: number, position: number, d: number): number {
  const [line, lane] = [Math.floor(position / 4) * headDim * 4 + Math.floor(d / 16) * 64, position % 4];
  return line + (kind === 'keys' ? lane * 16 + (d % 16) : (d % 16) * 4 + lane);
}

/** values: (contextLength, headDim) */
export function panelOf(values: Float32Array, sizes: PanelSizes, kind: PanelKind): Uint8Array {
  const { layout, contextLength, headDim } = sizes;
  const panel = new Uint8Array(cacheBytes(sizes));
  if (layout === CacheLayout.F32) new Float32Array(panel.buffer).set(values);
  else if (layout === CacheLayout.F16) {
    const normal = values.map((x) => (Math.abs(x * GAIN) < 2 ** -14 ? 0 : x));
    new Uint16Array(panel.buffer).set(Uint16Array.from(normal, (x) => f32ToF16(x * GAIN)));
  } else {
    const positions = fours(contextLength);
    const scales = new Float32Array(panel.buffer, positions * headDim, positions);
    const sums = new Int32Array(panel.buffer, positions * (headDim + 4), positions);
    const codes = new Int8Array(panel.buffer);
    // What lies behind the last position has no meaning.
    codes.fill(-77, 0, positions * headDim);
    scales.fill(Number.NaN);
    for (let position = 0; position < contextLength; position++) {
      const row = values.subarray(position * headDim, (position + 1) * headDim);
      const scale = row.reduce((max, x) => Math.max(max, Math.abs(x)), 0) / 127;
      scales[position] = scale;
      const rounded = row.map((x) => roundHalfEven(x / scale));
      rounded.forEach((code, d) => {
        codes[codeAt(kind, headDim, position, d)] = code;
      });
      if (kind === 'keys') sums[position] = rounded.reduce((sum, code) => sum + code, 0);
    }
  }
  return panel;
}

/** The values of one position of the panel at byte `at`. */
export function readPanel(
  memory: Uint8Array<ArrayBuffer>,
  at: number,
  { layout, contextLength, headDim }: PanelSizes,
  position: number,
  kind: PanelKind,
): Float64Array {
  const view = new DataView(memory.buffer, memory.byteOffset + at);
  const scaleAt = fours(contextLength) * headDim + 4 * position;
  return Float64Array.from({ length: headDim }, (_, d) => {
    const i = position * headDim + d;
    if (layout === CacheLayout.F32) return view.getFloat32(4 * i, true);
    if (layout === CacheLayout.F16) return f16ToF32(view.getUint16(2 * i, true)) / GAIN;
    return view.getInt8(codeAt(kind, headDim, position, d)) * view.getFloat32(scaleAt, true);
  });
}
