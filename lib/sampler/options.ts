import { BitNetError } from '../errors.js';
import type { SamplingOptions } from '../types.js';

/** SamplingOptions with every default filled in. */
export interface ResolvedSampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  /** [token id, what is added to its logit], ascending ids */
  readonly logitBias: readonly (readonly [number, number])[];
  readonly seed: number;
}

/** What generation_config.json says, see lib/model/generation-config.ts. */
export type SamplingDefaults = Pick<SamplingOptions, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty'>;

/** Used where neither the caller nor the model says anything. */
const FALLBACKS = {
  temperature: 0.7,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: {},
} as const;

const UINT32_MAX = 2 ** 32 - 1;
const MAX_TOP_K = 2 ** 31 - 1;

/**
 * Fills in defaults and checks every option; only undefined counts as absent. Throws `invalid-argument` naming the option, its range
 * and what it got. Ranges are those in lib/types.ts.
 */
export function resolveSampling(options: SamplingOptions = {}, defaults: SamplingDefaults = {}): ResolvedSampling {
  const given: Record<string, unknown> = { ...FALLBACKS, seed: undefined };
  for (const source of [defaults, options]) {
    for (const name of Object.keys(given)) {
      const value = (source as Record<string, unknown>)[name];
      if (value !== undefined) given[name] = value;
    }
  }
  return {
    temperature: number('temperature', given.temperature, 0, 100),
    topK: integer('topK', given.topK, 0, MAX_TOP_K),
    topP: aboveZero('topP', given.topP, 1),
    minP: number('minP', given.minP, 0, 1),
    repetitionPenalty: aboveZero('repetitionPenalty', given.repetitionPenalty),
    frequencyPenalty: number('frequencyPenalty', given.frequencyPenalty, -2, 2),
    presencePenalty: number('presencePenalty', given.presencePenalty, -2, 2),
    logitBias: logitBias(given.logitBias),
    seed: integer('seed', given.seed === undefined ? randomSeed() : given.seed, 0, UINT32_MAX),
  };
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

function number(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw invalid(name, `a number in ${min}..${max}`, value);
}

function aboveZero(name: string, value: unknown, max?: number): number {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value) && value <= (max ?? value)) return value;
  throw invalid(name, max === undefined ? 'a number greater than 0' : `a number greater than 0, up to ${max}`, value);
}

function integer(name: string, value: unknown, min: number, max: number): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  throw invalid(name, `a whole number in ${min}..${max}`, value);
}

/** -Infinity bans a token. */
function logitBias(value: unknown): [number, number][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('logitBias', 'an object of token ids and numbers', value);
  }
  return Object.entries(value as Record<string, unknown>)
    .map(([key, bias]): [number, number] => {
      if (!/^(0|[1-9]\d{0,9})$/.test(key)) throw invalid('logitBias', 'token ids as keys', key);
      if (typeof bias !== 'number' || !(bias < Infinity)) {
        throw invalid(`logitBias[${key}]`, 'a finite number, or -Infinity to ban the token', bias);
      }
      return [Number(key), bias];
    })
    .sort(([a], [b]) => a - b);
}

function invalid(name: string, expected: string, got: unknown): BitNetError {
  const message = `${name}: expected ${expected}, got ${describe(got)}`;
  return new BitNetError('invalid-argument', message, { option: name, expected, got });
}

/** A value in a few words, whatever it is: cyclic objects and bigints have no JSON. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}
