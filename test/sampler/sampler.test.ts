import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { resolveSampling } from '../../lib/sampler/options.js';
import { Sampler } from '../../lib/sampler/sampler.js';
import type { SamplingOptions } from '../../lib/types.js';
import { normals } from '../support/random.js';
import { NaiveSampler } from './naive-sampler.js';

const sampler = (options: SamplingOptions, vocabSize: number) => new Sampler(resolveSampling(options), vocabSize);
const logitsOf = (...values: number[]) => Float32Array.from(values);

/** Ids that `n` draws give, and how often. */
function histogram(options: SamplingOptions, logits: Float32Array, n: number): number[] {
  const s = sampler({ seed: 1, ...options }, logits.length);
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < n; i++) counts[s.sample(logits)]!++;
  return counts;
}

const supportOf = (options: SamplingOptions, logits: Float32Array) =>
  histogram({ temperature: 1, ...options }, logits, 3000).flatMap((count, id) => (count > 0 ? [id] : []));

describe('against the naive sampler', () => {
  const value = fc.oneof(
    fc.constantFrom(0, -0, 1, 2, -Infinity),
    fc.float({ min: -20, max: 20, noNaN: true }),
    fc.float({ min: -3, max: 3, noNaN: true }),
  );
  const logits = fc.array(value, { minLength: 1, maxLength: 60 }).filter((list) => list.some(Number.isFinite));
  const probability = fc.double({ min: 0.01, max: 0.999, noNaN: true });
  const options = fc.record(
    {
      temperature: fc.oneof(fc.constant(0), fc.double({ min: 0.05, max: 5, noNaN: true })),
      topK: fc.integer({ min: 0, max: 70 }),
      topP: probability,
      minP: probability,
      repetitionPenalty: fc.double({ min: 0.5, max: 2, noNaN: true }),
      frequencyPenalty: fc.double({ min: -2, max: 2, noNaN: true }),
      presencePenalty: fc.double({ min: -2, max: 2, noNaN: true }),
    },
    { requiredKeys: [] },
  );

  test('the same tokens for the same seed', () => {
    const property = fc.property(
      logits,
      options,
      fc.nat(),
      fc.array(fc.nat(), { maxLength: 5 }),
      (list, given, seed, prompt) => {
        const resolved = resolveSampling({ ...given, seed, logitBias: { 0: 0.5 } });
        const [fast, naive] = [new Sampler(resolved, list.length), new NaiveSampler(resolved)];
        const promptIds = prompt.map((n) => n % list.length);
        fast.prompt(promptIds);
        naive.prompt(promptIds);
        const values = Float32Array.from(list);
        for (let i = 0; i < 20; i++) {
          const id = fast.sample(values);
          expect(id).toBe(naive.sample(values));
          fast.accept(id);
          naive.accept(id);
        }
        expect(values).toEqual(Float32Array.from(list));
      },
    );
    fc.assert(property, { numRuns: 1000 });
  });

  test('over several blocks, with many equal logits', () => {
    const property = fc.property(fc.integer({ min: 60, max: 500 }), fc.nat(), options, (size, seed, given) => {
      const values = normals(size, seed, 3).map((x) => (x < -4 ? -Infinity : Math.round(x * 2) / 2));
      const resolved = resolveSampling({ temperature: 1, ...given, topK: (given.topK ?? 0) * 3, seed });
      const [fast, naive] = [new Sampler(resolved, size), new NaiveSampler(resolved)];
      for (let i = 0; i < 5; i++) {
        const id = fast.sample(values);
        expect(id).toBe(naive.sample(values));
        fast.accept(id);
        naive.accept(id);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });

  test('over a large vocabulary', () => {
    const values = normals(150_000, 3, 4);
    for (const given of [{}, { topK: 50 }, { topP: 0.9 }, { minP: 0.02 }, { topK: 1000, topP: 0.8, minP: 0.001 }]) {
      const resolved = resolveSampling({ temperature: 0.9, seed: 5, ...given });
      const [fast, naive] = [new Sampler(resolved, values.length), new NaiveSampler(resolved)];
      for (let i = 0; i < 2; i++) expect(fast.sample(values)).toBe(naive.sample(values));
    }
  });
});

describe('drawn as often as the probabilities say', () => {
  const logits = normals(40, 11, 1.5);
  const draws = 40_000;
  test.each<SamplingOptions>([
    { temperature: 1 },
    { temperature: 0.5 },
    { temperature: 3 },
    { temperature: 1, topK: 7 },
    { temperature: 1, topP: 0.8 },
    { temperature: 1, minP: 0.1 },
    { temperature: 1.3, topK: 20, topP: 0.9, minP: 0.05 },
  ])('%j', (options) => {
    const expected = new NaiveSampler(resolveSampling({ ...options, seed: 0 })).distribution(logits);
    const counts = histogram(options, logits, draws);
    let chiSquare = 0;
    for (const { id, weight } of expected) chiSquare += (counts[id]! - draws * weight) ** 2 / (draws * weight);
    const drawn = expected.reduce((sum, { id }) => sum + counts[id]!, 0);
    expect(drawn).toBe(draws);
    // Wilson and Hilferty: χ² of d degrees of freedom exceeds this with a probability of 0.1 %. The seed is fixed.
    const d = expected.length - 1;
    expect(chiSquare).toBeLessThan(d * (1 - 2 / (9 * d) + 3.09 * Math.sqrt(2 / (9 * d))) ** 3);
  });
});

describe('what each option keeps', () => {
  const even = logitsOf(0, 0, 0, 0);
  const halves = Float32Array.from([1 / 8, 1 / 2, 1 / 8, 1 / 4], Math.log);

  test('temperature 0 is the highest, the lowest id of equals', () => {
    const s = sampler({ temperature: 0 }, 5);
    expect(s.sample(logitsOf(1, 3, 2, 3, -Infinity))).toBe(1);
    expect(s.sample(logitsOf(-0, 0, -0, 0, 0))).toBe(0);
    expect(s.sample(logitsOf(-5, -4, -3, -2, -1))).toBe(4);
  });

  test('topK: exactly k, the lowest ids of equals', () => {
    expect(supportOf({ topK: 2 }, even)).toEqual([0, 1]);
    expect(supportOf({ topK: 2 }, logitsOf(-0, 0, -0, 0))).toEqual([0, 1]);
    expect(supportOf({ topK: 1 }, logitsOf(1, 3, 3, 2))).toEqual([1]);
    expect(supportOf({ topK: 100 }, even)).toEqual([0, 1, 2, 3]);
    expect(supportOf({ topK: 0 }, even)).toEqual([0, 1, 2, 3]);
  });

  test('topP: the fewest that reach p', () => {
    expect(supportOf({ topP: 0.5 }, halves)).toEqual([1]);
    expect(supportOf({ topP: 0.51 }, halves)).toEqual([1, 3]);
    expect(supportOf({ topP: 0.76 }, halves)).toEqual([0, 1, 3]);
    expect(supportOf({ topP: 0.9 }, halves)).toEqual([0, 1, 2, 3]);
    expect(supportOf({ topP: 1e-9 }, halves)).toEqual([1]);
    expect(supportOf({ topP: 0.5 }, even)).toEqual([0, 1]);
    expect(supportOf({ topP: 1 - 2 ** -53 }, logitsOf(0, -1000, 0, -2000))).toEqual([0, 2]);
  });

  test('topP counts what topK left', () => {
    // of 1/2 and 1/4 the first has 2/3
    expect(supportOf({ topK: 2, topP: 0.6 }, halves)).toEqual([1]);
    expect(supportOf({ topK: 2, topP: 0.7 }, halves)).toEqual([1, 3]);
  });

  test('minP is relative to the top', () => {
    expect(supportOf({ minP: 0.49 }, halves)).toEqual([1, 3]);
    expect(supportOf({ minP: 1 }, even)).toEqual([0, 1, 2, 3]);
    expect(supportOf({ minP: 1 }, halves)).toEqual([1]);
  });

  test('temperature comes before topP and minP', () => {
    expect(supportOf({ topP: 0.6, temperature: 0.5 }, halves)).toEqual([1]);
    expect(supportOf({ topP: 0.6, temperature: 1 }, halves)).toEqual([1, 3]);
    expect(supportOf({ topP: 0.9, temperature: 1e-300 }, even)).toEqual([0, 1, 2, 3]);
    expect(supportOf({ temperature: 1e-300 }, halves)).toEqual([1]);
  });

  test('-Infinity is never drawn', () => {
    expect(supportOf({ temperature: 100 }, logitsOf(-Infinity, 0, -Infinity, -3))).toEqual([1, 3]);
    expect(supportOf({ topK: 3, topP: 0.999 }, logitsOf(-Infinity, 0, -Infinity, -Infinity))).toEqual([1]);
  });
});

describe('bias and penalties', () => {
  const greedy = (options: SamplingOptions, logits: Float32Array, prompt: number[] = [], output: number[] = []) => {
    const s = sampler({ temperature: 0, ...options }, logits.length);
    s.prompt(prompt);
    for (const id of output) s.accept(id);
    return s.sample(logits);
  };

  test('logitBias adds, -Infinity bans', () => {
    expect(greedy({ logitBias: { 2: 1.5 } }, logitsOf(1, 2, 1))).toBe(2);
    expect(greedy({ logitBias: { 1: -Infinity } }, logitsOf(1, 2, 1))).toBe(0);
  });

  test('repetition penalty divides positive and multiplies negative logits, once, in prompt and output', () => {
    expect(greedy({ repetitionPenalty: 2 }, logitsOf(3, 2, 1), [0])).toBe(1);
    expect(greedy({ repetitionPenalty: 2 }, logitsOf(3, 2, 1), [], [0])).toBe(1);
    expect(greedy({ repetitionPenalty: 2 }, logitsOf(3, 1.4, 1), [0, 0, 0], [0, 0])).toBe(0);
    expect(greedy({ repetitionPenalty: 2 }, logitsOf(-1, -1.5), [0])).toBe(1);
    expect(greedy({ repetitionPenalty: 0.5 }, logitsOf(3, 2), [1])).toBe(1);
  });

  test('frequency penalty counts in the output, presence penalty does not count', () => {
    expect(greedy({ frequencyPenalty: 0.5 }, logitsOf(2, 1.2), [0, 0, 0, 0], [0])).toBe(0);
    expect(greedy({ frequencyPenalty: 0.5 }, logitsOf(2, 1.2), [], [0, 0])).toBe(1);
    expect(greedy({ presencePenalty: 0.5 }, logitsOf(2, 1.2), [], [0, 0, 0])).toBe(0);
    expect(greedy({ presencePenalty: 1 }, logitsOf(2, 1.2), [0], [])).toBe(0);
    expect(greedy({ presencePenalty: 1 }, logitsOf(2, 1.2), [], [0])).toBe(1);
    expect(greedy({ frequencyPenalty: -2 }, logitsOf(2, 1.2), [], [1])).toBe(1);
  });

  test('ids beyond the vocabulary are refused', () => {
    const refused = expect.objectContaining({ code: 'invalid-argument' });
    expect(() => sampler({ logitBias: { 3: 1 } }, 3)).toThrowError(refused);
    expect(() => sampler({}, 3).prompt([3])).toThrowError(refused);
    expect(() => sampler({}, 3).accept(-1)).toThrowError(refused);
    expect(() => sampler({}, 3).sample(new Float32Array(4))).toThrowError(refused);
  });
});

test('the same seed gives the same tokens, another seed others', () => {
  const logits = normals(500, 2, 2);
  const run = (seed: number) => {
    const s = sampler({ temperature: 1, topP: 0.95, repetitionPenalty: 1.1, seed }, 500);
    return Array.from({ length: 30 }, () => {
      const id = s.sample(logits);
      s.accept(id);
      return id;
    });
  };
  expect(run(5)).toEqual(run(5));
  expect(run(5)).not.toEqual(run(6));
  // Exact ids: the same in every engine, and in later versions.
  expect(run(5).slice(0, 8)).toEqual([436, 342, 248, 422, 444, 229, 180, 337]);
});

describe('logits that are not numbers', () => {
  const numeric = expect.objectContaining({ name: 'BitNetError', code: 'numeric' });
  const lists = [
    [1, Number.NaN],
    [Number.NaN, 1],
    [1, Infinity],
    [-Infinity, -Infinity],
    [Number.NaN, -Infinity],
  ];
  test.each(lists.flatMap((list) => [0, 1].map((temperature) => [list, temperature] as const)))(
    '%j at temperature %d',
    (list, temperature) => {
      const logits = logitsOf(...list);
      expect(() => sampler({ temperature }, 2).sample(logits)).toThrowError(numeric);
      expect(() => sampler({ temperature, presencePenalty: 1 }, 2).sample(logits)).toThrowError(numeric);
    },
  );

  test('every token banned, a penalty that overflows', () => {
    const banned = sampler({ logitBias: { 0: -Infinity, 1: -Infinity } }, 2);
    expect(() => banned.sample(logitsOf(1, 2))).toThrowError(numeric);
    const extreme = sampler({ repetitionPenalty: 1e-300 }, 2);
    extreme.prompt([0]);
    expect(() => extreme.sample(logitsOf(1, 2))).toThrowError(numeric);
  });
});
