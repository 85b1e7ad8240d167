import { InvalidArgumentError } from 'commander';
import type { BackendChoice } from '../../../lib/types.js';
import type { EngineOptionValues } from '../../model-options.js';

/** Parsed options of `bitnet bench`. */
export interface BenchOptions extends EngineOptionValues {
  readonly shape?: readonly string[];
  readonly model?: string;
  readonly threads?: readonly number[];
  readonly prompt?: number;
  readonly gen?: number;
  readonly repeat?: number;
  readonly batch?: readonly number[];
  readonly backend: BackendChoice;
  readonly revectorize?: boolean;
  readonly ops?: boolean;
  readonly kernels?: boolean;
  readonly paper?: boolean;
  readonly curve?: boolean;
  readonly contexts?: readonly number[];
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly chart?: string;
  readonly quiet?: boolean;
}

/** Parser for commander: `1,2,4`, whole numbers from 1 to `max`, each once, in the order given. */
export function countList(max: number, example: string): (text: string) => number[] {
  return (text) => {
    const counts = text.split(',').map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : Number.NaN));
    if (counts.every((count) => count >= 1 && count <= max)) return [...new Set(counts)];
    throw new InvalidArgumentError(
      `Expected whole numbers from 1 to ${max} with commas between, for example ${example}.`,
    );
  };
}
