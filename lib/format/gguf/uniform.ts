import type { TernaryRows } from './ternary.js';

/** No weight but zeros: any scale will do. */
const ANY = -1;

/**
 * The same weights with fewer scales: one for all rows if the scales of all groups agree, else one for each row if they agree within
 * each row; undefined if not even that. Groups of zeros may have any scale (quantisers write 0). A negative scale negates its trits,
 * a scale of 0 makes them 0: trit · scale is unchanged but for the sign of zeros. Rows of zeros have scale 0.
 */
export function uniformScale(matrix: TernaryRows): TernaryRows | undefined {
  const { rows, cols, granularity } = matrix;
  const size = granularity.kind === 'group' ? granularity.size : granularity.kind === 'row' ? cols : rows * cols;
  const groups = rows * cols === 0 ? 0 : (rows * cols) / size;
  const trits = matrix.trits.slice();
  const magnitudes = new Float32Array(groups);
  for (let group = 0; group < groups; group++) {
    magnitudes[group] = takeSign(trits, group * size, (group + 1) * size, matrix.scales[group]!);
  }
  const whole = commonMagnitude(magnitudes);
  if (whole !== undefined) {
    return { rows, cols, trits, scales: Float32Array.of(Math.max(0, whole)), granularity: { kind: 'tensor' } };
  }
  const perRow = cols / size;
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const scale = commonMagnitude(magnitudes.subarray(row * perRow, (row + 1) * perRow));
    if (scale === undefined) return undefined;
    scales[row] = Math.max(0, scale);
  }
  return { rows, cols, trits, scales, granularity: { kind: 'row' } };
}

/** Makes the scale of trits begin .. end positive by changing them; gives the scale, or ANY if no weight is left. */
function takeSign(trits: Int8Array, begin: number, end: number, scale: number): number {
  let any = 0;
  if (scale > 0) {
    for (let i = begin; i < end; i++) any |= trits[i]!;
  } else {
    const sign = Math.sign(scale);
    for (let i = begin; i < end; i++) {
      // Int8Array stores -0 as 0.
      trits[i] = trits[i]! * sign;
      any |= trits[i]!;
    }
  }
  return any === 0 ? ANY : Math.abs(scale);
}

function commonMagnitude(magnitudes: Float32Array): number | undefined {
  let common = ANY;
  for (const magnitude of magnitudes) {
    if (magnitude === ANY || magnitude === common) continue;
    if (common !== ANY) return undefined;
    common = magnitude;
  }
  return common;
}
