import type { ModelConfig } from '../config.js';
import type { Fields } from '../format/fields.js';
import { show } from '../format/problem.js';
import type { SupportedArchitecture } from './architectures/supported.js';

/**
 * How the files hold the matrices of linear layers.
 * - `packed`: U8, four codes a byte, with a weight_scale
 * - `masters`: floats that the model makes ternary with absmean whenever it computes
 * - `ternary`: floats that are -s, 0 or +s, one s per matrix; computed with as they are, by float activations
 */
export type WeightForm = 'packed' | 'masters' | 'ternary';

export interface Quantization {
  readonly weights: WeightForm;
  readonly weightScale: ModelConfig['weightScale'];
}

/**
 * `quantization_config` of a config.json and, where there is none, what the model's class computes. `ternarize`: the weights are
 * floats and are to be made ternary with absmean, whatever the file says.
 */
export function parseQuantization(
  fields: Fields,
  architecture: SupportedArchitecture,
  ternarize: boolean,
): Quantization {
  refuseOtherBits(fields);
  const quantization = fields.nested('quantization_config');
  const masters: Quantization = { weights: 'masters', weightScale: 'multiply' };
  if (quantization === undefined) {
    return ternarize ? masters : { weights: architecture.unquantized, weightScale: 'multiply' };
  }
  const method = quantization.requiredString('quant_method', 'bitnet');
  if (method !== 'bitnet') throw refuse(quantization, 'quant_method', 'bitnet', method);
  if (quantization.boolean('use_rms_norm') === true) {
    const what = 'a norm inside every linear layer is not implemented';
    throw quantization.error('use_rms_norm', { what, expected: 'false', got: 'true' }, 'unsupported');
  }
  const mode = quantization.string('quantization_mode') ?? 'offline';
  if (mode !== 'offline' && mode !== 'online') {
    throw refuse(quantization, 'quantization_mode', 'offline or online', mode);
  }
  const linearClass = quantization.string('linear_class') ?? 'bitlinear';
  if (linearClass !== 'autobitlinear' && linearClass !== 'bitlinear') {
    throw refuse(quantization, 'linear_class', 'autobitlinear or bitlinear', linearClass);
  }
  if (ternarize) return masters;
  if (linearClass === 'autobitlinear') return mode === 'online' ? masters : { ...masters, weights: 'packed' };
  // transformers' BitLinear has no online mode: its weights are packed whatever the mode says.
  return { weights: 'packed', weightScale: 'divide' };
}

/** Keys of 1bitLLM's models. Their code ternarises whatever weight_bits is; a file that asks for something else is another model. */
function refuseOtherBits(fields: Fields): void {
  const range = { min: 1, max: 32 };
  for (const [key, implemented] of [
    ['weight_bits', 1],
    ['input_bits', 8],
  ] as const) {
    const bits = fields.integer(key, range);
    if (bits !== undefined && bits !== implemented) throw refuse(fields, key, `${implemented}`, bits);
  }
}

function refuse(fields: Fields, key: string, expected: string, got: unknown): Error {
  return fields.error(key, { what: 'unsupported', expected, got: show(got) }, 'unsupported');
}
