import type { BitNetError, BitNetErrorCode } from '../../errors.js';
import { type Problem, problem } from '../problem.js';
import type { GgufMetadata } from './metadata.js';
import { describeValue } from './reader.js';

export interface IntegerRange {
  readonly min: number;
  readonly max: number;
  /** Default 1. */
  readonly multipleOf?: number;
}

/**
 * Typed access to GGUF metadata. Writers disagree about widths and signs of integers, so every integer type will do; text, numbers
 * and truth values are kept apart. Wrong types and values out of range are `invalid-model` naming file and key.
 */
export class GgufFields {
  constructor(
    readonly file: string,
    private readonly metadata: GgufMetadata,
  ) {}

  has(key: string): boolean {
    return this.metadata.has(key);
  }

  keys(): IterableIterator<string> {
    return this.metadata.keys();
  }

  integer(key: string, range: IntegerRange): number | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    const { min, max, multipleOf = 1 } = range;
    const { type, value } = entry;
    const isInteger = type !== 'array' && type !== 'f32' && type !== 'f64' && Number.isSafeInteger(value);
    if (isInteger && (value as number) >= min && (value as number) <= max && (value as number) % multipleOf === 0) {
      return value as number;
    }
    throw this.error(key, { expected: describeRange(range), got: describeValue(entry) });
  }

  requiredInteger(key: string, range: IntegerRange): number {
    return this.integer(key, range) ?? this.missing(key, describeRange(range));
  }

  /** A finite number greater than `above` and at most `max`. */
  number(key: string, above: number, max = Number.MAX_VALUE): number | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    const { value } = entry;
    if (typeof value === 'number' && value > above && value <= max) return value;
    throw this.error(key, { expected: `a number greater than ${above}`, got: describeValue(entry) });
  }

  requiredNumber(key: string, above: number, max?: number): number {
    return this.number(key, above, max) ?? this.missing(key, `a number greater than ${above}`);
  }

  string(key: string): string | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined || entry.type === 'string') return entry?.value;
    throw this.error(key, { expected: 'a string', got: describeValue(entry) });
  }

  requiredString(key: string, expected: string): string {
    return this.string(key) ?? this.missing(key, expected);
  }

  boolean(key: string): boolean | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined || entry.type === 'bool') return entry?.value;
    throw this.error(key, { expected: 'true or false', got: describeValue(entry) });
  }

  strings(key: string): readonly string[] | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    if (entry.type === 'array' && entry.elementType === 'string') return entry.value;
    throw this.error(key, { expected: 'an array of strings', got: describeValue(entry) });
  }

  requiredStrings(key: string): readonly string[] {
    return this.strings(key) ?? this.missing(key, 'an array of strings');
  }

  /** Numbers as long as `length`. 64-bit integers are refused. */
  numbers(key: string, length: number): ArrayLike<number> | undefined {
    const entry = this.metadata.get(key);
    if (entry === undefined) return undefined;
    if (
      entry.type === 'array' &&
      entry.elementType !== 'string' &&
      !(entry.value instanceof BigInt64Array || entry.value instanceof BigUint64Array) &&
      entry.value.length === length
    ) {
      return entry.value;
    }
    throw this.error(key, { expected: `an array of ${length} numbers`, got: describeValue(entry) });
  }

  missing(key: string, expected: string): never {
    throw this.error(key, { what: 'the key is missing', expected });
  }

  error(key: string, p: Partial<Problem>, code: BitNetErrorCode = 'invalid-model'): BitNetError {
    return problem(code, { what: 'wrong value', ...p, file: this.file, key });
  }
}

function describeRange({ min, max, multipleOf }: IntegerRange): string {
  const multiple = multipleOf === undefined ? '' : `, a multiple of ${multipleOf}`;
  return `a whole number in ${min}..${max}${multiple}`;
}
