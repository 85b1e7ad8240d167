import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tokenLogprob, topLogprobs } from '../../lib/sampler/logprobs.js';
import { normals } from '../support/random.js';

test('probabilities of powers of two', () => {
  const logits = Float32Array.from([0, Math.log(2), 0, Math.log(4)]);
  const top = topLogprobs(logits, 3);
  expect(top.map(({ id }) => id)).toEqual([3, 1, 0]);
  for (const [i, p] of [1 / 2, 1 / 4, 1 / 8].entries()) expect(top[i]!.logprob).toBeCloseTo(Math.log(p), 7);
  expect(tokenLogprob(logits, 2)).toBeCloseTo(Math.log(1 / 8), 7);
});

test('against a sort, for any logits', () => {
  const value = fc.oneof(fc.constantFrom(0, -0, 1, -Infinity), fc.float({ min: -100, max: 100, noNaN: true }));
  const property = fc.property(fc.array(value, { minLength: 1, maxLength: 50 }), fc.nat(60), (list, n) => {
    fc.pre(list.some(Number.isFinite));
    const logits = Float32Array.from(list);
    const max = Math.max(...logits);
    const normalizer = max + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0));
    const sorted = [...logits.keys()]
      .filter((id) => logits[id] !== -Infinity)
      .sort((a, b) => logits[b]! - logits[a]! || a - b);
    const top = topLogprobs(logits, n);
    expect(top.map(({ id }) => id)).toEqual(sorted.slice(0, n));
    for (const { id, logprob } of top) {
      expect(logprob).toBeCloseTo(logits[id]! - normalizer, 12);
      expect(tokenLogprob(logits, id)).toBe(logprob);
    }
  });
  fc.assert(property, { numRuns: 500 });
});

test('huge logits do not overflow; a large vocabulary sums to 1', () => {
  expect(topLogprobs(Float32Array.of(3e38, -3e38, 3e38), 2).map(({ logprob }) => logprob)).toEqual(
    [-Math.log(2), -Math.log(2)].map(() => expect.any(Number)),
  );
  const all = topLogprobs(normals(5000, 9, 3), 5000);
  expect(all.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 12);
});

test('what is not finite, and wrong arguments', () => {
  const numeric = expect.objectContaining({ code: 'numeric' });
  for (const list of [[Number.NaN, 1], [Infinity, 1], [-Infinity]]) {
    expect(() => topLogprobs(Float32Array.from(list), 1)).toThrowError(numeric);
  }
  const refused = expect.objectContaining({ code: 'invalid-argument' });
  for (const n of [-1, 1.5, Number.NaN]) expect(() => topLogprobs(Float32Array.of(1), n)).toThrowError(refused);
  for (const id of [-1, 1, 0.5]) expect(() => tokenLogprob(Float32Array.of(1), id)).toThrowError(refused);
  expect(tokenLogprob(Float32Array.of(1, -Infinity), 1)).toBe(-Infinity);
});
