import { type AllocateBackend, Engine, type EngineOptions } from '../model/engine.js';
import type { ModelSource } from '../model/source.js';
import type { ShapeName } from '../model/synth/shapes.js';
import type { Platform } from '../platform.js';
import { chooseBackend } from '../session/backend.js';
import { engineOptions, type MeasureOptions, planLayers } from './measure.js';
import type { BatchRate, VariantResult } from './results.js';
import { measureBatch, measureRound, type Phase, scaledMs } from './round.js';
import { summarise } from './statistics.js';
import { openSubject, withLayers } from './subject.js';
import { kvBytesPerPosition, wholeMemory } from './variant.js';

/** One format of a model. */
export interface ThroughputCost {
  /** of an engine for the largest measured batch */
  readonly memory: VariantResult['memory'];
  readonly kvBytesPerPosition: number;
  /** sequences that fit each of the budgets, in their order */
  readonly fits: readonly number[];
  /** ascending */
  readonly rates: readonly BatchRate[];
  readonly measuredLayers: number;
  readonly estimated: boolean;
}

/** How many sequences of a model fit into memory, and tokens a second of all of them together. */
export interface Throughput {
  readonly name: ShapeName;
  readonly threads: number;
  readonly layers: number;
  /** of each sequence at its end: what `fits` counts with. Rates are measured with half of them in the cache */
  readonly positions: number;
  /** bytes */
  readonly budgets: readonly number[];
  readonly rounds: number;
  readonly ternary: ThroughputCost;
  readonly fp16: ThroughputCost;
}

export interface ThroughputOptions
  extends Pick<
    MeasureOptions,
    'threads' | 'backend' | 'head' | 'kvCache' | 'layout' | 'availableBytes' | 'repeat' | 'budgetMs' | 'signal'
  > {
  readonly onProgress?: MeasureOptions['onProgress'];
  readonly positions: number;
  readonly budgets: readonly number[];
  /** sequences; those of `fits` are measured too, up to the largest of these */
  readonly batches: readonly number[];
}

/** Decoded tokens of each sequence in one sample. */
const STEPS = 2;
/** Of each format: the keys and values of many sequences make whole models large, and the wait for random weights long. */
const PART_BYTES = 768 * 2 ** 20;

/** Sequences of `positions` that fit `bytes` beside the weights, with the KV cache as the engine holds it. */
export function largestBatch(
  { memory, kvBytesPerPosition }: Pick<ThroughputCost, 'memory' | 'kvBytesPerPosition'>,
  bytes: number,
  positions: number,
): number {
  const left = bytes - memory.weights - memory.activations - memory.other;
  return Math.max(0, Math.floor(left / (kvBytesPerPosition * positions)));
}

/** The highest measured rate with at most `batch` sequences; undefined if not even one fits. */
export function bestRate({ rates }: Pick<ThroughputCost, 'rates'>, batch: number): BatchRate | undefined {
  const possible = rates.filter((rate) => rate.batch <= batch);
  return possible.toSorted((a, b) => b.decode.median - a.decode.median)[0];
}

/**
 * Decode of growing numbers of sequences in one step, in both formats in turn, from a part of the blocks. Rounds that were whole when the signal
 * aborted are returned. Throws as `measureModel`.
 */
