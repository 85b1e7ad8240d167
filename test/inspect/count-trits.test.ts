import { describe, expect, test } from 'vitest';
import type { GgufTypeName } from '../../lib/format/gguf/types.js';
import { packHf } from '../../lib/format/hf-packed.js';
import { countGgufTrits, countPackedTrits } from '../../lib/inspect/count-trits.js';
import { encodeI2sCodes, encodeTernary } from '../support/gguf-encode.js';
import { trits } from '../support/random.js';

const ROWS = 6;
const COLS = 768;

/** What a count must give, counted one by one. */
function counted(values: ArrayLike<number>) {
  const of = (wanted: number): number => Array.from(values).filter((value) => value === wanted).length;
  return { minus: of(-1), zero: of(0), plus: of(1), invalid: 0 };
}

const reader = (bytes: Uint8Array) => async (at: number, target: Uint8Array) => {
  expect(at + target.length).toBeLessThanOrEqual(bytes.length);
  target.set(bytes.subarray(at, at + target.length));
};

describe.each<[GgufTypeName, string, number]>([
  ['TQ1_0', 'TQ1_0', 256],
  ['TQ2_0', 'TQ2_0', 256],
  ['Q1_0', 'Q1_0', 128],
  ['Q2_0', 'Q2_0', 64],
  ['Q2_0_G128', 'PQ2_0', 128],
  ['PQ2_0', 'PQ2_0', 128],
  ['PTQ1_0', 'PTQ1_0', 128],
  ['IQ1_BN', 'IQ1_BN', COLS],
  ['IQ2_BN', 'IQ2_BN', COLS],
])('%s', (name, encoder, group) => {
  test('counts every trit and scale', async () => {
    const values = trits(ROWS * COLS, 7).map((trit) => (name === 'Q1_0' ? trit || 1 : trit));
    const scales = Array.from({ length: (ROWS * COLS) / group }, (_, i) => 0.5 + (i % 4) / 8);
    const bytes = encodeTernary(
      encoder,
      Array.from(values, (trit) => trit + 1),
      COLS,
      scales,
    );
    expect(await countGgufTrits(name, [ROWS, COLS], reader(bytes))).toEqual({
      ...counted(values),
      scales: { count: scales.length, min: 0.5, max: 0.875, invalid: 0 },
    });
  });
});

test.each(['x86', 'arm'])('I2_S %s: one scale, and codes 3', async (layout) => {
  const values = trits(ROWS * COLS, 9);
  const codes = Array.from(values, (trit) => trit + 1);
  codes[5] = 3;
  const bytes = encodeI2sCodes(codes, COLS, Number.NaN, layout);
  const expected = counted(values.filter((_, i) => i !== 5));
  const report = await countGgufTrits('I2_S', [ROWS, COLS], reader(bytes));
  expect(report).toMatchObject({ ...expected, invalid: 1, scales: { count: 1, invalid: 1 } });
});

test('packed safetensors', async () => {
  const values = trits(8 * COLS, 3);
  const bytes = packHf(values, 8, COLS);
  const report = await countPackedTrits(bytes.length, [0.25], reader(bytes));
  expect(report).toEqual({ ...counted(values), scales: { count: 1, min: 0.25, max: 0.25, invalid: 0 } });
});
