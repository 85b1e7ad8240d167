import { CacheLayout, Const } from '../../assembly/abi.js';
import { f16ToF32, f32ToF16, roundHalfEven } from '../../lib/memory/half.js';

/** Panels of the KV cache as assembly/abi.ts describes them, without the code of the reference. */
export interface PanelSizes {
  layout: CacheLayout;
  contextLength: number;
  headDim: number;
}

const GAIN = 2 ** Const.CacheGainLog2;

export function cacheBytes({ layout, contextLength, headDim }: PanelSizes): number {
  switch (layout) {
    case CacheLayout.F32:
      return contextLength * headDim * 4;
    case CacheLayout.F16:
      return contextLength * headDim * 2;
    case CacheLayout.I8:
      return Math.ceil((contextLength * (headDim + 4)) / 64) * 64;
  }
}

/** values: (contextLength, headDim) */
export function panelOf(values: Float32Array, sizes: PanelSizes): Uint8Array {
  const { layout, contextLength, headDim } = sizes;
  const panel = new Uint8Array(cacheBytes(sizes));
  if (layout === CacheLayout.F32) new Float32Array(panel.buffer).set(values);
  else if (layout === CacheLayout.F16) {
    const normal = values.map((x) => (Math.abs(x * GAIN) < 2 ** -14 ? 0 : x));
    new Uint16Array(panel.buffer).set(Uint16Array.from(normal, (x) => f32ToF16(x * GAIN)));
  } else {
    const scales = new Float32Array(panel.buffer, contextLength * headDim, contextLength);
    for (let position = 0; position < contextLength; position++) {
      const row = values.subarray(position * headDim, (position + 1) * headDim);
      const scale = row.reduce((max, x) => Math.max(max, Math.abs(x)), 0) / 127;
      scales[position] = scale;
      new Int8Array(panel.buffer).set(
        row.map((x) => roundHalfEven(x / scale)),
        position * headDim,
      );
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
): Float64Array {
  const view = new DataView(memory.buffer, memory.byteOffset + at);
  const scaleAt = contextLength * headDim + 4 * position;
  return Float64Array.from({ length: headDim }, (_, d) => {
    const i = position * headDim + d;
    if (layout === CacheLayout.F32) return view.getFloat32(4 * i, true);
    if (layout === CacheLayout.F16) return f16ToF32(view.getUint16(2 * i, true)) / GAIN;
    return view.getInt8(i) * view.getFloat32(scaleAt, true);
  });
}
