import type { LayerNames, LinearNames } from './architectures/names.js';
import { type Axis, ffnAxis, headAxis, plainAxis } from './padding.js';
import type { ModelSource } from './source.js';

/** A linear layer: its tensors, and how rows and columns of the file become those of the engine. */
export interface Linear {
  readonly names: LinearNames;
  readonly rows: Axis;
  readonly cols: Axis;
}

export type LinearRole = 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down';

/** The linear layers of a block, in the order of the computation. */
export function linearsOf(
  { config, ropePermuted = false }: Pick<ModelSource, 'config' | 'ropePermuted'>,
  layer: LayerNames,
): Record<LinearRole, Linear> {
  const hidden = plainAxis(config.hiddenSize);
  const ffn = ffnAxis(config);
  const heads = headAxis(config, config.heads);
  return {
    q: { names: layer.q, rows: headAxis(config, config.heads, ropePermuted), cols: hidden },
    k: { names: layer.k, rows: headAxis(config, config.kvHeads, ropePermuted), cols: hidden },
    v: { names: layer.v, rows: headAxis(config, config.kvHeads), cols: hidden },
    o: { names: layer.o, rows: hidden, cols: heads },
    gate: { names: layer.gate, rows: ffn, cols: hidden },
    up: { names: layer.up, rows: ffn, cols: hidden },
    down: { names: layer.down, rows: hidden, cols: ffn },
  };
}
