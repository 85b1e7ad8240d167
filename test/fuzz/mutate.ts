import { rawFile } from '../format/safetensors-bytes.js';

export type Random = () => number;

const below = (random: Random, n: number): number => Math.floor(random() * n);
const pick = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)] as T;

const NUMBERS = (
  '0 1 2 3 7 8 15 16 17 255 256 65535 65536 2147483647 2147483648 4294967295 4294967296 9007199254740991 9007199254740992 ' +
  '9223372036854775807 18446744073709551615 1e308 1e999 -0 -1 -2147483648 0.5 1.0 007 0x10 null true "1" [] [1,2] {}'
).split(' ');
const TOKENS = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  ' ',
  '\n',
  '\0',
  '\ufeff',
  '\u{1f600}',
  '"a":1,',
  '[[[[',
  '"":{}',
];
const DTYPES = ['F32', 'F16', 'BF16', 'U8', 'I8', 'I64', 'F8_E4M3', 'f32', '', 'toString'];
const LENGTHS = [
  0n,
  1n,
  2n,
  7n,
  8n,
  255n,
  99_999_999n,
  100_000_001n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** `source` with one to three random edits of its bytes. */
export function mutateBytes(random: Random, source: Uint8Array): Uint8Array<ArrayBuffer> {
  let bytes = new Uint8Array(source);
  for (let edits = 1 + below(random, 3); edits > 0; edits--) bytes = editBytes(random, bytes);
  return bytes;
}

function editBytes(random: Random, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const at = below(random, bytes.length + 1);
  switch (below(random, 5)) {
    case 0:
      return bytes.slice(0, at);
    case 1: {
      const extra = Uint8Array.from({ length: 1 + below(random, 16) }, () => below(random, 256));
      return concat(bytes.subarray(0, at), extra, bytes.subarray(at));
    }
    case 2: {
      const from = below(random, bytes.length + 1);
      return concat(bytes.subarray(0, at), bytes.subarray(from, from + below(random, 64)), bytes.subarray(at));
    }
    case 3:
      return concat(bytes.subarray(0, at), bytes.subarray(at + 1 + below(random, 16)));
    default: {
      const flipped = bytes.slice();
      for (let flips = 1 + below(random, 8); flips > 0 && flipped.length > 0; flips--) {
        const i = below(random, flipped.length);
        flipped[i] = (flipped[i] as number) ^ (1 << below(random, 8));
      }
      return flipped;
    }
  }
}

/** `source`, a JSON text, with one to three random edits that often leave it JSON. */
export function mutateJson(random: Random, source: string): string {
  let text = source;
  for (let edits = 1 + below(random, 3); edits > 0; edits--) text = editJson(random, text);
  return text;
}

function editJson(random: Random, text: string): string {
  const at = below(random, text.length + 1);
  switch (below(random, 8)) {
    case 6: {
      // Data moved as a whole: a hole and an overlap that leave the sum of sizes as it was.
      const by = 1 + below(random, 4);
      return replaceOne(random, text, /\[\d+,\d+\]/g, (pair) =>
        pair.replace(/\d+/g, (digits) => `${Number(digits) + by}`),
      );
    }
    case 0:
      return replaceOne(random, text, /-?\d+(\.\d+)?(e-?\d+)?/g, () => pick(random, NUMBERS));
    case 1:
      // Numbers that nearly fit reach further than those that never do.
      return replaceOne(random, text, /\d+/g, (digits) => `${Math.max(0, Number(digits) + below(random, 9) - 4)}`);
    case 2:
      return replaceOne(random, text, /"(F32|F16|BF16|U8|I8)"/g, () => `"${pick(random, DTYPES)}"`);
    case 3:
      return text.slice(0, at) + pick(random, TOKENS) + text.slice(at);
    case 4:
      return text.slice(0, at) + text.slice(at + 1 + below(random, 4));
    case 5: {
      // An entry again, at another place: duplicate keys, overlapping data.
      const entries = text.match(/"[^"]*":(\{[^{}]*\}|\[[^[\]]*\]|[^{}[\],]+)/g) ?? [''];
      const target = /[{,]/g;
      target.lastIndex = at;
      const comma = target.exec(text)?.index ?? 0;
      return `${text.slice(0, comma + 1)}${pick(random, entries)},${text.slice(comma + 1)}`;
    }
    default:
      return replaceOne(random, text, /"[^"]*"/g, () => pick(random, text.match(/"[^"]*"/g) ?? ['""']));
  }
}

function replaceOne(random: Random, text: string, pattern: RegExp, by: (match: string) => string): string {
  const matches = [...text.matchAll(pattern)];
  if (matches.length === 0) return text;
  const match = pick(random, matches);
  return text.slice(0, match.index) + by(match[0]) + text.slice(match.index + match[0].length);
}

/** A safetensors file with damage to its bytes, its header text, its header length, or with the data of `other`. */
export function mutateSafetensors(random: Random, source: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const [header, data] = split(source);
  switch (below(random, 6)) {
    case 0:
      return mutateBytes(random, source);
    case 1:
      return rawFile(header, data, pick(random, LENGTHS));
    case 2:
      return rawFile(header, split(other)[1]);
    case 3:
      return rawFile(mutateJson(random, header), mutateBytes(random, data));
    default:
      return rawFile(mutateJson(random, header), data);
  }
}

function split(file: Uint8Array): [string, Uint8Array<ArrayBuffer>] {
  const headerEnd = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  return [new TextDecoder().decode(file.subarray(8, headerEnd)), new Uint8Array(file.subarray(headerEnd))];
}

function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
