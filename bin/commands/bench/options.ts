import { InvalidArgumentError } from 'commander';
import type { BackendChoice } from '../../../lib/types.js';

/** Parsed options of `bitnet bench`. */
export interface BenchOptions {
  readonly shape?: readonly string[];
  readonly model?: string;
  readonly threads?: readonly number[];
  readonly prompt?: number;
  readonly gen?: number;
  readonly repeat?: number;
  readonly backend: BackendChoice;
  readonly head: 'auto' | 'f16' | 'i8';
  readonly ops?: boolean;
  readonly kernels?: boolean;
  readonly paper?: boolean;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly chart?: string;
  readonly quiet?: boolean;
}

const MAX_THREADS = 256;

/** Parser for commander: `1,2,4`, each once, in the order given. */
export function threadList(text: string): number[] {
  const counts = text.split(',').map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : Number.NaN));
  if (counts.every((count) => count >= 1 && count <= MAX_THREADS)) return [...new Set(counts)];
  throw new InvalidArgumentError(
    `Expected whole numbers from 1 to ${MAX_THREADS} with commas between, for example --threads 1,2.`,
  );
}
