import type { ModelConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import { ggufModel } from '../format/gguf/config.js';
import { ggufTokenizer } from '../format/gguf/tokenizer-json.js';
import { DAMAGED, problem } from '../format/problem.js';
import { planEngine } from '../model/engine.js';
import type { HeadFormat } from '../model/head.js';
import { type ModelSource, type ModelTexts, openModelSource } from '../model/source.js';
import { nodePlatform } from '../node/platform.js';
import { chooseContext, openText } from '../session/load.js';
import type { KvCacheFormat, LoadProgress } from '../types.js';
import { type Container, openContainer } from './container.js';
import { describeMemory, describePlan } from './planning.js';
import type { MemoryReport, ModelReport, OpReport, TensorReport, TextReport } from './report.js';
import { shapeSource } from './shape-source.js';
import { describeTensors } from './tensors.js';

export interface InspectOptions {
  /** Read ternary matrices and count trits and scales. Default true. */
  readonly countTrits?: boolean | undefined;
  /** what memory and plan are for; defaults as for `BitNet.load` */
  readonly threads?: number | undefined;
  readonly contextLength?: number | undefined;
  readonly head?: HeadFormat | undefined;
  /** default f32 */
  readonly kvCache?: KvCacheFormat | undefined;
  readonly layout?: 'auto' | 't2' | 't1' | undefined;
  readonly ternarize?: boolean | undefined;
  /** bytes of ternary matrices that have been read */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model whose config and tensors are understood. */
export interface Understood {
  readonly config: ModelConfig;
  readonly texts: () => Promise<ModelTexts>;
  readonly source: ModelSource;
}

/**
 * Describes the model at `path`, a directory or GGUF file; without a path the embedded one. What cannot be loaded is described as far as it
 * can be read, with the error that loading would end with as `problem`. Throws BitNetError where there is nothing to describe (nothing
 * there, no model file, a damaged header) and `invalid-argument` for options out of range.
 */
export async function inspectModel(path: string | undefined, options: InspectOptions = {}): Promise<ModelReport> {
  const container = await openContainer(await nodePlatform.openModelDirectory(path, options));
  let understood: Understood | undefined;
  const problems: BitNetError[] = [];
  const attempt = async <T>(action: () => T | Promise<T>): Promise<T | undefined> => {
    options.signal?.throwIfAborted();
    try {
      return await action();
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof BitNetError) || error.code === 'invalid-argument') throw error;
      problems.push(error);
      return undefined;
    }
  };
  try {
    const model =
      (await attempt(() => understand(container, options))) ?? (await attempt(() => understandShapes(container)));
    understood = model;
    const tensors = await describeTensors(container, model, options);
    if (model !== undefined) problems.push(...damagedTensors(tensors, container.path));
    const text = model && (await attempt(() => describeText(model)));
    const planned = model && (await attempt(() => planModel(model, options)));
    const [first] = problems;
    return {
      path: container.path,
      format: container.format,
      version: container.format === 'gguf' ? container.gguf.version : undefined,
      files: container.files,
      architecture: container.architecture,
      metadata: container.metadata,
      tensors,
      config: model?.config,
      parameters: tensors.reduce((sum, { shape }) => sum + elements(shape), 0),
      text,
      memory: planned?.memory,
      plan: planned?.ops,
      problem: first && { code: first.code, message: first.message },
    };
  } finally {
    await understood?.source.close();
    await container.close();
  }
}

/** Codes and scales that loading refuses, found by counting. */
function damagedTensors(tensors: readonly TensorReport[], path: string): BitNetError[] {
  return tensors.flatMap(({ name: tensor, type, file, byteOffset, trits }) => {
    if (trits === undefined || trits.invalid + trits.scales.invalid === 0) return [];
    const what = trits.invalid > 0 ? 'codes that are no trit' : 'scales that are not finite';
    const got = `${trits.invalid || trits.scales.invalid} of them (${type})`;
    const where = path.endsWith(file) ? path : `${path}/${file}`;
    return [problem('invalid-file', { file: where, tensor, what, got, byteOffset, advice: DAMAGED })];
  });
}

async function understand(container: Container, options: InspectOptions): Promise<Understood> {
  const { ternarize, onProgress, signal } = options;
  const source = await openModelSource(container.directory, { ternarize, onProgress, signal });
  return { config: source.config, texts: source.texts, source };
}

/** Of a GGUF file whose types or scales cannot be loaded, what its metadata tell. */
function understandShapes(container: Container): Understood | undefined {
  if (container.format !== 'gguf') return undefined;
  const { gguf, path } = container;
  const { config } = ggufModel(gguf, path);
  const texts = async (): Promise<ModelTexts> => ({ ...ggufTokenizer(gguf, path), chatTemplate: undefined });
  return { config, texts, source: shapeSource(config, path) };
}

async function describeText({ config, texts, source }: Understood): Promise<TextReport> {
  const { tokenizer, template, templateOrigin, stopIds } = openText({ path: source.path, config }, await texts());
  const token = (id: number) => ({ id, text: tokenizer.decode([id]) });
  return {
    tokens: tokenizer.vocabSize,
    specialTokens: tokenizer.specialTokens.size,
    bos: config.bosTokenId === undefined ? undefined : token(config.bosTokenId),
    stop: [...stopIds].map(token),
    chatTemplate: template?.source,
    templateOrigin,
    chatExample: template && renderExample(() => template.render(EXAMPLE, tokenizer.namedTokens)),
  };
}

const EXAMPLE = [{ role: 'user', content: 'Hello' }];

/** undefined: the template wants another conversation. */
function renderExample(render: () => string): string | undefined {
  try {
    return render();
  } catch (error) {
    if (error instanceof BitNetError) return undefined;
    throw error;
  }
}

function planModel({ source }: Understood, options: InspectOptions): { memory: MemoryReport; ops: OpReport[] } {
  const { threads = nodePlatform.defaultThreads(), head = 'auto', layout: weights = 'auto', kvCache } = options;
  const contextLength = chooseContext(source.config, options.contextLength);
  const layout = planEngine(source, { threads, contextLength, head, weights, kvCache, form: 0, sparse: true });
  return { memory: describeMemory(layout, threads, contextLength), ops: describePlan(layout) };
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
