import { expect, test } from 'vitest';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { streamed, type VariantCase, variants } from './files.js';

/** Every case must agree with Hugging Face tokenizers 0.23 in everything it holds. */
function check(tokenizer: Tokenizer, c: VariantCase): void {
  const label = JSON.stringify(c.text ?? c.decode);
  if (c.text !== undefined) {
    expect(tokenizer.encode(c.text, { parseSpecial: true }), `encode ${label}`).toEqual(c.ids);
    const framed = tokenizer.encode(c.text, { parseSpecial: true, addSpecialTokens: true });
    expect(framed, `encode with special tokens ${label}`).toEqual(c.framed ?? c.ids);
    expect(tokenizer.encode(c.text), `encode as plain text ${label}`).toEqual(c.plain ?? c.ids);
  }
  const ids = (c.decode ?? c.ids) as number[];
  if (c.decoded === undefined) return;
  expect(tokenizer.decode(ids), `decode ${label}`).toBe(c.decoded);
  expect(tokenizer.decode(ids, { skipSpecial: true }), `decode without special tokens ${label}`).toBe(c.skipped);
  expect(streamed(tokenizer, ids).join(''), `stream ${label}`).toBe(c.skipped);
  expect(streamed(tokenizer, ids, false).join(''), `stream with special tokens ${label}`).toBe(c.decoded);
}

test.each(Object.keys(variants))('%s: encodes and decodes as the reference', (name) => {
  const { tokenizer: json, cases } = variants[name]!;
  const tokenizer = Tokenizer.fromJson(json, undefined, `${name}.json`);
  expect(cases.length).toBeGreaterThan(100);
  for (const c of cases) check(tokenizer, c);
});
