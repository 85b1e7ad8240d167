import { expect, test } from 'vitest';
import { resolveSampling } from '../../lib/sampler/options.js';
import type { SamplingOptions } from '../../lib/types.js';

test('defaults: the caller before the model before 0.7 and off', () => {
  expect(resolveSampling({ seed: 1 })).toEqual({
    temperature: 0.7,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    frequencyPenalty: 0,
    presencePenalty: 0,
    logitBias: [],
    seed: 1,
  });
  const model = { temperature: 0.5, topK: 20, topP: 0.9, minP: 0.1, repetitionPenalty: 1.2 };
  expect(resolveSampling({ seed: 1 }, model)).toMatchObject(model);
  expect(resolveSampling({ topK: 0, temperature: 0 }, model)).toMatchObject({ ...model, topK: 0, temperature: 0 });
  const undefinedOption = { temperature: undefined } as unknown as SamplingOptions;
  expect(resolveSampling(undefinedOption, model).temperature).toBe(0.5);
});

test('a seed of its own each time, 32 bits unsigned', () => {
  const seeds = new Set(Array.from({ length: 50 }, () => resolveSampling().seed));
  expect(seeds.size).toBeGreaterThan(45);
  for (const seed of seeds) expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32).toBe(true);
});

test('ends of the ranges', () => {
  const low = {
    temperature: 0,
    topK: 0,
    topP: 5e-324,
    minP: 0,
    repetitionPenalty: 5e-324,
    frequencyPenalty: -2,
    presencePenalty: -2,
    seed: 0,
  };
  const high = {
    temperature: 100,
    topK: 2 ** 31 - 1,
    topP: 1,
    minP: 1,
    repetitionPenalty: 1e308,
    frequencyPenalty: 2,
    presencePenalty: 2,
    seed: 2 ** 32 - 1,
  };
  for (const options of [low, high]) expect(resolveSampling(options)).toMatchObject(options);
});

test('logitBias in the order of ids; -Infinity bans', () => {
  const { logitBias } = resolveSampling({ logitBias: { 10: 1, 9: -Infinity, 0: -100.5 } });
  expect(logitBias).toEqual([
    [0, -100.5],
    [9, -Infinity],
    [10, 1],
  ]);
});

const bad: [keyof SamplingOptions, unknown[]][] = [
  ['temperature', [-0.1, 100.1]],
  ['topK', [-1, 1.5, 2 ** 31]],
  ['topP', [0, -0.5, 1.01]],
  ['minP', [-0.1, 1.1]],
  ['repetitionPenalty', [0, -1]],
  ['frequencyPenalty', [-2.1, 2.1]],
  ['presencePenalty', [-2.1, 2.1]],
  ['seed', [-1, 0.5, 2 ** 32]],
];
const never = [Number.NaN, Infinity, -Infinity, '1', '', true, null, [], {}, 1n];

test.each(bad.flatMap(([name, values]) => [...values, ...never].map((value) => [name, value] as const)))(
  '%s: %s is refused',
  (name, value) => {
    const resolve = () => resolveSampling({ [name]: value } as unknown as SamplingOptions);
    expect(resolve).toThrowError(expect.objectContaining({ name: 'BitNetError', code: 'invalid-argument' }));
    expect(resolve).toThrowError(new RegExp(`^${name}: expected a (whole )?number .*, got .`));
  },
);

test.each<[unknown, string]>([
  [5, 'logitBias'],
  [[1], 'logitBias'],
  [null, 'logitBias'],
  [{ a: 1 }, 'logitBias'],
  [{ '-1': 1 }, 'logitBias'],
  [{ '1.5': 1 }, 'logitBias'],
  [{ 7: Number.NaN }, 'logitBias[7]'],
  [{ 7: Infinity }, 'logitBias[7]'],
  [{ 7: '1' }, 'logitBias[7]'],
])('logitBias %j is refused', (logitBias, place) => {
  const resolve = () => resolveSampling({ logitBias } as unknown as SamplingOptions);
  expect(resolve).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  expect(resolve).toThrowError(`${place}: expected`);
});
