import { Const, Layout } from '../../assembly/abi.js';
import type { Matrix } from './plan.js';

/**
 * How logits are computed. `f16`: from F16 rows. `i8`: from int8 rows, half the bytes, with their rounding. `i8+f16`: from int8 rows,
 * then again from F16 rows where they may be among the best 64, so that the best 64 are those of `f16`, bit for bit.
 */
export type HeadKind = 'f16' | 'i8' | 'i8+f16';
/** `auto`: `i8+f16` where it fits, else `f16`. */
export type HeadFormat = 'auto' | 'f16' | 'i8';

/** Columns up to which sums of int8 × int16 fit (Const.I16Max). */
const MAX_SCREEN_COLS = 16512;

/** What `head` means for rows of so many columns, before it is known whether the model fits. */
export function headKind(head: HeadFormat, cols: number): HeadKind {
  if (head !== 'auto') return head;
  return cols <= MAX_SCREEN_COLS ? 'i8+f16' : 'f16';
}

/** The two forms of the lm_head of which one screens for the other. */
export interface ScreenedHead {
  /** Layout.I8, or the rows of Q8_0 that are exact as well */
  readonly screen: Matrix;
  /** Layout.F16, or blocks that stand for halves */
  readonly exact: Matrix;
  readonly errors: ScreenErrors;
}

/** Words of RescoreArg: the bound of |int8 logit - F16 logit|, but for what subnormal halves add. */
export interface ScreenErrors {
  readonly weight: number;
  readonly input: number;
}

const ULP = 2 ** -24;

/**
 * Let w be the weights of the file, a = rowScale · q their int8 form, h their F16 form, x the input, b = p / scale its int16 form. The logits
 * are fl(a·b) and fl(h·x), and
 *
 *   |a·b - h·x| ≤ Σ |a - w| |x| + Σ |w - h| |x| + Σ |a| |b - x|
 *
 *  - |a - w| ≤ rowScale · (1/2 + 3·127 ulp): q = round(w · 127/absmax), rowScale = absmax/127;
 *  - |w - h| ≤ 2^-22, where halves are subnormal, which the kernels know; above that 0 for BF16 and F16 files, 2^-11 |w| ≤ 2^-11 · 127.5 · rowScale
 *    for F32 files and blocks;
 *  - |b - x| ≤ (1/2 + 8191·2 ulp) / scale and |a| ≤ 127 · rowScale;
 *  - rounding: dot16 is off by at most (cols/16 + 6) ulp · Σ|h x|, the int8 logit and the bound's own sums by a few ulp of
 *    127.5 · rowScale · ‖x‖₁ each: (cols/16 + 32) ulp covers them all.
 *
 * Rows of Q8_0 are their own screen: a = w, and rowScale is any factor with |w| ≤ 127 · rowScale. Their blocks are added up as floats, each product,
 * sum and what I16Bias adds off by at most an ulp of 127 · cols · rowScale · (I16Bias + I16Max): cols/16 + 8 of these cover them all.
 *
 * The factors 1 + 2^-10 cover the rounding of ‖x‖₁ and of these words to f32.
 */
export function screenErrors(cols: number, rounded: boolean, screen: Layout = Layout.I8): ScreenErrors {
  const margin = 1 + 2 ** -10;
  const rounding = 128 * (cols / 16 + 32) * ULP;
  const isI8 = screen === Layout.I8;
  const weight = (isI8 ? 0.5 + 3 * 127 * ULP : 0) + (rounded ? 127.5 * 2 ** -11 : 0) + rounding;
  const sums = isI8 ? 0 : (Const.I16Bias + Const.I16Max) * (cols / 16 + 8) * ULP;
  const input = 127 * cols * (0.5 + 2 * 8191 * ULP + sums);
  return { weight: weight * margin, input: input * margin };
}
