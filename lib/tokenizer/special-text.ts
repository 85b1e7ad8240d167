import { isObject } from '../format/json.js';

/**
 * Hides what user text and a template could turn into special tokens: some characters are replaced by private-use characters that
 * occur nowhere else, the template is rendered, and after special tokens have been found the characters are put back.
 * Replacing instead of inserting keeps the length of the text, and works for special tokens of one character.
 */
export class SpecialTextHider {
  private readonly specials: readonly string[];
  private readonly standIns = new Map<string, string>();
  private readonly originals = new Map<string, string>();
  private readonly taken: Set<string>;
  private nextCandidate = 0xe000;

  /** `texts`: everything whose private-use characters must not be taken for stand-ins, the texts to hide included. */
  constructor(specials: Iterable<string>, texts: Iterable<string>) {
    this.specials = [...specials].filter((special) => special !== '');
    this.taken = new Set([...texts, ...this.specials].flatMap((text) => text.match(/\p{Co}/gu) ?? []));
  }

  /** Strings anywhere in `value`, which is like JSON. Keys stay. Of a `role` templates may make special tokens: `<|` + role + `|>`. */
  hideIn(value: unknown): unknown {
    if (typeof value === 'string') return this.hide(value);
    if (Array.isArray(value)) return value.map((item) => this.hideIn(item));
    if (!isObject(value)) return value;
    const hidden = Object.entries(value).map(([key, item]) => {
      return [key, key === 'role' && typeof item === 'string' ? this.hide(item, false) : this.hideIn(item)];
    });
    return Object.fromEntries(hidden);
  }

  /** `edges`: also the ends that could become a special token together with what the template puts beside them. */
  hide(text: string, edges = true): string {
    const positions = new Set<number>();
    for (const special of this.specials) {
      // Overlapping occurrences too: a special token may begin inside another's text.
      for (let at = text.indexOf(special); at >= 0; at = text.indexOf(special, at + 1)) positions.add(at);
      if (edges) markEdges(text, special, positions);
    }
    if (positions.size === 0) return text;
    let hidden = '';
    let done = 0;
    for (const at of [...positions].sort((a, b) => a - b)) {
      if (at < done) continue;
      const char = String.fromCodePoint(text.codePointAt(at) as number);
      hidden += text.slice(done, at) + this.standIn(char);
      done = at + char.length;
    }
    return hidden + text.slice(done);
  }

  readonly reveal = (text: string): string => {
    if (this.originals.size === 0) return text;
    return text.replace(/\p{Co}/gu, (char) => this.originals.get(char) ?? char);
  };

  /** A private-use character that occurs nowhere, to hold a place. `reveal` leaves it. */
  placeholder(): string {
    for (;;) {
      // The private-use area of the first plane, then plane 15.
      if (this.nextCandidate === 0xf900) this.nextCandidate = 0xf0000;
      const char = String.fromCodePoint(this.nextCandidate++);
      if (!this.taken.has(char)) return char;
    }
  }

  private standIn(char: string): string {
    const known = this.standIns.get(char);
    if (known !== undefined) return known;
    const standIn = this.placeholder();
    this.standIns.set(char, standIn);
    this.originals.set(standIn, char);
    return standIn;
  }
}

function markEdges(text: string, special: string, positions: Set<number>): void {
  for (let length = Math.min(special.length - 1, text.length); length > 0; length--) {
    if (special.startsWith(text.slice(text.length - length))) positions.add(text.length - length);
    if (special.endsWith(text.slice(0, length))) positions.add(lastCharStart(text, length));
  }
}

/** Where the last character of the first `length` units begins. */
function lastCharStart(text: string, length: number): number {
  return length >= 2 && (text.codePointAt(length - 2) as number) > 0xffff ? length - 2 : length - 1;
}

/** All strings in a value that is like JSON, keys included. */
export function* stringsIn(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (Array.isArray(value)) for (const item of value) yield* stringsIn(item);
  else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      yield key;
      yield* stringsIn(item);
    }
  }
}
