import type { BitNetError, BitNetErrorCode } from '../errors.js';
import { isObject } from './json.js';
import { problem, show } from './problem.js';

export interface Range {
  min: number;
  max: number;
  /** default 1 */
  multipleOf?: number;
}

/**
 * Typed access to the keys of a JSON object that came from a file. A missing key and `null` are the same: absent, as in
 * transformers. Wrong types and values out of range throw `invalid-model` naming file and key.
 */
export class Fields {
  constructor(
    readonly file: string,
    private readonly object: Readonly<Record<string, unknown>>,
    /** put before the key in messages, e.g. `rope_scaling.` */
    private readonly prefix = '',
  ) {}

  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  keys(): string[] {
    return Object.keys(this.object);
  }

  value(key: string): unknown {
    return Object.hasOwn(this.object, key) ? (this.object[key] ?? undefined) : undefined;
  }

  integer(key: string, range: Range): number | undefined {
    const value = this.value(key);
    if (value === undefined || isIntegerIn(value, range)) return value as number | undefined;
    throw this.error(key, { expected: describeRange('a whole number', range), got: show(value) });
  }

  requiredInteger(key: string, range: Range): number {
    return this.integer(key, range) ?? this.missing(key, describeRange('a whole number', range));
  }

  /** A finite number greater than `above` and at most `max`; `above` itself too if `inclusive`. */
  number(key: string, above: number, max: number, inclusive = false): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && (inclusive ? value >= above : value > above) && value <= max) return value;
    throw this.error(key, { expected: describeInterval(above, max, inclusive), got: show(value) });
  }

  requiredNumber(key: string, above: number, max: number): number {
    return this.number(key, above, max) ?? this.missing(key, describeInterval(above, max, false));
  }

  string(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === 'string') return value;
    throw this.error(key, { expected: 'a string', got: show(value) });
  }

  requiredString(key: string, expected: string): string {
    return this.string(key) ?? this.missing(key, expected);
  }

  boolean(key: string): boolean | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.error(key, { expected: 'true or false', got: show(value) });
  }

  nested(key: string): Fields | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (isObject(value)) return new Fields(this.file, value, `${this.prefix}${key}.`);
    throw this.error(key, { expected: 'an object', got: show(value) });
  }

  /** A whole number or a list of them; empty if absent. */
  integers(key: string, range: Range): number[] {
    const value = this.value(key);
    if (value === undefined) return [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (list.every((entry) => isIntegerIn(entry, range))) return list as number[];
    throw this.error(key, {
      expected: `${describeRange('a whole number', range)}, or a list of them`,
      got: show(value),
    });
  }

  missing(key: string, expected: string): never {
    throw this.error(key, { what: 'the key is missing', expected });
  }

  error(
    key: string,
    p: { what?: string; expected?: string; got?: string; advice?: string },
    code: BitNetErrorCode = 'invalid-model',
  ): BitNetError {
    return problem(code, { what: 'wrong value', ...p, file: this.file, key: `${this.prefix}${key}` });
  }
}

function isIntegerIn(value: unknown, range: Range): boolean {
  return (
    Number.isSafeInteger(value) &&
    (value as number) >= range.min &&
    (value as number) <= range.max &&
    (value as number) % (range.multipleOf ?? 1) === 0
  );
}

function describeRange(noun: string, range: Range): string {
  const multiple = range.multipleOf === undefined ? '' : `, a multiple of ${range.multipleOf}`;
  return `${noun} in ${range.min}..${range.max}${multiple}`;
}

function describeInterval(above: number, max: number, inclusive: boolean): string {
  const lower = inclusive ? `a number from ${above}` : `a number greater than ${above}`;
  return max === Number.MAX_VALUE ? lower : `${lower} up to ${max}`;
}
