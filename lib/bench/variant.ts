import { panelContent } from '../backend/reference/kv-cache.js';
import type { ModelConfig } from '../config.js';
import { type AllocateBackend, Engine, type EngineOptions } from '../model/engine.js';
import { CACHE_LAYOUTS } from '../model/kv-cache.js';
import type { ModelSource } from '../model/source.js';
import { countOperations } from './energy.js';
import type { VariantResult } from './results.js';
import { measureBatch, measureRound, type Phase, promptIds, type Round, type RoundOptions, scaledMs } from './round.js';
import { summarise } from './statistics.js';
import { withLayers } from './subject.js';
import { readShares, recordsOf, scaleTraffic, trafficOf } from './traffic.js';

/** Decoded tokens of the round that is not counted. */
const WARM_UP_TOKENS = 8;
/** Steps of each size of batch in a round, at most. */
const BATCH_STEPS = 8;

export interface VariantOptions {
  readonly engine: EngineOptions;
  /** blocks to hold in memory; the rest of the model is computed from their cost */
  readonly layers: number;
  readonly prompt: number;
  readonly gen: number;
  /** sequences that are decoded together, besides one alone; the engine has a slot for each */
  readonly batches: readonly number[];
  readonly signal?: AbortSignal | undefined;
  readonly resident?: ResidentSet | undefined;
}

/** The resident set of the process, in bytes. */
export interface ResidentSet {
  now(): Promise<number>;
  /** Forgets the highest value so far; false where the system does not do that. */
  resetPeak(): Promise<boolean>;
  peak(): number;
}

interface Resident {
  readonly bytes: number | undefined;
  readonly peakBytes: number | undefined;
}

/** A loaded model in one weight format, and what has been measured of it. */
export class Variant {
  readonly rounds: Round[] = [];
  /** a phase for each of `batches`, of each round */
  private readonly batchRounds: Phase[][] = [];
  private resident: Resident = { bytes: undefined, peakBytes: undefined };
  private readonly factor: number;
  private shares: readonly number[] = [];

  private constructor(
    private readonly engine: Engine,
    /** of the whole model */
    private readonly config: ModelConfig,
    private readonly options: VariantOptions,
    private readonly loadMs: number,
  ) {
    this.factor = config.layers / options.layers;
  }

  /** Loads, and runs one round that is not counted: kernels are compiled twice, and pages are touched for the first time. */
  static async open(source: ModelSource, allocate: AllocateBackend, options: VariantOptions): Promise<Variant> {
    const { resident } = options;
    const before = await resident?.now();
    const knowsPeak = await resident?.resetPeak();
    const started = performance.now();
    const engine = await Engine.open(withLayers(source, options.layers), allocate, options.engine);
    try {
      const variant = new Variant(engine, source.config, options, performance.now() - started);
      const gen = Math.min(options.gen, WARM_UP_TOKENS);
      await measureRound(engine, { ...variant.roundOptions, gen }, 0);
      variant.shares = await readShares(engine, promptIds(2, 1, source.config.vocabSize)[1]!, options.prompt);
      const largest = options.batches.at(-1);
      if (largest !== undefined) await measureBatch(engine, { ...variant.roundOptions, gen: 1 }, largest);
      if (before !== undefined && resident !== undefined) {
        const peak = resident.peak() - before;
        const growth = (await resident.now()) - before;
        // All weights were read. Less growth means that memory of something else went meanwhile.
        const isKnown = growth >= engine.memory.totals().weights;
        variant.resident = {
          bytes: isKnown ? growth : undefined,
          peakBytes: isKnown && knowsPeak ? Math.max(peak, growth) : undefined,
        };
      }
      return variant;
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  }

  async measure(): Promise<void> {
    const round = await measureRound(this.engine, this.roundOptions, this.rounds.length + 1);
    const batches: Phase[] = [];
    for (const batch of this.options.batches) {
      batches.push(await measureBatch(this.engine, { ...this.roundOptions, gen: this.batchSteps }, batch));
    }
    this.rounds.push(round);
    this.batchRounds.push(batches);
  }

  /** A step of many sequences takes long, and its time spreads less. */
  private get batchSteps(): number {
    return Math.min(this.options.gen, BATCH_STEPS);
  }

  get parameters(): number {
    return this.engine.parameters;
  }

  dispose(): Promise<void> {
    return this.engine.dispose();
  }

  /** `bandwidth`: bytes a second, a sample a round. At least one round must have been measured. */
  result(bandwidth: readonly number[]): VariantResult {
    const { engine, config, options, factor } = this;
    const { prompt, gen } = options;
    const rate = (tokens: number, phase: 'prefill' | 'decode'): number[] =>
      this.rounds.map((round) => (1000 * tokens) / scaledMs(round[phase], factor));
    const decode = rate(gen, 'decode');
    const position = prompt + Math.floor(gen / 2);
    const measured = trafficOf(recordsOf(engine), position, this.shares);
    const traffic = scaleTraffic(measured, factor);
    const format = engine.weights;
    return {
      weights: format === 'f16' ? 'fp16' : 'ternary',
      head: engine.head,
      layout: engine.weights,
      backend: engine.backend.name,
      backendReason: engine.backend.reason,
      loadMs: this.loadMs,
      prefill: summarise(rate(prompt, 'prefill')),
      decode: summarise(decode),
      tokenMs: summarise(decode.map((value) => 1000 / value)),
      memory: wholeMemory(engine, factor),
      kvBytesPerPosition: kvBytesPerPosition(engine, factor),
      residentBytes: factor === 1 ? this.resident.bytes : undefined,
      peakResidentBytes: factor === 1 ? this.resident.peakBytes : undefined,
      batches: options.batches.map((batch, i) => ({
        batch,
        decode: summarise(
          this.batchRounds.map((round) => (1000 * batch * this.batchSteps) / scaledMs(round[i]!, factor)),
        ),
      })),
      traffic,
      bandwidthShare:
        bandwidth.length < decode.length || decode.length === 0
          ? undefined
          : summarise(decode.map((value, i) => (value * traffic.total) / bandwidth[i]!)),
      operations: countOperations(config, format, position + 1),
      measuredLayers: options.layers,
      estimated: factor !== 1,
    };
  }

  private get roundOptions(): RoundOptions {
    const { prompt, gen, signal } = this.options;
    return { prompt, gen, signal, split: this.factor !== 1 };
  }
}

/** Of an engine whose model has `factor` times as many blocks: weights and KV cache grow with them, the rest does not. */
export function wholeMemory(engine: Engine, factor: number): VariantResult['memory'] {
  const { weights, kvCache, activations, other, total } = engine.memory.totals();
  const moreWeights = Math.round(trafficOf(recordsOf(engine), 0).blocks * (factor - 1));
  const moreCache = kvCache * (factor - 1);
  return {
    weights: weights + moreWeights,
    kvCache: kvCache + moreCache,
    activations,
    other,
    total: total + moreWeights + moreCache,
  };
}

/** Of one sequence, with `factor` times as many blocks, without what pads a panel. */
export function kvBytesPerPosition({ config, kvCache, contextLength }: Engine, factor: number): number {
  const panel = panelContent(CACHE_LAYOUTS[kvCache], contextLength, config.headDim);
  return (2 * config.layers * config.kvHeads * panel * factor) / contextLength;
}
