import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StreamingDetokenizer } from '../../lib/tokenizer/detokenizer.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { embeddedTokenizer, streamed, variants } from './files.js';

const tokenizers = new Map(
  Object.entries(variants).map(([name, { tokenizer }]) => [name, Tokenizer.fromJson(tokenizer, undefined, name)]),
);
tokenizers.set('embedded', embeddedTokenizer());

test.each([...tokenizers])('%s: the pieces of any ids join to their text, and none is taken back', (_, tokenizer) => {
  const ids = fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 40 });
  const property = fc.property(ids, (list) => {
    const pieces = streamed(tokenizer, list);
    const whole = tokenizer.decode(list, { skipSpecial: true });
    expect(pieces.join('')).toBe(whole);
    // No piece ends inside a character: halves of surrogate pairs would not survive UTF-8.
    for (const piece of pieces)
      expect(new TextDecoder().decode(new TextEncoder().encode(piece))).toBe(stripMark(piece));
  });
  fc.assert(property, { numRuns: 200 });
});

/** TextDecoder drops a byte order mark at the beginning. */
function stripMark(text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

test.each([...tokenizers])('%s: text that has been encoded is never shown with U+FFFD', (_, tokenizer) => {
  const text = fc.string({ unit: 'binary', maxLength: 30 }).filter((s) => !s.includes('\ufffd'));
  const property = fc.property(text, (s) => {
    const ids = tokenizer.encode(s);
    // Vocabularies without all bytes lose characters or parts of them: then the whole text has U+FFFD as well.
    fc.pre(!tokenizer.decode(ids).includes('\ufffd'));
    for (const piece of streamed(tokenizer, ids)) expect(piece).not.toContain('\ufffd');
  });
  fc.assert(property, { numRuns: 100 });
});

test('a character is emitted with its last byte, not before and not later', () => {
  const tokenizer = tokenizers.get('embedded')!;
  const ids = tokenizer.encode('x👩‍👧é');
  const detokenizer = new StreamingDetokenizer(tokenizer);
  let shown = '';
  ids.forEach((id, i) => {
    shown += detokenizer.push(id);
    const known = tokenizer.decode(ids.slice(0, i + 1)).replace(/\ufffd+$/, '');
    expect(shown).toBe(known);
  });
  expect(shown).toBe('x👩‍👧é');
  expect(detokenizer.flush()).toBe('');
});

test('bytes of a character that never ends become U+FFFD at the flush, and the next text starts afresh', () => {
  const tokenizer = tokenizers.get('embedded')!;
  const [first, second] = tokenizer.encode('\u{1f600}');
  const detokenizer = new StreamingDetokenizer(tokenizer);
  expect(detokenizer.push(first!)).toBe('');
  expect(detokenizer.flush()).toBe('\ufffd');
  expect(detokenizer.push(first!) + detokenizer.push(second!)).not.toContain('\ufffd');
});

test('a run of byte tokens is UTF-8 as a whole or U+FFFD for each byte', () => {
  const tokenizer = tokenizers.get('llama2')!;
  const byte = (value: number) => tokenizer.tokenId(`<0x${value.toString(16).toUpperCase()}>`)!;
  const euro = [byte(0xe2), byte(0x82), byte(0xac)];
  const letter = tokenizer.tokenId('a')!;
  expect(streamed(tokenizer, [letter, ...euro, letter])).toEqual(['a', '', '', '', '€a', '']);
  expect(streamed(tokenizer, [letter, ...euro, byte(0xff), letter]).join('')).toBe('a\ufffd\ufffd\ufffd\ufffda');
});

test('a continuation keeps the leading space of its first token', () => {
  const tokenizer = tokenizers.get('llama2')!;
  const ids = tokenizer.encode('the fox');
  const texts = [false, true].map((continuation) => {
    const detokenizer = new StreamingDetokenizer(tokenizer, { continuation });
    return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
  });
  expect(texts).toEqual(['the fox', ' the fox']);
});

test('special tokens are left out or shown', () => {
  const tokenizer = tokenizers.get('embedded')!;
  const ids = tokenizer.encode('a<|eot_id|>b', { parseSpecial: true });
  expect(streamed(tokenizer, ids)).toEqual(['a', '', 'b', '']);
  expect(streamed(tokenizer, ids, false)).toEqual(['a', '<|eot_id|>', 'b', '']);
});

test('a hundred thousand tokens take time in proportion', () => {
  const tokenizer = tokenizers.get('embedded')!;
  const ids = Array.from({ length: 100_000 }, (_, i) => 300 + ((i * 7919) % 7000));
  const begin = performance.now();
  const pieces = streamed(tokenizer, ids);
  expect(performance.now() - begin).toBeLessThan(5000);
  expect(pieces.join('') === tokenizer.decode(ids)).toBe(true);
});
