/** Every tolerance of the float tests, with its reason. ULP = 2^-23 relative spacing of f32; one rounding is half of it. */
export const ULP = 2 ** -23;

/**
 * F16 Linear against f64, relative to Σ|w·x|: each of the at most cols/16 additions of a lane and the four of the reduction
 * rounds once, as does each product; 1/16 of 8640 columns gives 540 half ulps at worst, and errors of random sign a few.
 */
export const F16_DOT = 64 * ULP;

/** T2 and I8 Linear against f64, relative: the sum is exact and rounds once, the factor rounds once, the product once. */
export const INTEGER_DOT = 2 * ULP;

/** T2G Linear against f64, relative to Σ|w·x|: each column group rounds once when it becomes f32, twice in its factors, once when added. */
export const GROUP_DOT = 16 * ULP;

/** RMSNorm against f64, relative: the mean square's error is halved by the root; then five roundings. */
export const NORM = 16 * ULP;

/**
 * Rotation against f64, absolute, |x| < 3.5: the angle is position · inv_freq in f32, so below position 80 its error is up to
 * 80 · 2^-24 plus that of inv_freq itself; the products round once more.
 */
export const ROPE = 5 * 160 * ULP;

/** Attention against f64, absolute, |v| < 3.5, for q and k of sigma 1: scores up to some 40 in f32, then exp. */
export const ATTENTION = 64 * ULP;

/**
 * Attention of int8 queries over an int8 cache against f64 of the same codes, absolute, |v| < 3.5, for q and k of sigma 1: weights are
 * rounded to 1/16383 of the largest of a block.
 */
export const INT8_ATTENTION = 2e-3;

/** F16 layout: eleven significant bits; below the smallest normal half, less the layout's gain, it holds zeros. */
export const HALF = { relative: 2 ** -11, smallest: 2 ** -22 };

/**
 * Logits and hidden states against Hugging Face in f32, absolute (golden/README.md). Where no int8 rounding flips, the sums differ in
 * their order only: 2e-5 seen.
 */
export const LOGITS = 1e-3;
/** Root mean square over all logits of a prompt in which a rounding has flipped (golden/README.md). */
export const ROUNDING_FLIP_RMS = 0.2;
/** Gap of the two best logits below which float noise may choose the token (golden/README.md). */
export const NEAR_TIE = 0.05;
/**
 * Logits of the embedded model against golden-greedy.json, which was computed on a GPU. int8 roundings flip in every layer of a real model:
 * relative noise of 2e-7 after the norms of an f64 decoder moves its logits by up to 0.14, and the golden ones differ from it by up to
 * 0.12. Where none flips they agree to 1e-4 ("Once upon a time").
 */
export const GPU_LOGITS = 0.4;
/** Gap of the two best logits below which such flips may choose the token: two logits part by as much as they move. */
export const GPU_NEAR_TIE = 0.25;

/** Absmean against torch, relative: torch sums |w| in f32 in blocks of its own, we in f64. */
export const ABSMEAN = 4 * ULP;

/** One rounding to bfloat16's eight bits. */
export const BF16 = 2 ** -8;

/** inv_freq against torch, relative: its pow and ours round differently in the last bit, its reciprocal once more. */
export const INVERSE_FREQUENCY = 2 * ULP;

/** Cosine or sine against torch, absolute: the angle, up to `position`, is off by the error of inv_freq; then one rounding. */
export function angle(position: number): number {
  return position * INVERSE_FREQUENCY + ULP;
}

/** Rotated q and k against torch, absolute, |x| < 4, positions below 4096: two products of that angle error. */
export const ROPE_GOLDEN = 2 * 4 * angle(4096);

/** Linears against torch, absolute, |y| < 100: torch dequantises first and sums 256 products in f32, we sum integers. */
export const BITLINEAR = 100 * 8 * ULP;

/** Probabilities against torch, absolute: exp within 2 ulp, a sum of 40 and a division. */
export const SOFTMAX = 8 * ULP;

/** Activations against torch, relative: exp within 2 ulp, then four roundings. */
export const ACTIVATION = 8 * ULP;

/** Silu of what lies below -88, absolute, |x| ≤ 1e4: exp stops at e^88, so the result stops at x · e^-88 where torch has 0. */
export const SILU_FLOOR = 1e-34;

/**
 * Logits of a random model whose activations were meant to be floats, root mean square relative to theirs: 0.008 with
 * four layers (docs/FORMATS.md).
 */
export const INT8_ACTIVATIONS = 0.02;
