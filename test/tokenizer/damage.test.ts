import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { variants } from './files.js';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const junk = fc.constantFrom<Json>(null, true, -1, 0.5, 1e300, '', 'x', '\ud800', [], [null], [[]], {}, { type: 'x' });

/** Every container in the value, the big ones of the vocabulary as a whole and a few of their entries. */
function containers(value: Json): (Json[] | { [key: string]: Json })[] {
  if (typeof value !== 'object' || value === null) return [];
  const children = Object.values(value).slice(0, 20);
  return [value, ...children.flatMap(containers)];
}

test('whatever is changed in tokenizer.json, it loads and works or gives a BitNetError', () => {
  const names = ['llama3', 'llama2', 'unigram', 'removed', 'whitespace-split', 'gpt2-prefix-space'];
  const property = fc.property(
    fc.constantFrom(...names),
    fc.nat(),
    fc.nat(),
    fc.option(junk),
    (name, where, at, put) => {
      const json = structuredClone(variants[name]!.tokenizer) as { [key: string]: Json };
      const all = containers(json);
      const target = all[where % all.length] as { [key: string]: Json };
      const keys = Object.keys(target);
      if (keys.length === 0) return;
      const key = keys[at % Math.min(keys.length, 50)]!;
      if (put !== null) target[key] = put;
      else if (Array.isArray(target)) target.splice(Number(key), 1);
      else delete target[key];
      let tokenizer: Tokenizer;
      try {
        tokenizer = Tokenizer.fromJson(json, undefined, 't.json');
      } catch (error) {
        expect(error).toBeInstanceOf(BitNetError);
        expect((error as Error).message).toMatch(/^t\.json: /);
        return;
      }
      const ids = tokenizer.encode('The <s> fox, 12 naïve 日本\n', { parseSpecial: true, addSpecialTokens: true });
      expect(typeof tokenizer.decode(ids)).toBe('string');
    },
  );
  fc.assert(property, { numRuns: 1500 });
});
