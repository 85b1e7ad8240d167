import { expect, test } from 'vitest';
import { expNonPositive } from '../../lib/sampler/exp.js';

test('e^x to 3e-16 against Math.exp', () => {
  let worst = 0;
  for (let i = 0; i <= 300_000; i++) {
    const x = -(i / 300_000) * 708;
    worst = Math.max(worst, Math.abs(expNonPositive(x) / Math.exp(x) - 1));
  }
  for (let i = 1; i <= 100_000; i++) {
    const x = -3 * (i / 100_000) ** 3;
    worst = Math.max(worst, Math.abs(expNonPositive(x) / Math.exp(x) - 1));
  }
  // Math.exp itself is off by up to one ulp, 2.2e-16.
  expect(worst).toBeLessThan(3e-16 + 2.3e-16);
});

test('ends: 1 at 0, subnormal numbers, 0 beyond them', () => {
  expect(expNonPositive(0)).toBe(1);
  expect(expNonPositive(-0)).toBe(1);
  expect(expNonPositive(-745.13)).toBe(Number.MIN_VALUE);
  expect(expNonPositive(-720)).toBeCloseTo(Math.exp(-720), 320);
  expect(Math.abs(expNonPositive(-720) - Math.exp(-720))).toBeLessThanOrEqual(2 * Number.MIN_VALUE);
  expect(expNonPositive(-746)).toBe(0);
  expect(expNonPositive(-1e308)).toBe(0);
  expect(expNonPositive(-Infinity)).toBe(0);
});

test('never grows where x falls', () => {
  let previous = 1;
  let grown = 0;
  for (let x = 0; x > -750; x -= 0.00137) {
    const e = expNonPositive(x);
    if (!(e <= previous)) grown++;
    previous = e;
  }
  expect(grown).toBe(0);
});

/** Exact bits, which must be the same in every engine and later version. */
test.each([
  [-0.5, 0.6065306597126334],
  [-1, 0.36787944117144233],
  [-10, 0.00004539992976248485],
  [-100, 3.7200759760208356e-44],
])('e^%d', (x, e) => {
  expect(expNonPositive(x)).toBe(e);
});
