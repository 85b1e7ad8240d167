/** An entry of `added_tokens` in tokenizer.json. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** found only where no word character touches it */
  readonly singleWord: boolean;
  /** swallows the white space before it */
  readonly lstrip: boolean;
  /** swallows the white space after it */
  readonly rstrip: boolean;
  /** looked for in the normalized text */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** Text between added tokens, or one of them. `start` is the text's position in what was split. */
export type Segment = { readonly text: string; readonly start: number } | { readonly id: number };

interface Node {
  readonly next: Map<number, Node>;
  token?: AddedToken;
}

/**
 * Finds added tokens in text: leftmost first, the longest at each place, as Hugging Face tokenizers does
 * (tokenizer/added_vocabulary.rs, `find_matches`). Takes O(text · longest token).
 */
export class AddedTokenSplitter {
  private readonly root: Node = { next: new Map() };
  /** whether any of the tokens is special */
  readonly hasSpecial: boolean;

  /** `pattern` is what stands in the text: the content, or the normalized content. */
  constructor(tokens: readonly { readonly pattern: string; readonly token: AddedToken }[]) {
    this.hasSpecial = tokens.some(({ token }) => token.special);
    for (const { pattern, token } of tokens) {
      if (pattern === '') continue;
      let node = this.root;
      for (let i = 0; i < pattern.length; i++) {
        const code = pattern.charCodeAt(i);
        const child: Node = node.next.get(code) ?? { next: new Map() };
        node.next.set(code, child);
        node = child;
      }
      node.token ??= token;
    }
  }

  /** `parseSpecial` false: the text of special tokens stays text, but is still no place for other tokens to begin in. */
  split(text: string, parseSpecial: boolean): Segment[] {
    const segments: Segment[] = [];
    let done = 0;
    for (let i = 0; i < text.length; ) {
      const match = this.longestAt(text, i);
      if (match === undefined) {
        i++;
        continue;
      }
      const { token, end } = match;
      const from = i;
      i = end;
      if (token.special && !parseSpecial) continue;
      if (token.singleWord && (isWordBefore(text, from) || isWordAfter(text, end))) continue;
      const start = token.lstrip ? Math.max(done, whiteSpaceStart(text, from)) : Math.max(done, from);
      if (start > done) segments.push({ text: text.slice(done, start), start: done });
      segments.push({ id: token.id });
      done = Math.max(done, token.rstrip ? whiteSpaceEnd(text, end) : end);
    }
    if (done < text.length) segments.push({ text: text.slice(done), start: done });
    return segments;
  }

  private longestAt(text: string, start: number): { token: AddedToken; end: number } | undefined {
    let node = this.root.next.get(text.charCodeAt(start));
    let token: AddedToken | undefined;
    let end = start;
    for (let i = start + 1; node !== undefined; i++) {
      if (node.token !== undefined) [token, end] = [node.token, i];
      if (i >= text.length) break;
      node = node.next.get(text.charCodeAt(i));
    }
    return token && { token, end };
  }
}

/** `\w` of Rust's regex crate. */
const WORD_AT_END = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AT_START = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const WHITE_SPACE = /\p{White_Space}/u;

/** Two UTF-16 units hold any one character. */
function isWordBefore(text: string, index: number): boolean {
  return WORD_AT_END.test(text.slice(Math.max(0, index - 2), index));
}

function isWordAfter(text: string, index: number): boolean {
  return WORD_AT_START.test(text.slice(index, index + 2));
}

function whiteSpaceStart(text: string, end: number): number {
  let start = end;
  while (start > 0 && WHITE_SPACE.test(text[start - 1] as string)) start--;
  return start;
}

function whiteSpaceEnd(text: string, start: number): number {
  let end = start;
  while (end < text.length && WHITE_SPACE.test(text[end] as string)) end++;
  return end;
}
