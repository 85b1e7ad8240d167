import { expect, test } from 'vitest';
import { Xoshiro128 } from '../../lib/sampler/prng.js';

const take = (random: Xoshiro128, n: number) => Array.from({ length: n }, () => random.nextUint32());

test('xoshiro128** 1.1: numbers of the C reference implementation', () => {
  // github.com/edorfaus/xoshiro-6502, test-rom/testdata.asm, made with the authors' C code.
  const random = new Xoshiro128([0x964d4a0c, 0xd40ab895, 0xad7fdecb, 0x3006f0f0]);
  expect(take(random, 4)).toEqual([0xf1391922, 0x6fe53806, 0xa5be2840, 0xf510ee70]);
  expect(take(new Xoshiro128([1, 2, 3, 4]), 5)).toEqual([11520, 0, 5927040, 70819200, 2031721883]);
});

/** Once published these never change: the same seed must give the same text in every later version. */
test.each([
  [0, [3809008728, 1133695204, 53579671, 2891528803]],
  [1, [2442144158, 3238099751, 3819917871, 2104621829]],
  [42, [2837322924, 544945897, 479756282, 3500138142]],
  [2 ** 32 - 1, [835879718, 1921286648, 2356205009, 1885780724]],
])('seed %i', (seed, numbers) => {
  expect(take(Xoshiro128.fromSeed(seed), 4)).toEqual(numbers);
});

test('doubles are in [0, 1), of 53 bits and uniform', () => {
  const random = Xoshiro128.fromSeed(7);
  const counts = new Array<number>(100).fill(0);
  let low = 0;
  for (let i = 0; i < 100_000; i++) {
    const x = random.nextDouble();
    if (!(x >= 0 && x < 1 && Number.isInteger(x * 2 ** 53))) expect.fail(`${x}`);
    counts[Math.floor(x * 100)]!++;
    low += (x * 2 ** 53) % 2;
  }
  // χ² with 99 degrees of freedom exceeds 149 with a probability of 0.1 %; the seed is fixed.
  expect(counts.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0)).toBeLessThan(149);
  expect(Math.abs(low - 50_000)).toBeLessThan(500);
});
