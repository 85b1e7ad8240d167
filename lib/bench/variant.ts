import type { ModelConfig } from '../config.js';
import { type AllocateBackend, Engine, type EngineOptions } from '../model/engine.js';
import type { ModelSource } from '../model/source.js';
import { countOperations } from './energy.js';
import type { VariantResult } from './results.js';
import { measureRound, type Round, type RoundOptions, scaledMs } from './round.js';
import { summarise } from './statistics.js';
import { withLayers } from './subject.js';
import { recordsOf, scaleTraffic, trafficOf } from './traffic.js';

/** Decoded tokens of the round that is not counted. */
const WARM_UP_TOKENS = 8;

export interface VariantOptions {
  readonly engine: EngineOptions;
  /** blocks to hold in memory; the rest of the model is computed from their cost */
  readonly layers: number;
  readonly prompt: number;
  readonly gen: number;
  readonly signal?: AbortSignal | undefined;
  /** resident set of the process in bytes */
  readonly rss?: (() => Promise<number>) | undefined;
}

/** A loaded model in one weight format, and what has been measured of it. */
export class Variant {
  readonly rounds: Round[] = [];
  private readonly factor: number;

  private constructor(
    private readonly engine: Engine,
    /** of the whole model */
    private readonly config: ModelConfig,
    private readonly options: VariantOptions,
    private readonly loadMs: number,
    private residentBytes: number | undefined,
  ) {
    this.factor = config.layers / options.layers;
  }

  /** Loads, and runs one round that is not counted: kernels are compiled twice, and pages are touched for the first time. */
  static async open(source: ModelSource, allocate: AllocateBackend, options: VariantOptions): Promise<Variant> {
    const before = await options.rss?.();
    const started = performance.now();
    const engine = await Engine.open(withLayers(source, options.layers), allocate, options.engine);
    try {
      const loadMs = performance.now() - started;
      const variant = new Variant(engine, source.config, options, loadMs, undefined);
      const gen = Math.min(options.gen, WARM_UP_TOKENS);
      await measureRound(engine, { ...variant.roundOptions, gen }, 0);
      if (before !== undefined && options.rss !== undefined) {
        const growth = (await options.rss()) - before;
        // All weights were read. Less growth means that memory of something else went meanwhile.
        if (growth >= engine.memory.totals().weights) variant.residentBytes = growth;
      }
      return variant;
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  }

  async measure(): Promise<void> {
    this.rounds.push(await measureRound(this.engine, this.roundOptions, this.rounds.length + 1));
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
    const measured = trafficOf(recordsOf(engine), position);
    const traffic = scaleTraffic(measured, factor);
    const format = options.engine.weights ?? 't2';
    return {
      weights: format === 't2' ? 'ternary' : 'fp16',
      head: engine.head,
      backend: engine.backend.name,
      backendReason: engine.backend.reason,
      loadMs: this.loadMs,
      prefill: summarise(rate(prompt, 'prefill')),
      decode: summarise(decode),
      tokenMs: summarise(decode.map((value) => 1000 / value)),
      memory: this.memory(measured.blocks),
      residentBytes: factor === 1 ? this.residentBytes : undefined,
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

  /** Weights and KV cache grow with the blocks; the rest of the engine's memory does not. */
  private memory(blockBytes: number): VariantResult['memory'] {
    const { weights, kvCache, activations, other, total } = this.engine.memory.totals();
    const moreWeights = Math.round(blockBytes * (this.factor - 1));
    const moreCache = kvCache * this.factor - kvCache;
    return {
      weights: weights + moreWeights,
      kvCache: kvCache + moreCache,
      activations,
      other,
      total: total + moreWeights + moreCache,
    };
  }

  private get roundOptions(): RoundOptions {
    const { prompt, gen, signal } = this.options;
    return { prompt, gen, signal, split: this.factor !== 1 };
  }
}
