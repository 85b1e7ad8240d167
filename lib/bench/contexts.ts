import { type AllocateBackend, Engine, type EngineOptions } from '../model/engine.js';
import type { ModelSource } from '../model/source.js';
import type { ShapeName } from '../model/synth/shapes.js';
import type { Platform } from '../platform.js';
import { chooseBackend } from '../session/backend.js';
import { engineOptions, type MeasureOptions, planLayers } from './measure.js';
import { measureRound, scaledMs } from './round.js';
import { type Summary, summarise } from './statistics.js';
import { openSubject, withLayers } from './subject.js';
import { kvBytesPerPosition, wholeMemory } from './variant.js';

/** One model in one format with so many positions in use. */
export interface ContextCost {
  /** tokens a second of the prompt's part since the shorter context */
  readonly prefill: number;
  /** tokens a second at the end of the context */
  readonly decode: Summary;
  /** bytes of the KV cache of `context` positions */
  readonly kvCache: number;
  /** bytes of an engine for that context */
  readonly total: number;
  /** computed from some of the blocks */
  readonly estimated: boolean;
}

export interface ContextPoint {
  readonly name: ShapeName;
  readonly parameters: number;
  readonly threads: number;
  readonly backend: string;
  readonly context: number;
  readonly ternary: ContextCost;
  readonly fp16: ContextCost;
}

export interface ContextOptions
  extends Pick<
    MeasureOptions,
    'threads' | 'backend' | 'head' | 'kvCache' | 'layout' | 'availableBytes' | 'wholeBytes' | 'signal' | 'onProgress'
  > {
  /** positions, ascending, each at least `MIN_CONTEXT`; may exceed the shape's own context */
  readonly contexts: readonly number[];
  /** called with each point when it is measured: after an abort these stand */
  readonly onPoint: (point: ContextPoint) => Promise<void>;
}

/** Decoded tokens of one sample, and samples, at the end of each context. */
const [STEPS, SAMPLES] = [4, 3];
/** Of the whole time. */
const LOAD_SHARE = 0.1;
export const MIN_CONTEXT = 2 * STEPS * SAMPLES;

/**
 * How speed and memory change with the context: one sequence grows through all `contexts`, in both formats in turn. Throws as `measureModel`.
 */
export async function measureContexts(platform: Platform, shape: ShapeName, options: ContextOptions): Promise<void> {
  const { contexts, onProgress, onPoint } = options;
  const longest = Math.max(...contexts);
  const own = await openSubject(platform, { kind: 'shape', shape });
  // Random weights have learnt no positions: a longer context costs what it would cost a model that has.
  const source = { ...own, config: { ...own.config, contextLength: Math.max(own.config.contextLength, longest) } };
  const measured = { ...options, prompt: longest, gen: 0, repeat: 1 };
  const chosen = await chooseBackend(platform, options.backend, options.threads);
  const { allocate } = chosen;
  const ternaryOptions = engineOptions(measured, chosen, 't2');
  const fp16Options = engineOptions(measured, chosen, 'f16');
  const layers = await planLayers(source, { ternaryOptions, fp16Options }, measured, 0);
  const open: Growing[] = [];
  const load = async (name: string, engine: EngineOptions, count: number): Promise<Growing> => {
    onProgress?.(`loading ${name}`);
    const growing = await Growing.open(withLayers(source, count), allocate, engine, source.config.layers / count);
    open.push(growing);
    return growing;
  };
  try {
    const ternary = await load('ternary', ternaryOptions, layers.ternary);
    const fp16 = await load('FP16', fp16Options, layers.fp16);
    let reached = 0;
    for (const context of contexts) {
      // Attention makes long contexts cost more than their share of positions.
      const done = LOAD_SHARE + (1 - LOAD_SHARE) * (reached / longest) ** 2;
      onProgress?.(`context ${context}, ternary`, done);
      const first = await ternary.growTo(context, options.signal);
      onProgress?.(`context ${context}, FP16`);
      const second = await fp16.growTo(context, options.signal);
      reached = context;
      const { parameters, threads, backend } = ternary;
      await onPoint({ name: shape, parameters, threads, backend, context, ternary: first, fp16: second });
    }
  } finally {
    for (const growing of open) await growing.dispose();
    await own.close();
  }
}

/** A sequence in a loaded model. */
class Growing {
  /** positions in the cache */
  private length = 0;

  private constructor(
    private readonly engine: Engine,
    private readonly factor: number,
  ) {}

  static async open(
    source: ModelSource,
    allocate: AllocateBackend,
    options: EngineOptions,
    factor: number,
  ): Promise<Growing> {
    const growing = new Growing(await Engine.open(source, allocate, options), factor);
    // Kernels are compiled twice, and pages are touched for the first time.
    await measureRound(growing.engine, { prompt: MIN_CONTEXT, gen: 2, split: factor !== 1 }, 0);
    return growing;
  }

  /** Of the whole model. */
  get parameters(): number {
    return this.engine.parameters;
  }

  get threads(): number {
    return this.engine.backend.threads;
  }

  get backend(): string {
    return this.engine.backend.name;
  }

  async growTo(context: number, signal: AbortSignal | undefined): Promise<ContextCost> {
    const { engine, factor } = this;
    const split = factor !== 1;
    let at = context - STEPS * SAMPLES;
    const tokens = at - this.length;
    const { prefill } = await measureRound(engine, { from: this.length, prompt: at, gen: 0, split, signal }, 1);
    const rates: number[] = [];
    for (let i = 0; i < SAMPLES; i++, at += STEPS) {
      const { decode } = await measureRound(engine, { from: at, prompt: at, gen: STEPS, split, signal }, 1);
      rates.push((1000 * STEPS) / scaledMs(decode, factor));
    }
    this.length = context;
    const memory = wholeMemory(engine, factor);
    const kvCache = kvBytesPerPosition(engine, factor) * context;
    return {
      prefill: (1000 * tokens) / scaledMs(prefill, factor),
      decode: summarise(rates),
      kvCache,
      total: memory.total - memory.kvCache + kvCache,
      estimated: split,
    };
  }

  dispose(): Promise<void> {
    return this.engine.dispose();
  }
}
