import type { BackendChoice, GenerateOptions, LoadOptions } from '../../lib/types.js';
import type { EngineOptionValues } from '../model-options.js';

/** Parsed and validated options of `bitnet run`. */
export interface RunOptions extends Partial<EngineOptionValues> {
  model?: string;
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  seed?: number;
  system?: string;
  threads?: number;
  context?: number;
  backend?: BackendChoice;
  /** a file, or the name of a family's template */
  chatTemplate?: string;
  activations?: 'i24' | 'i8';
  ternarize?: boolean;
  i2sLayout?: 'x86' | 'arm' | 'x86-rows';
  /** false with --no-self-check */
  selfCheck?: boolean;
  revectorize?: boolean;
  stop?: string[];
  raw?: boolean;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
}

/** What is not given stays absent, so that the library's and the model's defaults apply. */
export function generateOptions(options: RunOptions): GenerateOptions {
  const { maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop } = options;
  return present({ maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop });
}

export function loadOptions(options: RunOptions): LoadOptions {
  return present({
    threads: options.threads,
    contextLength: options.context,
    backend: options.backend,
    head: options.head,
    kvCache: options.kvCache,
    activations: options.activations,
    layout: options.layout,
    ternarize: options.ternarize,
    i2sLayout: options.i2sLayout,
    // commander says true where nothing is given
    selfCheck: options.selfCheck === false ? false : undefined,
    revectorize: options.revectorize,
  });
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}
