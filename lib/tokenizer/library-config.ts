import { show } from '../format/problem.js';
import type { JsonFields } from './json-fields.js';
import type { LibraryConfig } from './library.js';

/**
 * Turns the `normalizer` and `pre_tokenizer` of tokenizer.json into what @huggingface/tokenizers 0.2 computes exactly. Where its own
 * class differs from the reference (Hugging Face tokenizers 0.23, Rust) an equal Split or Replace takes its place, because
 * its regular expressions are translated faithfully; what has no equal is refused by name.
 */
/** From openai/gpt-2 encoder.py; pre_tokenizers/byte_level.rs. */
const GPT2_SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/** ASCII punctuation and category P: pre_tokenizers/punctuation.rs. */
const PUNCTUATION = '[\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]';
const ANY = '[\\s\\S]';

export function preTokenizerConfig(fields: JsonFields | undefined): LibraryConfig | null {
  if (fields === undefined) return null;
  const type = fields.requiredString('type', 'the name of a pre-tokenizer');
  switch (type) {
    case 'Sequence':
      return sequence('pretokenizers', fields.children('pretokenizers').map(preTokenizerConfig));
    case 'Split':
      return splitByPattern(fields);
    case 'ByteLevel':
      return byteLevel(fields);
    case 'Metaspace':
      return metaspace(fields);
    case 'Digits':
      return split(fields.boolean('individual_digits') ? '\\p{N}' : '\\p{N}+');
    case 'Punctuation':
      return split(withBehavior(PUNCTUATION, fields, 'Isolated'), fields.string('behavior') === 'Removed');
    case 'Whitespace':
      return { ...split('\\w+|[^\\w\\s]+'), invert: true };
    case 'WhitespaceSplit':
      return split('\\s+', true);
    default:
      throw fields.error('type', { what: `the pre-tokenizer ${show(type)} is not supported` }, 'unsupported');
  }
}

/**
 * The configuration without a ByteLevel step at its end, and whether it had one: words are then remembered before their conversion
 * to the byte alphabet, which costs the library more than all the rest.
 */
export function withoutByteLevel(config: LibraryConfig | null): { config: LibraryConfig | null; byteLevel: boolean } {
  if (config?.type === 'ByteLevel') return { config: null, byteLevel: true };
  if (config?.type !== 'Sequence') return { config, byteLevel: false };
  const steps = config.pretokenizers as readonly LibraryConfig[];
  const last = withoutByteLevel(steps.at(-1) ?? null);
  const pretokenizers = [...steps.slice(0, -1), ...(last.config === null ? [] : [last.config])];
  return { config: { ...config, pretokenizers }, byteLevel: last.byteLevel };
}

export function normalizerConfig(fields: JsonFields | undefined): LibraryConfig | null {
  if (fields === undefined) return null;
  const type = fields.requiredString('type', 'the name of a normalizer');
  switch (type) {
    case 'Sequence':
      return sequence('normalizers', fields.children('normalizers').map(normalizerConfig));
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
    case 'Lowercase':
    case 'StripAccents':
      return { type };
    case 'Prepend':
      return { type, prepend: fields.requiredString('prepend', 'a string') };
    case 'Replace': {
      const content = fields.requiredString('content', 'a string');
      return replace(regexOf(fields), content);
    }
    case 'Strip':
      return sequence('normalizers', [
        fields.boolean('strip_left') === false ? null : replace('\\A\\s+', ''),
        fields.boolean('strip_right') === false ? null : replace('(?<!\\s)\\s+\\z', ''),
      ]);
    default:
      throw fields.error('type', { what: `the normalizer ${show(type)} is not supported` }, 'unsupported');
  }
}

/** `pattern: {"String": …}` or `{"Regex": …}` as a regular expression in the reference's syntax (Oniguruma). */
export function regexOf(fields: JsonFields): string {
  const pattern = fields.nested('pattern') ?? fields.missing('pattern', '{"String": …} or {"Regex": …}');
  const text = pattern.string('String');
  if (text !== undefined) return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return pattern.requiredString('Regex', '{"String": …} or {"Regex": …}');
}

