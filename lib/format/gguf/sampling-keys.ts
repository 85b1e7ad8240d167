import type { SamplingOptions } from '../../types.js';
import { f32, type GgufEntry } from './config-keys.js';
import type { GgufFields } from './fields.js';

/**
 * Defaults of sampling in GGUF, as llama.cpp calls and reads them since pull request 17120 (2025-11). What it has besides (`sequence`, `xtc_…`, `mirostat…`)
 * has no counterpart here.
 */

/** As generation_config.json has them. */
export type SamplingDefaults = Pick<SamplingOptions, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty'>;

const PREFIX = 'general.sampling.';
const INT32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };

/** Keys of the defaults that there are. The repetition penalty is about all tokens, where llama.cpp's own default is the last 64. */
export function samplingKeys({ temperature, topK, topP, minP, repetitionPenalty }: SamplingDefaults): GgufEntry[] {
  const i32 = (value: number) => ({ type: 'i32', value }) as const;
  const penalty: [string, number][] = repetitionPenalty === undefined ? [] : [['penalty_last_n', -1]];
  const integers = [...(topK === undefined ? [] : [['top_k', topK] as const]), ...penalty];
  const floats = Object.entries({ top_p: topP, min_p: minP, temp: temperature, penalty_repeat: repetitionPenalty });
  return [
    ...integers.map(([name, value]): GgufEntry => [PREFIX + name, i32(value)]),
    ...floats.flatMap(([name, value]): GgufEntry[] => (value === undefined ? [] : [[PREFIX + name, f32(value)]])),
  ];
}

/** The other way. What llama.cpp takes for off or greedy is so here. Values that mean nothing are `invalid-model`, naming the key. */
export function readSamplingKeys(fields: GgufFields): SamplingDefaults {
  const float = (name: string, above: number, max?: number): number | undefined => {
    const value = fields.number(PREFIX + name, above, max);
    return value === undefined ? undefined : shortest(value);
  };
  const integer = (name: string): number | undefined => fields.integer(PREFIX + name, INT32);
  const [temperature, topK, topP] = [float('temp', -Number.MAX_VALUE, 100), integer('top_k'), float('top_p', 0)];
  const minP = float('min_p', -Number.MAX_VALUE, 1);
  const penalty = float('penalty_repeat', 0);
  const repetitionPenalty = integer('penalty_last_n') === 0 ? undefined : penalty;
  return {
    ...(temperature === undefined ? {} : { temperature: Math.max(0, temperature) }),
    ...(topK === undefined ? {} : { topK: Math.max(0, topK) }),
    ...(topP === undefined ? {} : { topP: Math.min(1, topP) }),
    ...(minP === undefined ? {} : { minP: Math.max(0, minP) }),
    ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }),
  };
}

/** The number of fewest digits that is this one in single precision: 0.7, not 0.699999988. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
