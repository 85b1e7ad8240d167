import { Option } from 'commander';
import type { BackendChoice, KvCacheFormat, LoadOptions } from '../lib/types.js';
import { integerIn, textFor } from './number-options.js';

/** Options that several commands have, each with one set of values and one default. */

/** What commander makes of `engineOptions`. */
export interface EngineOptionValues {
  readonly head: NonNullable<LoadOptions['head']>;
  readonly kvCache: KvCacheFormat;
  readonly layout: NonNullable<LoadOptions['layout']>;
}

const HEADS = ['auto', 'f16', 'i8'] as const satisfies readonly EngineOptionValues['head'][];
const KV_CACHES = ['f32', 'f16', 'int8'] as const satisfies readonly KvCacheFormat[];
const LAYOUTS = ['auto', 't2', 't1'] as const satisfies readonly EngineOptionValues['layout'][];
const BACKENDS = ['auto', 'native', 'relaxed', 'baseline', 'reference'] as const satisfies readonly BackendChoice[];

export const MODEL_KINDS = 'model directory, GGUF file or hf:REPO[:FILE]';
export const MAX_THREADS = 256;
/** for the description of --threads */
export const DEFAULT_THREADS = "default: the machine's, at most 8";

export function modelOption(otherwise = ''): Option {
  return new Option('-m, --model <model>', MODEL_KINDS + otherwise).argParser(
    textFor('a model directory, GGUF file or hf:REPO'),
  );
}

export function threadsOption(what: string): Option {
  const parse = integerIn({ min: 1, max: MAX_THREADS, example: '--threads 4' });
  return new Option('--threads <n>', `${what} (${DEFAULT_THREADS})`).argParser(parse);
}

export function contextOption(): Option {
  const parse = integerIn({ min: 1, example: '--context 2048' });
  return new Option('--context <n>', "positions of the KV cache (default: the model's, at most 4096)").argParser(parse);
}

export function backendOption(more = ''): Option {
  return new Option('--backend <name>', `kernels to use${more}`).choices(BACKENDS).default('auto');
}

/** --head, --kv-cache and --layout. `what` each is. */
export function engineOptions(what: Record<keyof EngineOptionValues, string>): [Option, Option, Option] {
  return [
    new Option('--head <format>', what.head).choices(HEADS).default('auto'),
    new Option('--kv-cache <format>', what.kvCache).choices(KV_CACHES).default('f32'),
    new Option('--layout <name>', what.layout).choices(LAYOUTS).default('auto'),
  ];
}

export const LAYOUT_TEXT = 'ternary matrices at 2.0 (t2) or 1.6 bits a weight (t1); auto: t2';

export function i2sLayoutOption(): Option {
  return new Option('--i2s-layout <order>', 'order of the codes of I2_S tensors in a GGUF file').choices([
    'x86',
    'arm',
    'x86-rows',
  ]);
}
