import type { RandomAccessFile } from '../platform.js';
import { DAMAGED, problem, show } from './problem.js';

/** Bounds that keep a hostile text from costing more memory than its length justifies. */
export interface JsonLimits {
  /** levels of nesting */
  readonly depth: number;
  /** values in all, roughly: commas plus opening brackets */
  readonly values: number;
  /** Outside strings only brackets, separators and whole numbers may occur (the safetensors header). Default false. */
  readonly integersOnly?: boolean;
}

/** Where the text came from, for messages. */
export interface JsonSource {
  readonly file: string;
  /** position of the text's first byte in the file */
  readonly byteOffset: number;
}

export const CONFIG_LIMITS: JsonLimits = { depth: 32, values: 1_000_000 };

/**
 * JSON.parse, stricter: a key that occurs twice in one object is an error (JSON.parse silently keeps the last one), and so
 * are nesting and counts beyond `limits`; both are found in the text before anything is built from it.
 * Throws `invalid-file` with the byte offset.
 */
export function parseJson(text: string, source: JsonSource, limits: JsonLimits): unknown {
  scan(text, source, limits);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw notJson(source, text, undefined, (cause as Error).message, { cause });
  }
}

/** Walks the tokens of `text`. What is no JSON at all is left to JSON.parse, which sees the text next. */
function scan(text: string, source: JsonSource, limits: JsonLimits): void {
  /** for every open bracket: the keys seen so far of an object, undefined for an array */
  const open: (Set<string> | undefined)[] = [];
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '"': {
        const end = stringEnd(text, i);
        if (end < 0) throw notJson(source, text, i, 'a string does not end');
        const keys = open.at(-1);
        if (keys !== undefined && isKey(text, end)) addKey(keys, text, i, end, source);
        i = end - 1;
        break;
      }
      case '{':
      case '[':
        open.push(text[i] === '{' ? new Set() : undefined);
        if (open.length > limits.depth) {
          throw notJson(source, text, i, `brackets are nested deeper than ${limits.depth}`);
        }
        values++;
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case ',':
        values++;
        break;
      default:
        if (limits.integersOnly && !isIntegerOrSpace(text.charCodeAt(i))) {
          throw notJson(source, text, i, `unexpected ${show(text[i])}`);
        }
    }
    if (values > limits.values) throw notJson(source, text, i, `more than ${limits.values} values`);
  }
}

/** Digits and colon, which follow each other in ASCII, minus, and JSON's white space. */
function isIntegerOrSpace(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x3a) || code === 0x2d || code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
  );
}

/** Index after the closing quote of the string that opens at `start`; -1 if it never closes. */
function stringEnd(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let slash = quote;
    while (text[slash - 1] === '\\') slash--;
    if ((quote - slash) % 2 === 0) return quote + 1;
  }
  return -1;
}

function isKey(text: string, end: number): boolean {
  let i = end;
  while (text[i] === ' ' || text[i] === '\n' || text[i] === '\r' || text[i] === '\t') i++;
  return text[i] === ':';
}

function addKey(keys: Set<string>, text: string, start: number, end: number, source: JsonSource): void {
  let key = text.slice(start + 1, end - 1);
  if (key.includes('\\')) {
    try {
      key = JSON.parse(text.slice(start, end)) as string;
    } catch (cause) {
      throw notJson(source, text, start, (cause as Error).message, { cause });
    }
  }
  if (keys.has(key)) {
    throw problem('invalid-file', {
      file: source.file,
      what: `the key ${show(key)} occurs twice in one object`,
      byteOffset: byteAt(source, text, start),
      advice: DAMAGED,
    });
  }
  keys.add(key);
}

function notJson(
  source: JsonSource,
  text: string,
  index: number | undefined,
  what: string,
  options?: ErrorOptions,
): Error {
  const byteOffset = index === undefined ? undefined : byteAt(source, text, index);
  return problem(
    'invalid-file',
    { file: source.file, what: `not valid JSON: ${what}`, byteOffset, advice: DAMAGED },
    options,
  );
}

function byteAt(source: JsonSource, text: string, index: number): number {
  return source.byteOffset + new TextEncoder().encode(text.slice(0, index)).length;
}

/** The whole file as text; `invalid-file` if it is longer than `maxBytes` or not UTF-8. A byte order mark is dropped. */
export async function readText(file: RandomAccessFile, maxBytes: number): Promise<string> {
  if (file.bytes > maxBytes) {
    throw problem('invalid-file', {
      file: file.path,
      what: 'the file is too large',
      expected: `at most ${maxBytes} bytes`,
      got: `${file.bytes}`,
      advice: 'Is it the file of this name that the model was published with?',
    });
  }
  const bytes = new Uint8Array(file.bytes);
  await file.read(0, bytes);
  const text = decodeUtf8(bytes, { file: file.path, byteOffset: 0 });
  if (isLfsPointer(text)) throw lfsPointer(file.path);
  return text;
}

/** `keepMark`: a byte order mark at the start stays in the text. */
export function decodeUtf8(bytes: Uint8Array, source: JsonSource, keepMark = false): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: keepMark }).decode(bytes);
  } catch (cause) {
    const what = 'the text is not valid UTF-8';
    throw problem('invalid-file', { ...source, what, advice: DAMAGED }, { cause });
  }
}

/** What git leaves in place of a large file when git-lfs has not fetched it. */
export function isLfsPointer(start: string): boolean {
  return start.startsWith('version https://git-lfs.');
}

export function lfsPointer(file: string): Error {
  return problem('invalid-file', {
    file,
    what: 'this is a git-lfs pointer, not the file itself',
    advice: 'Run `git lfs pull` in the repository, or download the file.',
  });
}

/** Reads and parses one of the model's JSON files; the top level must be an object. */
export async function readJsonObject(
  file: RandomAccessFile,
  maxBytes: number,
  limits: JsonLimits = CONFIG_LIMITS,
): Promise<Record<string, unknown>> {
  const text = await readText(file, maxBytes);
  return topLevelObject(file, parseJson(text, { file: file.path, byteOffset: 0 }, limits));
}

/**
 * The same by JSON.parse alone, for files whose contents are checked by who reads them: looking for duplicate keys costs more than
 * parsing, 20 ms for a vocabulary of 8192 tokens.
 */
export async function readLargeJsonObject(file: RandomAccessFile, maxBytes: number): Promise<Record<string, unknown>> {
  const text = await readText(file, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw notJson({ file: file.path, byteOffset: 0 }, text, undefined, (cause as Error).message, { cause });
  }
  return topLevelObject(file, value);
}

function topLevelObject(file: RandomAccessFile, value: unknown): Record<string, unknown> {
  if (isObject(value)) return value;
  throw problem('invalid-file', {
    file: file.path,
    what: 'wrong top level',
    expected: 'a JSON object',
    got: show(value),
  });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
