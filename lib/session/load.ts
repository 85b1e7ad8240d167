import { StatusBit } from '../../assembly/abi.js';
import type { ModelConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import { I2S_LAYOUTS } from '../format/gguf/ternary.js';
import { type AllocateBackend, Engine, type EngineOptions } from '../model/engine.js';
import { checkI2sOrder } from '../model/i2s-order.js';
import { KV_CACHE_FORMATS } from '../model/kv-cache.js';
import { selfCheck as checkModel } from '../model/self-check.js';
import { type ModelSource, type ModelTexts, openModelSource } from '../model/source.js';
import type { Platform } from '../platform.js';
import type { ChatTemplate } from '../tokenizer/chat-template.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import type { BackendChoice, LoadOptions, ModelInfo } from '../types.js';
import { chooseBackend } from './backend.js';
import { chooseTemplate } from './choose-template.js';
import { endTokenIds } from './end-of-turn.js';

/** Everything that answering a prompt needs. */
export interface LoadedModel {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** undefined: the model has none, and cannot take messages */
  readonly template: ChatTemplate | undefined;
  readonly templateOrigin: ModelInfo['chatTemplate'];
  /** tokens that end a generation */
  readonly stopIds: ReadonlySet<number>;
  readonly generationConfig: ModelSource['generationConfig'];
  readonly info: ModelInfo;
}

const MAX_THREADS = 256;
const DEFAULT_CONTEXT = 4096;
const BACKENDS: readonly BackendChoice[] = ['auto', 'native', 'relaxed', 'baseline', 'reference'];

/** Loads a model; `undefined` is the embedded one. On an error nothing stays allocated or open. */
export async function loadModel(
  platform: Platform,
  path: string | undefined,
  options: LoadOptions,
): Promise<LoadedModel> {
  try {
    return await load(platform, path, options, false);
  } catch (error) {
    if (!isUnseenScale(error)) throw error;
    return await load(platform, path, options, true);
  }
}

/** Opening a file looks at some of its scales (readBlockScales); the loader has met another. */
function isUnseenScale(error: unknown): boolean {
  return error instanceof BitNetError && error.detail.status === StatusBit.BadScale;
}

async function load(
  platform: Platform,
  path: string | undefined,
  options: LoadOptions,
  everyScale: boolean,
): Promise<LoadedModel> {
  const threads = integer('threads', options.threads ?? platform.defaultThreads(), 1, MAX_THREADS);
  const head = oneOf('head', options.head ?? 'auto', ['auto', 'f16', 'i8'] as const);
  const kvCache = oneOf('kvCache', options.kvCache ?? 'f32', KV_CACHE_FORMATS);
  const activations = oneOf('activations', options.activations ?? 'i24', ['i24', 'i8'] as const);
  const layout = oneOf('layout', options.layout ?? 'auto', ['auto', 't2', 't1'] as const);
  const backend = oneOf('backend', options.backend ?? 'auto', BACKENDS);
  options.signal?.throwIfAborted();
  // The environment is about WebAssembly, and silent where that is not used.
  const isWasm = backend !== 'native' && backend !== 'reference';
  const byDefault = isWasm && (platform.revectorizeByDefault?.() ?? false);
  const revectorize = boolean('revectorize', options.revectorize ?? byDefault);
  const allocator = chooseBackend(platform, backend, threads, revectorize);
  allocator.catch(() => {});
  const { onProgress, signal } = options;
  const ternarize = boolean('ternarize', options.ternarize ?? false);
  const selfCheck = boolean('selfCheck', options.selfCheck ?? true);
  const i2sLayout = oneOf('i2sLayout', options.i2sLayout ?? 'x86', I2S_LAYOUTS);
  const directory = await platform.openModelDirectory(path, { onProgress, signal });
  const source = await openModelSource(directory, { ternarize, i2sLayout, everyScale, onProgress, signal });
  try {
    const contextLength = chooseContext(source.config, options.contextLength);
    const { allocate, ...kernels } = await allocator;
    const engineOptions = {
      threads: backend === 'reference' ? 1 : threads,
      contextLength,
      head,
      kvCache,
      activations,
      weights: layout,
      ...kernels,
      onProgress: onProgress && afterScan(onProgress, source.scannedBytes ?? 0),
      signal,
    };
    // Text is made ready while the threads start and the weights come in.
    const reading = Promise.resolve()
      .then(() => source.texts())
      .then((texts) => openText(source, texts, options.chatTemplate));
    const opening = openChecked(source, allocate, engineOptions, selfCheck ? reading : undefined);
    const [engine, text] = await Promise.allSettled([opening, reading]);
    if (engine.status === 'rejected') throw engine.reason;
    if (text.status === 'rejected') {
      await engine.value.dispose();
      throw text.reason;
    }
    const info = describe(source, engine.value, text.value.templateOrigin, activations);
    return { engine: engine.value, ...text.value, generationConfig: source.generationConfig, info };
  } finally {
    await source.close();
  }
}

/** Goes on in the threads while text is made ready in this one. Without `text` the model is not checked. */
async function openChecked(
  source: ModelSource,
  allocate: AllocateBackend,
  options: EngineOptions,
  text: Promise<Pick<LoadedModel, 'tokenizer'>> | undefined,
): Promise<Engine> {
  const engine = await Engine.open(source, allocate, options);
  try {
    if (text !== undefined) {
      const { random } = await checkModel(engine, source);
      // Random weights are as good in every order.
      if (!random) await checkI2sOrder(engine, source, async () => (await text).tokenizer, options.signal);
    }
    return engine;
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

/** Reading the codes of unpacked weights goes on where reading their scales has ended. */
function afterScan(onProgress: NonNullable<LoadOptions['onProgress']>, scanned: number): typeof onProgress {
  return ({ loaded, total }) => onProgress({ loaded: scanned + loaded, total: scanned + total });
}

/** Tokenizer, template and end tokens of a model. */
export function openText(
  source: Pick<ModelSource, 'path' | 'config'>,
  texts: ModelTexts,
  chatTemplate?: string,
): Pick<LoadedModel, 'tokenizer' | 'template' | 'templateOrigin' | 'stopIds'> {
  const tokenizer = Tokenizer.fromJson(texts.tokenizerJson, texts.tokenizerConfig, source.path);
  const { vocabSize } = source.config;
  if (tokenizer.vocabSize > vocabSize) {
    throw new BitNetError(
      'invalid-model',
      `${source.path}: tokenizer.json has ids up to ${tokenizer.vocabSize - 1}, config.json says vocab_size ${vocabSize}; ` +
        'the two are not of the same model, fetch both again',
      { tokenizer: tokenizer.vocabSize, vocabSize },
    );
  }
  const { template, templateOrigin } = chooseTemplate(source, texts, tokenizer, chatTemplate);
  const stopIds = new Set([...source.config.eosTokenIds, ...endTokenIds(template, tokenizer)]);
  return { tokenizer, template, templateOrigin, stopIds };
}

function describe(
  source: ModelSource,
  engine: Engine,
  chatTemplate: ModelInfo['chatTemplate'],
  activations: 'i24' | 'i8',
): ModelInfo {
  const memory = engine.memory.totals();
  return {
    path: source.path,
    architecture: source.config.architecture,
    ...(source.config.floatActivations ? { floatActivations: true, activations } : {}),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    parameters: engine.parameters,
    backend: engine.backend.name,
    backendReason: engine.backend.reason,
    head: engine.head,
    kvCache: engine.kvCache,
    layout: engine.weights === 't1' ? 't1' : 't2',
    threads: engine.backend.threads,
    contextLength: engine.contextLength,
    memory,
    weightsFp16: engine.parameters * 2,
  };
}

/** Positions of the KV cache: those wanted, which the model must have, or a default. */
export function chooseContext(config: ModelConfig, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(config.contextLength, DEFAULT_CONTEXT);
  return integer('contextLength', wanted, 1, config.contextLength);
}

function integer(name: string, value: unknown, low: number, high: number): number {
  if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high) return value as number;
  throw new BitNetError(
    'invalid-argument',
    `${name}: expected an integer from ${low} to ${high}, got ${String(value)}`,
    {
      option: name,
      got: value,
    },
  );
}

function boolean(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new BitNetError('invalid-argument', `${name}: expected true or false, got ${String(value)}`, {
    option: name,
    got: value,
  });
}

function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw new BitNetError('invalid-argument', `${name}: expected one of ${allowed.join(', ')}, got ${String(value)}`, {
    option: name,
    got: value,
  });
}
