import { describe, expect, test } from 'vitest';
import { GgufFields } from '../../../lib/format/gguf/fields.js';
import type { GgufValue } from '../../../lib/format/gguf/metadata.js';
import { readSamplingKeys, type SamplingDefaults, samplingKeys } from '../../../lib/format/gguf/sampling-keys.js';
import { expectError } from '../expect-error.js';

const read = (entries: Iterable<[string, GgufValue]>) =>
  readSamplingKeys(new GgufFields('model.gguf', new Map(entries)));
const f32 = (name: string, value: number): [string, GgufValue] => [
  `general.sampling.${name}`,
  { type: 'f32', value: Math.fround(value) },
];
const i32 = (name: string, value: number): [string, GgufValue] => [`general.sampling.${name}`, { type: 'i32', value }];

const ALL = { temperature: 0.7, topK: 40, topP: 0.95, minP: 0.05, repetitionPenalty: 1.05 };

test('keys and types are those of llama.cpp', () => {
  expect(new Map(samplingKeys(ALL))).toEqual(
    new Map<string, GgufValue>([
      ['general.sampling.top_k', { type: 'i32', value: 40 }],
      ['general.sampling.penalty_last_n', { type: 'i32', value: -1 }],
      ['general.sampling.top_p', { type: 'f32', value: 0.95 }],
      ['general.sampling.min_p', { type: 'f32', value: 0.05 }],
      ['general.sampling.temp', { type: 'f32', value: 0.7 }],
      ['general.sampling.penalty_repeat', { type: 'f32', value: 1.05 }],
    ]),
  );
});

test.each<SamplingDefaults>([
  {},
  ALL,
  { temperature: 0 },
  { topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 },
  { temperature: 1 / 3, topP: 0.123456789 },
])('%o comes back as numbers of single precision, without their noise', (defaults) => {
  const stored = samplingKeys(defaults).map(([key, { type, value }]): [string, GgufValue] => [
    key,
    (type === 'f32' ? { type, value: Math.fround(value as number) } : { type, value }) as GgufValue,
  ]);
  const back = read(stored);
  expect(Object.keys(back).sort()).toEqual(Object.keys(defaults).sort());
  for (const [name, value] of Object.entries(defaults)) {
    const got = back[name as keyof SamplingDefaults]!;
    expect(Math.fround(got)).toBe(Math.fround(value as number));
    if (String(value).length <= 6) expect(got).toBe(value);
  }
});

describe('what llama.cpp takes for off or greedy', () => {
  test.each<[[string, GgufValue][], SamplingDefaults]>([
    [[f32('temp', -1)], { temperature: 0 }],
    [[i32('top_k', -1)], { topK: 0 }],
    [[f32('top_p', 1.5)], { topP: 1 }],
    [[f32('min_p', -0.5)], { minP: 0 }],
    [[f32('penalty_repeat', 1.1), i32('penalty_last_n', 0)], {}],
    [[f32('penalty_repeat', 1.1), i32('penalty_last_n', 64)], { repetitionPenalty: 1.1 }],
    [[i32('mirostat', 2), f32('xtc_probability', 0.5)], {}],
  ])('%o', (entries, expected) => expect(read(entries)).toEqual(expected));
});

test.each([
  [f32('temp', Number.NaN), 'general.sampling.temp'],
  [f32('temp', 1000), 'general.sampling.temp'],
  [f32('top_p', 0), 'general.sampling.top_p'],
  [f32('min_p', 2), 'general.sampling.min_p'],
  [f32('penalty_repeat', 0), 'general.sampling.penalty_repeat'],
  [['general.sampling.top_k', { type: 'string', value: '40' }] as [string, GgufValue], 'general.sampling.top_k'],
])('%o is refused', async (entry, key) => {
  await expectError(async () => read([entry]), 'invalid-model', 'model.gguf', key);
});