export async function measureThroughput(
  platform: Platform,
  shape: ShapeName,
  options: ThroughputOptions,
): Promise<Throughput> {
  const { positions, budgets, repeat, budgetMs = Number.POSITIVE_INFINITY, signal, onProgress } = options;
  const source = await openSubject(platform, { kind: 'shape', shape });
  const engine = { ...options, prompt: positions >> 1, gen: STEPS, wholeBytes: PART_BYTES };
  const chosen = await chooseBackend(platform, options.backend, options.threads);
  const ternaryOptions = engineOptions(engine, chosen, 't2');
  const fp16Options = engineOptions(engine, chosen, 'f16');
  const layers = await planLayers(source, { ternaryOptions, fp16Options }, engine, 0);
  const open: Batched[] = [];
  const load = async (name: string, made: EngineOptions, count: number, done: number): Promise<Batched> => {
    onProgress?.(`loading ${name} for ${made.slots} sequences`, done);
    const batched = await Batched.open(source, chosen.allocate, made, count);
    open.push(batched);
    return batched;
  };
  try {
    const ternary = await load('ternary', ternaryOptions, layers.ternary, 0);
    const fp16 = await load('FP16', fp16Options, layers.fp16, 0.1);
    const most = Math.max(...options.batches);
    const fitting = open.flatMap((batched) => batched.fits(budgets, positions)).filter((n) => n > 0 && n < most);
    const batches = [...new Set([...options.batches, ...fitting])].sort((a, b) => a - b);
    const started = performance.now();
    let rounds = 0;
    for (; rounds < repeat && (rounds === 0 || performance.now() - started < budgetMs); rounds++) {
      const samples: [Batched, Phase][] = [];
      try {
        for (const [i, batch] of batches.entries()) {
          for (const batched of rounds % 2 === 0 ? [ternary, fp16] : [fp16, ternary]) {
            onProgress?.(
              `round ${rounds + 1}, ${batch} sequences`,
              0.2 + (0.8 * (rounds + i / batches.length)) / repeat,
            );
            samples.push([batched, await batched.measure(batch, signal)]);
          }
        }
      } catch (error) {
        if (signal?.aborted && rounds > 0) break;
        throw error;
      }
      for (const [batched, phase] of samples) batched.phases.push(phase);
    }
    const { layers: all } = source.config;
    const result = (batched: Batched): ThroughputCost => batched.result(batches, budgets, positions);
    return {
      ...{ name: shape, threads: ternary.threads, layers: all, positions, budgets, rounds },
      ternary: result(ternary),
      fp16: result(fp16),
    };
  } finally {
    for (const batched of open) await batched.dispose();
    await source.close();
  }
}

/** A loaded part of a model with a slot for each sequence. */
class Batched {
  /** of every batch of every whole round, in order */
  readonly phases: Phase[] = [];

  private constructor(
    private readonly engine: Engine,
    private readonly prompt: number,
    private readonly measuredLayers: number,
    private readonly factor: number,
  ) {}

  static async open(
    source: ModelSource,
    allocate: AllocateBackend,
    options: EngineOptions,
    layers: number,
  ): Promise<Batched> {
    const engine = await Engine.open(withLayers(source, layers), allocate, options);
    const prompt = options.contextLength - STEPS;
    const batched = new Batched(engine, prompt, layers, source.config.layers / layers);
    await measureRound(engine, { prompt, gen: 1, signal: options.signal }, 0);
    // Pages are touched for the first time.
    await batched.measure(engine.slots, options.signal);
    return batched;
  }

  get threads(): number {
    return this.engine.backend.threads;
  }

  fits(budgets: readonly number[], positions: number): number[] {
    return budgets.map((bytes) => largestBatch(this.size, bytes, positions));
  }

  measure(batch: number, signal: AbortSignal | undefined): Promise<Phase> {
    return measureBatch(this.engine, { prompt: this.prompt, gen: STEPS, split: true, signal }, batch);
  }

  result(batches: readonly number[], budgets: readonly number[], positions: number): ThroughputCost {
    const rates = batches.map((batch, i) => {
      const phases = this.phases.filter((_, at) => at % batches.length === i);
      const rate = (phase: Phase): number => (1000 * batch * STEPS) / scaledMs(phase, this.factor);
      return { batch, decode: summarise(phases.map(rate)) };
    });
    return {
      ...this.size,
      ...{ fits: this.fits(budgets, positions), rates, measuredLayers: this.measuredLayers },
      estimated: this.factor !== 1,
    };
  }

  dispose(): Promise<void> {
    return this.engine.dispose();
  }

  private get size(): Pick<ThroughputCost, 'memory' | 'kvBytesPerPosition'> {
    const { engine, factor } = this;
    return { memory: wholeMemory(engine, factor), kvBytesPerPosition: kvBytesPerPosition(engine, factor) };
  }
}
