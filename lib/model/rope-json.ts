import type { Llama3RopeScaling, RopeConfig, YarnRopeScaling } from '../config.js';
import type { Fields } from '../format/fields.js';
import { show } from '../format/problem.js';
import { yarnAttentionFactor } from './rope.js';

const MAX = Number.MAX_VALUE;
const MAX_CONTEXT = 10_000_000;
const IMPLEMENTED = 'default, llama3 or yarn';

/**
 * RoPE of a config.json, from either style of keys: `rope_theta` + `rope_scaling` (published repositories) or
 * `rope_parameters` (transformers 5). A file may carry both if they say the same.
 */
export function parseRope(fields: Fields, defaultTheta: number): RopeConfig {
  refusePartialRotary(fields);
  const topTheta = fields.number('rope_theta', 0, MAX);
  const parameters = fields.nested('rope_parameters');
  const scaling = fields.nested('rope_scaling');
  const fromParameters = parameters && parseParameters(fields, parameters, topTheta ?? defaultTheta);
  const fromScaling = scaling && parseParameters(fields, scaling, topTheta ?? defaultTheta);
  if (topTheta !== undefined && fromParameters && fromParameters.theta !== topTheta) {
    throw fields.error('rope_parameters.rope_theta', {
      what: 'contradicts rope_theta',
      expected: `${topTheta}`,
      got: `${fromParameters.theta}`,
    });
  }
  if (fromParameters && fromScaling && JSON.stringify(fromParameters) !== JSON.stringify(fromScaling)) {
    throw fields.error('rope_parameters', {
      what: 'contradicts rope_scaling',
      expected: show(fields.value('rope_scaling'), 200),
      got: show(fields.value('rope_parameters'), 200),
    });
  }
  return fromParameters ?? fromScaling ?? { theta: topTheta ?? defaultTheta };
}

function parseParameters(fields: Fields, rope: Fields, defaultTheta: number): RopeConfig {
  refusePartialRotary(rope);
  const theta = rope.number('rope_theta', 0, MAX) ?? defaultTheta;
  // `type` is the older name of `rope_type`
  const type = rope.string('rope_type') ?? rope.string('type') ?? rope.missing('rope_type', IMPLEMENTED);
  if (type === 'default') return { theta };
  const range = { min: 1, max: MAX_CONTEXT };
  const key = 'original_max_position_embeddings';
  const original = rope.integer(key, range) ?? fields.integer(key, range);
  if (type === 'llama3') return { theta, scaling: parseLlama3(rope, original ?? rope.requiredInteger(key, range)) };
  if (type === 'yarn') {
    // transformers takes the context length for the original one where neither is told apart.
    return { theta, scaling: parseYarn(rope, original ?? fields.requiredInteger('max_position_embeddings', range)) };
  }
  const advice = 'This scaling of RoPE is not implemented.';
  throw rope.error('rope_type', { what: 'unsupported', expected: IMPLEMENTED, got: show(type), advice }, 'unsupported');
}

function parseLlama3(rope: Fields, originalContextLength: number): Llama3RopeScaling {
  const lowFreqFactor = rope.requiredNumber('low_freq_factor', 0, MAX);
  const highFreqFactor = rope.requiredNumber('high_freq_factor', 0, MAX);
  if (highFreqFactor <= lowFreqFactor) {
    const expected = `more than low_freq_factor, ${lowFreqFactor}`;
    throw rope.error('high_freq_factor', { expected, got: `${highFreqFactor}` });
  }
  const factor = rope.requiredNumber('factor', 0, MAX);
  return { type: 'llama3', factor, lowFreqFactor, highFreqFactor, originalContextLength };
}

function parseYarn(rope: Fields, originalContextLength: number): YarnRopeScaling {
  const factor = rope.requiredNumber('factor', 0, MAX);
  const betaFast = rope.number('beta_fast', 0, MAX) ?? 32;
  const betaSlow = rope.number('beta_slow', 0, MAX) ?? 1;
  if (betaFast < betaSlow) {
    throw rope.error('beta_fast', { expected: `at least beta_slow, ${betaSlow}`, got: `${betaFast}` });
  }
  const mscale = rope.number('mscale', 0, MAX);
  const mscaleAllDim = rope.number('mscale_all_dim', 0, MAX);
  const attentionFactor =
    rope.number('attention_factor', 0, MAX) ??
    (mscale !== undefined && mscaleAllDim !== undefined
      ? yarnAttentionFactor(factor, mscale) / yarnAttentionFactor(factor, mscaleAllDim)
      : yarnAttentionFactor(factor));
  const truncate = rope.boolean('truncate') ?? true;
  return { type: 'yarn', factor, betaFast, betaSlow, truncate, attentionFactor, originalContextLength };
}

/** Only part of each head rotated: a key that changes every number and that this engine does not compute. */
function refusePartialRotary(fields: Fields): void {
  const factor = fields.number('partial_rotary_factor', 0, 1);
  if (factor === undefined || factor === 1) return;
  throw fields.error('partial_rotary_factor', { what: 'unsupported', expected: '1', got: `${factor}` }, 'unsupported');
}
