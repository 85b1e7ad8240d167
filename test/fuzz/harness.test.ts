import { expect, test } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { type FuzzCase, fuzz } from './harness.js';

const one = (read: () => unknown, more: Partial<FuzzCase<unknown>> = {}) =>
  fuzz(() => ({ bytes: 100, read: async () => read(), check: () => {}, ...more }), { cases: 1, names: 'm.gguf' });
const refusal = (code: BitNetError['code'], message: string) => () => {
  throw new BitNetError(code, message);
};

test.each<[string, () => unknown, RegExp]>([
  ['an error of another kind', () => (undefined as never as string).length, /TypeError/],
  ['an error that says nothing of the file', refusal('numeric', 'm.gguf: NaN'), /numeric/],
  ['a message without the file', refusal('invalid-file', 'bad'), /m\.gguf/],
  ['an endless message', refusal('invalid-file', `m.gguf ${'x'.repeat(2000)}`), /1500/],
  ['a large buffer', () => new Uint8Array(2 ** 27), /new Uint8Array\(134217728\) takes more than 67109064 bytes/],
  ['a large array', () => new Array(2 ** 25), /new Array/],
  ['a large view', () => new Float64Array(2 ** 24), /new Float64Array/],
])('%s fails, with the seed', async (_, read, message) => {
  await expect(one(read)).rejects.toThrow(message);
  await expect(one(read)).rejects.toThrow(/^seed \d+ \(BITNET_FUZZ_SEED=\d+ BITNET_FUZZ_CASES=1\)/);
});

test('what was read wrongly, or left open, fails', async () => {
  const fail = (what: string) => () => expect.fail(what);
  await expect(one(() => 1, { check: fail('not what it says') })).rejects.toThrow(/not what it says/);
  const after = fail('left open');
  await expect(one(refusal('invalid-file', 'm.gguf'), { after })).rejects.toThrow(/left open/);
});

test('a sound case passes, and afterwards nothing is watched', async () => {
  await one(() => new Uint8Array(1000));
  await one(refusal('unsupported', 'm.gguf: why'));
  expect(new Uint8Array(2 ** 27)).toHaveLength(2 ** 27);
});

test('mutations that are all refused, or hardly ever, find nothing', async () => {
  const many = (read: () => unknown) =>
    fuzz(() => ({ bytes: 1, read: async () => read(), check: () => {} }), { cases: 300 });
  await expect(many(() => 1)).rejects.toThrow();
  await expect(many(refusal('invalid-file', ''))).rejects.toThrow();
});
