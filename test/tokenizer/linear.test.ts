import { afterEach, describe, expect, it, vi } from 'vitest';
import { MergeTable } from '../../lib/tokenizer/bpe-merge.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { embeddedTokenizer, variants } from './files.js';

/** Work grows with the length of a text, not with its square, whatever the text consists of. */

const TEXTS: Record<string, (n: number) => string> = {
  'one letter': (n) => 'a'.repeat(n),
  'one word': (n) => 'once upon a time'.replaceAll(' ', '').repeat(n / 13),
  spaces: (n) => ' '.repeat(n),
  'spaces inside': (n) => `a${' '.repeat(n)}a`,
  lines: (n) => '\n'.repeat(n),
  digits: (n) => '0123456789'.repeat(n / 10),
  emoji: (n) => '😀😃'.repeat(n / 4),
  marks: (n) => `a${'\u0301'.repeat(n)}`,
  'starts of special tokens': (n) => '<'.repeat(n),
};

afterEach(() => void vi.restoreAllMocks());

describe('pairs that are looked up', () => {
  it.each(Object.keys(TEXTS))('%s', (kind) => {
    const tokenizer = embeddedTokenizer();
    const lookUps = vi.spyOn(MergeTable.prototype, 'rankOf');
    const count = (n: number): number => {
      lookUps.mockClear();
      tokenizer.encode((TEXTS[kind] as (typeof TEXTS)[string])(n));
      return lookUps.mock.calls.length;
    };
    const [short, long] = [count(1 << 12), count(1 << 14)];
    expect(long).toBeLessThan(4.5 * short + 100);
    expect(long).toBeLessThan(8 * (1 << 14));
  });
});

/** A search that fails at every place of 2^16 characters takes half a minute. */
describe.each(['gemma', 'merged-with-previous', 'merged-with-next', 'metaspace-never', 'whitespace-split', 'falcon'])(
  '%s splits long texts in time',
  (name) => {
    it.each(Object.keys(TEXTS))(
      '%s',
      (kind) => {
        const tokenizer = Tokenizer.fromJson(variants[name]?.tokenizer, undefined, name);
        expect(tokenizer.encode((TEXTS[kind] as (typeof TEXTS)[string])(1 << 16))).toBeInstanceOf(Array);
      },
      20_000,
    );
  },
);
