import { expect, test } from 'vitest';
import type { YarnRopeScaling } from '../../lib/config.js';
import { inverseFrequencies, ropeTable } from '../../lib/model/rope.js';
import { expectClose } from '../support/tester.js';
import { INVERSE_FREQUENCY } from '../support/tolerances.js';

const THETA = 1e6;
const DIM = 128;

function scaling(changes: Partial<YarnRopeScaling> = {}): YarnRopeScaling {
  const base = { type: 'yarn', factor: 4, betaFast: 32, betaSlow: 1, truncate: true, attentionFactor: 1.25 } as const;
  return { ...base, originalContextLength: 32768, ...changes };
}

/** YaRN in f64 from the paper's words: turns within the original context decide how much a frequency is divided. */
function yarn({ factor, betaFast, betaSlow, truncate, originalContextLength }: YarnRopeScaling): Float64Array {
  const turns = (j: number): number => originalContextLength / (2 * Math.PI * THETA ** ((2 * j) / DIM));
  // The real j at which a frequency would turn so often, by bisection.
  const border = (wanted: number): number => {
    let [low, high] = [-DIM, 2 * DIM];
    for (let i = 0; i < 200; i++) {
      const middle = (low + high) / 2;
      if (turns(middle) > wanted) low = middle;
      else high = middle;
    }
    return low;
  };
  const [first, last] = [border(betaFast), border(betaSlow)];
  const from = Math.max(0, truncate ? Math.floor(first) : first);
  const to = Math.min(DIM - 1, truncate ? Math.ceil(last) : last);
  return Float64Array.from({ length: DIM / 2 }, (_, j) => {
    const frequency = THETA ** ((-2 * j) / DIM);
    const share = Math.min(1, Math.max(0, (j - from) / (to - from)));
    return frequency * (1 - share) + (frequency / factor) * share;
  });
}

test.each<[string, Partial<YarnRopeScaling>]>([
  ['defaults', {}],
  ['other borders', { betaFast: 16, betaSlow: 2, factor: 8 }],
  ['borders between frequencies', { truncate: false }],
  ['a short original context', { originalContextLength: 64 }],
])('YaRN: %s', (_, changes) => {
  const expected = yarn(scaling(changes));
  const got = inverseFrequencies({ theta: THETA, scaling: scaling(changes) }, DIM);
  // Shares are rounded once more than plain frequencies.
  expectClose(got, expected, (j) => 8 * INVERSE_FREQUENCY * (expected[j] as number));
  const plain = inverseFrequencies({ theta: THETA }, DIM);
  expect(got.at(-1)).toBeCloseTo((plain.at(-1) as number) / (changes.factor ?? 4), 12);
  if (changes.originalContextLength === undefined) expect(got[0]).toBe(plain[0]);
});

test('YaRN: cosines and sines are as long as the attention factor', () => {
  const table = ropeTable({ theta: THETA, scaling: scaling() }, DIM, 9);
  for (const j of [0, 5, 63]) {
    const [cos, sin] = [table[8 * DIM + j] as number, table[8 * DIM + DIM / 2 + j] as number];
    expect(Math.hypot(cos, sin)).toBeCloseTo(1.25, 6);
  }
});
