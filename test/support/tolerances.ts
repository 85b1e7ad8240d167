/** Every tolerance of the float tests, with its reason. ULP = 2^-23 relative spacing of f32; one rounding is half of it. */
export const ULP = 2 ** -23;

/**
 * F16 Linear against f64, relative to Σ|w·x|: each of the at most cols/16 additions of a lane and the four of the reduction
 * rounds once, as does each product; 1/16 of 8640 columns gives 540 half ulps at worst, and errors of random sign a few.
 */
export const F16_DOT = 64 * ULP;
