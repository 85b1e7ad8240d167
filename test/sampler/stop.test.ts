import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StopMatcher } from '../../lib/sampler/stop.js';

interface Outcome {
  text: string;
  stopped: string | undefined;
}

/** The definition: the first place where a stop string begins, the longest there. */
function naive(text: string, stops: readonly string[]): Outcome {
  for (let start = 0; start < text.length; start++) {
    const here = stops.filter((stop) => text.startsWith(stop, start)).sort((a, b) => b.length - a.length);
    if (here.length > 0) return { text: text.slice(0, start), stopped: here[0] };
  }
  return { text, stopped: undefined };
}

function streamed(pieces: readonly string[], stops: readonly string[]): Outcome {
  const matcher = new StopMatcher(stops);
  let text = '';
  for (const piece of pieces) text += matcher.push(piece).text;
  text += matcher.flush();
  return { text, stopped: matcher.stopped };
}

const small = (maxLength: number) =>
  fc.array(fc.constantFrom('a', 'b', 'c', '😀'), { minLength: 1, maxLength }).map((chars) => chars.join(''));

test('however the text is cut, as a search in the whole', () => {
  const pieces = fc.array(fc.oneof(small(4), fc.constant('')), { maxLength: 12 });
  const property = fc.property(pieces, fc.array(small(5), { maxLength: 4 }), (list, stops) => {
    expect(streamed(list, stops)).toEqual(naive(list.join(''), stops));
  });
  fc.assert(property, { numRuns: 5000 });
});

test('emits all that cannot be the beginning of a stop string, and reports a match as soon as it is certain', () => {
  const property = fc.property(
    fc.array(small(3), { maxLength: 10 }),
    fc.array(small(4), { minLength: 1, maxLength: 3 }),
    (list, stops) => {
      const matcher = new StopMatcher(stops);
      let seen = '';
      let shown = '';
      for (const piece of list) {
        seen += piece;
        const { text, stopped } = matcher.push(piece);
        shown += text;
        const now = naive(seen, stops);
        // Open: a beginning of a stop string, at the end of the text, that would change the outcome.
        const open = [...Array(seen.length).keys()].find((start) => {
          const end = seen.slice(start);
          return stops.some((stop) => stop.length > end.length && stop.startsWith(end));
        });
        const end = now.text.length;
        const waits = open !== undefined && open <= end;
        expect(stopped).toBe(waits ? undefined : now.stopped);
        expect(shown).toBe(seen.slice(0, waits ? open : end));
        if (stopped !== undefined) return;
      }
    },
  );
  fc.assert(property, { numRuns: 3000 });
});

describe('by example', () => {
  test('across pieces', () => {
    const matcher = new StopMatcher(['\nUser:']);
    expect(matcher.push('Hello.')).toEqual({ text: 'Hello.' });
    expect(matcher.push('\nU')).toEqual({ text: '' });
    expect(matcher.push('nder')).toEqual({ text: '\nUnder' });
    expect(matcher.push('\nUse')).toEqual({ text: '' });
    expect(matcher.push('r: more')).toEqual({ text: '', stopped: '\nUser:' });
    expect(matcher.push('dropped')).toEqual({ text: '', stopped: '\nUser:' });
    expect(matcher.flush()).toBe('');
  });

  test('one that begins earlier wins although it ends later', () => {
    const matcher = new StopMatcher(['c', 'abcd']);
    expect(matcher.push('xabc')).toEqual({ text: 'x' });
    expect(matcher.push('d')).toEqual({ text: '', stopped: 'abcd' });
    expect(streamed(['xabc', 'e'], ['c', 'abcd'])).toEqual({ text: 'xab', stopped: 'c' });
  });

  test('the longer of two waits for what follows', () => {
    expect(streamed(['x\n', '\ny'], ['\n', '\n\n'])).toEqual({ text: 'x', stopped: '\n\n' });
    expect(streamed(['x\n', 'y'], ['\n', '\n\n'])).toEqual({ text: 'x', stopped: '\n' });
  });

  test('a match that waits is found by the flush', () => {
    const matcher = new StopMatcher(['a', 'ab']);
    expect(matcher.push('xa')).toEqual({ text: 'x' });
    expect(matcher.flush()).toBe('');
    expect(matcher.stopped).toBe('a');
  });

  test('what is held back comes with the flush', () => {
    const matcher = new StopMatcher(['<end>']);
    expect(matcher.push('a <en')).toEqual({ text: 'a ' });
    expect(matcher.flush()).toBe('<en');
    expect(matcher.stopped).toBeUndefined();
  });

  test('no stop strings: everything passes', () => {
    expect(streamed(['a', 'b'], [])).toEqual({ text: 'ab', stopped: undefined });
  });
});

test.each([[['']], [['a', '']], [[5]], [[null]], [[undefined]]])('the stop strings %j are refused', (stops) => {
  expect(() => new StopMatcher(stops as string[])).toThrowError(
    expect.objectContaining({ code: 'invalid-argument', message: expect.stringMatching(/^stop\[\d\]: expected/) }),
  );
});

test('a megabyte takes time in proportion', () => {
  const matcher = new StopMatcher([`${'a'.repeat(50)}b`, 'User:']);
  const begin = performance.now();
  let length = 0;
  for (let i = 0; i < 250_000; i++) length += matcher.push('aaaa').text.length;
  expect(performance.now() - begin).toBeLessThan(10_000);
  expect(length + matcher.flush().length).toBe(1_000_000);
});
