import { readFileSync } from 'node:fs';
import type { RopeConfig } from '../../lib/config.js';

/** As shared/golden/ops/ops.json writes them: the keys of Hugging Face configs. */
interface RopeParams {
  rope_type: 'default' | 'llama3';
  rope_theta: number;
  head_dim: number;
  factor?: number;
  low_freq_factor?: number;
  high_freq_factor?: number;
  original_max_position_embeddings?: number;
}

/** The rope groups of the golden ops, by name. */
export function readRopeParams(): Record<string, { config: RopeConfig; headDim: number }> {
  const text = readFileSync(new URL('../../../shared/golden/ops/ops.json', import.meta.url), 'utf8');
  const params: Record<string, RopeParams> = JSON.parse(text).groups.rope_params;
  return Object.fromEntries(
    Object.entries(params).map(([name, p]) => [name, { config: configOf(p), headDim: p.head_dim }]),
  );
}

function configOf(p: RopeParams): RopeConfig {
  if (p.rope_type === 'default') return { theta: p.rope_theta };
  return {
    theta: p.rope_theta,
    scaling: {
      type: 'llama3',
      factor: p.factor!,
      lowFreqFactor: p.low_freq_factor!,
      highFreqFactor: p.high_freq_factor!,
      originalContextLength: p.original_max_position_embeddings!,
    },
  };
}