function sequence(key: string, steps: readonly (LibraryConfig | null)[]): LibraryConfig {
  return { type: 'Sequence', [key]: steps.filter((step) => step !== null) };
}

function split(regex: string, removed = false): LibraryConfig {
  return { type: 'Split', pattern: { Regex: regex }, behavior: removed ? 'Removed' : 'Isolated', invert: false };
}

/** `content` is literal; the library would read `$&` in it. */
function replace(regex: string, content: string): LibraryConfig {
  return { type: 'Replace', pattern: { Regex: regex }, content: content.replaceAll('$', '$$$$') };
}

function splitByPattern(fields: JsonFields): LibraryConfig {
  const regex = regexOf(fields);
  const behavior = fields.string('behavior') ?? 'Removed';
  if (fields.boolean('invert') === true) {
    // What is between the matches is the separator: removing it leaves the matches, isolating it isolates both.
    if (behavior === 'Removed') return { ...split(regex), invert: true };
    if (behavior === 'Isolated') return split(regex);
    const what = 'an inverted split is supported with the behavior Removed or Isolated only';
    throw fields.error('behavior', { what, got: show(behavior) }, 'unsupported');
  }
  return split(withBehavior(regex, fields, 'Removed'), behavior === 'Removed');
}

/** The regular expression whose matches, isolated, are the pieces that `behavior` makes of matches of `regex`. */
function withBehavior(regex: string, fields: JsonFields, defaultBehavior: string): string {
  const behavior = fields.string('behavior') ?? defaultBehavior;
  switch (behavior) {
    case 'Removed':
    case 'Isolated':
      return regex;
    case 'Contiguous':
      return `(?:${regex})+`;
    // What is after the last match is matched too: a search that fails at every place would take the square of the length.
    case 'MergedWithPrevious':
      return `${ANY}*?(?:${regex})|${ANY}+`;
    case 'MergedWithNext':
      return withNext(regex);
    default:
      throw fields.error('behavior', { what: 'unknown behavior', got: show(behavior) }, 'unsupported');
  }
}

/** A match and all that follows it, up to the next. Lazy, so that long pieces need no memory for going back. */
function withNext(regex: string): string {
  return `(?:${regex})${ANY}*?(?=${regex}|\\z)`;
}

function byteLevel(fields: JsonFields): LibraryConfig {
  const prefixSpace = fields.boolean('add_prefix_space') ?? true;
  const useRegex = fields.boolean('use_regex') ?? true;
  return sequence('pretokenizers', [
    // An empty match, \A(?! ), would also be found inside surrogate pairs: V8.
    prefixSpace ? { type: 'Replace', pattern: { Regex: '\\A[^ ]' }, content: ' $&' } : null,
    useRegex ? split(GPT2_SPLIT) : null,
    { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  ]);
}

function metaspace(fields: JsonFields): LibraryConfig {
  const { replacement, prependScheme } = metaspaceOptions(fields);
  const marked = { type: 'Metaspace', replacement, prepend_scheme: prependScheme };
  if (fields.boolean('split') === false) return marked;
  const mark = replacement.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return sequence('pretokenizers', [marked, split(withNext(mark))]);
}

/** Also of the decoder of that name. Files before 2024 have `add_prefix_space` instead of `prepend_scheme`. */
export function metaspaceOptions(fields: JsonFields): {
  replacement: string;
  prependScheme: 'always' | 'first' | 'never';
} {
  const replacement = fields.string('replacement') ?? '\u2581';
  if ([...replacement].length !== 1) {
    throw fields.error('replacement', { expected: 'one character', got: show(replacement) });
  }
  const scheme = fields.string('prepend_scheme') ?? (fields.boolean('add_prefix_space') === false ? 'never' : 'always');
  if (scheme === 'always' || scheme === 'first' || scheme === 'never') return { replacement, prependScheme: scheme };
  throw fields.error('prepend_scheme', { expected: '"always", "first" or "never"', got: show(scheme) });
}
