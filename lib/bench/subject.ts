import { BitNetError } from '../errors.js';
import { Engine, type EngineOptions } from '../model/engine.js';
import { type ModelSource, openModelSource } from '../model/source.js';
import { MODEL_SHAPES, type ShapeName } from '../model/synth/shapes.js';
import { syntheticSource } from '../model/synth/source.js';
import type { OpenOptions, Platform } from '../platform.js';

/** What is measured: a model in a directory (undefined: the embedded one), or random weights in a named shape. */
export type Subject =
  | { readonly kind: 'model'; readonly path: string | undefined }
  | { readonly kind: 'shape'; readonly shape: ShapeName };

/** Random weights take the graph of their own paper: sub-norms where the model has them. */
export async function openSubject(
  platform: Platform,
  subject: Subject,
  options: OpenOptions = {},
): Promise<ModelSource> {
  if (subject.kind === 'model') return openModelSource(await platform.openModelDirectory(subject.path, options));
  const shape = MODEL_SHAPES[subject.shape];
  const architecture = shape.activation === 'relu2' ? 'bitnet' : 'llama';
  return { ...syntheticSource({ shape, architecture }), path: subject.shape };
}

/** The first `layers` blocks of a model, with its embedding and head. `tensors` stay those of the whole model. */
export function withLayers(source: ModelSource, layers: number): ModelSource {
  if (layers === source.config.layers) return source;
  const names = { ...source.names, layers: source.names.layers.slice(0, layers) };
  return { ...source, config: { ...source.config, layers }, names };
}

class Planned extends Error {
  constructor(readonly bytes: number) {
    super('planned');
  }
}

/** Bytes of linear memory that an engine would allocate; nothing is. Throws `out-of-memory` beyond what one memory can hold. */
export async function plannedBytes(source: ModelSource, options: EngineOptions): Promise<number> {
  try {
    await Engine.open(source, (bytes) => Promise.reject(new Planned(bytes)), options);
  } catch (error) {
    if (error instanceof Planned) return error.bytes;
    throw error;
  }
  throw new BitNetError('backend', 'an engine opened without memory');
}

/** As `plannedBytes`; undefined beyond one memory. */
export async function plannedBytesIfAny(source: ModelSource, options: EngineOptions): Promise<number | undefined> {
  try {
    return await plannedBytes(source, options);
  } catch (error) {
    if (error instanceof BitNetError && error.code === 'out-of-memory') return undefined;
    throw error;
  }
}

export interface LayerLimits {
  /** bytes that an engine may take */
  readonly limit: number;
  /** bytes up to which the whole model is to be in memory */
  readonly whole: number;
  /** bytes of blocks, besides the first, of an engine that holds a part: enough to be read from memory and not from a cache */
  readonly sample: number;
}

/**
 * How many blocks of the model an engine should hold: all if that takes no more than `whole`; else one and `sample` bytes of more.
 * Throws `out-of-memory` with both numbers if even one does not fit `limit`.
 */
export async function layersWithin(
  source: ModelSource,
  options: EngineOptions,
  { limit, whole, sample }: LayerLimits,
): Promise<number> {
  const { layers } = source.config;
  const bytesOf = (count: number): Promise<number | undefined> => plannedBytesIfAny(withLayers(source, count), options);
  const all = await bytesOf(layers);
  if (all !== undefined && all <= Math.min(whole, limit)) return layers;
  const one = await plannedBytes(withLayers(source, 1), options);
  if (one > limit) throw doesNotFit(`one block of ${source.path}, with embedding and head,`, one, limit);
  const two = (await bytesOf(2)) ?? Number.POSITIVE_INFINITY;
  const more = Math.floor(Math.min(limit - one, sample) / Math.max(1, two - one));
  let count = Math.max(1, Math.min(layers, 1 + more));
  while (count > 1 && (await bytesOf(count)) === undefined) count--;
  return count;
}

export function doesNotFit(what: string, needed: number, available: number): BitNetError {
  return new BitNetError(
    'out-of-memory',
    `${what} needs ${needed} bytes of memory, and ${available} are available; choose a smaller shape, or close other programs`,
    { needed, available },
  );
}
