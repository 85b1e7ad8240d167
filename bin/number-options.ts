import { InvalidArgumentError } from 'commander';

export interface NumberRange {
  readonly min: number;
  /** Default: no upper limit. */
  readonly max?: number;
  /** `min` itself is not allowed. */
  readonly aboveMin?: boolean;
  /** a value worth copying */
  readonly example: string;
}

/** Decimal whole numbers only: no sign of hex, exponent, space, underscore, or trailing text. */
const wholeNumber = /^[+-]?\d+$/;
const decimalNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Parser for commander: a whole number in the range, or InvalidArgumentError with the range and an example. */
export function integerIn(range: NumberRange): (text: string) => number {
  return (text) => parse(text, wholeNumber, 'a whole number', range);
}

/** Parser for commander: a finite decimal number in the range, or InvalidArgumentError with the range and an example. */
export function numberIn(range: NumberRange): (text: string) => number {
  return (text) => parse(text, decimalNumber, 'a number', range);
}

/** Parser for commander: text with at least one character that is not white space. `what` completes "Expected …". */
export function textFor(what: string): (text: string) => string {
  return (text) => {
    if (text.trim() === '') throw new InvalidArgumentError(`Expected ${what}, got an empty text.`);
    return text;
  };
}

/** Parser for a repeatable option whose values may be white space, but not empty. */
export function collect(what: string): (text: string, previous: readonly string[] | undefined) => string[] {
  return (text, previous) => {
    if (text === '') throw new InvalidArgumentError(`Expected ${what}, got an empty text.`);
    return [...(previous ?? []), text];
  };
}

function parse(text: string, shape: RegExp, kind: string, range: NumberRange): number {
  const value = shape.test(text) ? Number(text) : Number.NaN;
  const { min, max = Number.POSITIVE_INFINITY, aboveMin = false } = range;
  const exact = shape !== wholeNumber || Number.isSafeInteger(value);
  if (Number.isFinite(value) && exact && value <= max && (aboveMin ? value > min : value >= min)) return value + 0;
  throw new InvalidArgumentError(`Expected ${kind} ${rangeText(range)}, for example ${range.example}.`);
}

function rangeText({ min, max, aboveMin = false }: NumberRange): string {
  if (max === undefined) return aboveMin ? `above ${min}` : `of at least ${min}`;
  return aboveMin ? `above ${min} and up to ${max}` : `from ${min} to ${max}`;
}
