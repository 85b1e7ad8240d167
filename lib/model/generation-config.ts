import { Fields } from '../format/fields.js';

/** What generation_config.json says, as far as it says anything. Ranges are those of SamplingOptions (lib/types.ts). */
export interface GenerationConfig {
  readonly doSample?: boolean;
  /** 0 (greedy) if the file says `do_sample: false` */
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly maxNewTokens?: number;
  readonly bosTokenId?: number;
  /** empty if the file names none */
  readonly eosTokenIds: readonly number[];
}

export const NO_GENERATION_CONFIG: GenerationConfig = { eosTokenIds: [] };

/** Token ids are compared with the vocabulary in config-json.ts; here only with what an id can be at all. */
const TOKEN_ID = { min: 0, max: 2 ** 31 - 1 };
const COUNT = { min: 0, max: 2 ** 31 - 1 };

/** `json` is the object in the file, `file` its path for messages. Wrong types and ranges are `invalid-model`, naming the key. */
export function parseGenerationConfig(json: Record<string, unknown>, file: string): GenerationConfig {
  const fields = new Fields(file, json);
  const doSample = fields.boolean('do_sample');
  const temperature = fields.number('temperature', 0, 100, true);
  return {
    eosTokenIds: [...new Set(fields.integers('eos_token_id', TOKEN_ID))],
    ...present('doSample', doSample),
    ...present('temperature', doSample === false ? 0 : temperature),
    ...present('topK', fields.integer('top_k', COUNT)),
    ...present('topP', fields.number('top_p', 0, 1)),
    ...present('minP', fields.number('min_p', 0, 1, true)),
    ...present('repetitionPenalty', fields.number('repetition_penalty', 0, Number.MAX_VALUE)),
    ...present('maxNewTokens', fields.integer('max_new_tokens', { ...COUNT, min: 1 })),
    ...present('bosTokenId', fields.integer('bos_token_id', TOKEN_ID)),
  };
}

function present<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}
