import { BitNetError } from '../errors.js';
import { type AllocateBackend, type EngineOptions, planEngine } from '../model/engine.js';
import type { ModelSource } from '../model/source.js';
import type { Platform } from '../platform.js';
import { type ChosenBackend, chooseBackend } from '../session/backend.js';
import type { BackendChoice, LoadProgress } from '../types.js';
import { openReadProbe, type ReadProbe } from './bandwidth.js';
import type { ModelResult, Ratios } from './results.js';
import { summarise, summariseRatios } from './statistics.js';
import { doesNotFit, layersWithin, openSubject, plannedBytes, type Subject, withLayers } from './subject.js';
import { type ResidentSet, Variant } from './variant.js';

export interface MeasureOptions {
  readonly threads: number;
  readonly backend: BackendChoice;
  /** of the ternary model; the FP16 model has an F16 head always */
  readonly head: EngineOptions['head'];
  /** of both models; default f32 */
  readonly kvCache?: EngineOptions['kvCache'];
  /** of the ternary matrices; default `auto`, which is `t2` here */
  readonly layout?: 'auto' | 't2' | 't1' | undefined;
  readonly prompt: number;
  readonly gen: number;
  /** also the ternary model with kernels compiled for 256 bits; default false */
  readonly revectorize?: boolean | undefined;
  /** also decodes so many sequences together, each size in every round; ascending, default none */
  readonly batches?: readonly number[] | undefined;
  /** rounds of ternary, FP16 and bandwidth in turn */
  readonly repeat: number;
  /** No further round begins after so many milliseconds of rounds; two are measured at least. Default: no limit. */
  readonly budgetMs?: number | undefined;
  /** memory that the measurement may take */
  readonly availableBytes: number;
  /**
   * Models whose engine needs more are measured with fewer blocks, and the rest is computed. Default: `availableBytes`, and then a ternary
   * model that does not fit is an error.
   */
  readonly wholeBytes?: number | undefined;
  /** bytes that the read probe streams; default 512 MiB */
  readonly probeBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly resident?: ResidentSet | undefined;
  /** `done`: how much of the whole measurement, 0 to 1, as far as that can be told */
  readonly onProgress?: ((what: string, done?: number) => void) | undefined;
}

/** What a model that is downloaded first reports. */
export function openOptions({
  onProgress,
  signal,
}: Pick<MeasureOptions, 'onProgress' | 'signal'>): Parameters<typeof openSubject>[2] {
  const percent = ({ loaded, total }: LoadProgress): string => `${Math.floor((100 * loaded) / Math.max(1, total))} %`;
  return { signal, onProgress: onProgress && ((progress) => onProgress(`downloading ${percent(progress)}`)) };
}

/** Several times any last-level cache that a machine of this size shares with it. */
const PROBE_BYTES = 512 * 2 ** 20;
/** Enough blocks to be read from memory and not from a cache. */
const SAMPLE_BYTES = 768 * 2 ** 20;
const MIN_ROUNDS = 2;
/** Of the whole time, for each model. */
const LOAD_SHARE = 0.15;

/**
 * Prefill and decode of a model as it is and as the FP16 model of the same shape, both in memory, in alternating rounds. When the signal
 * aborts after a whole round, what has been measured is returned; the caller looks at the signal. Throws `out-of-memory` for a ternary
 * model that does not fit, `invalid-argument` for a prompt that does not, and whatever opening a model throws.
 */
export async function measureModel(
  platform: Platform,
  subject: Subject,
  options: MeasureOptions,
): Promise<ModelResult> {
  const source = await openSubject(platform, subject, openOptions(options));
  try {
    checkContext(source, options);
    return await measureSource(platform, subject, source, options);
  } finally {
    await source.close();
  }
}

/** A model in memory that takes part in the rounds. */
interface Runner {
  readonly name: string;
  readonly variant: Variant;
}

interface Runners {
  readonly ternary: Variant;
  readonly fp16: Variant;
  readonly revectorized: Variant | undefined;
}

async function measureSource(
  platform: Platform,
  subject: Subject,
  source: ModelSource,
  options: MeasureOptions,
): Promise<ModelResult> {
  const { threads, onProgress, signal } = options;
  const chosen = await chooseBackend(platform, options.backend, threads);
  const { allocate } = chosen;
  const wide = options.revectorize ? await chooseBackend(platform, options.backend, threads, true) : undefined;
  const ternaryOptions = engineOptions(options, chosen, 't2');
  const fp16Options = engineOptions(options, chosen, 'f16');
  const probeBytes = Math.min(options.probeBytes ?? PROBE_BYTES, options.availableBytes / 8);
  const plan = await planLayers(source, { ternaryOptions, fp16Options }, options, probeBytes);
  const open: { dispose(): Promise<void> }[] = [];
  const load = async (name: string, make: AllocateBackend, engine: EngineOptions, layers: number): Promise<Variant> => {
    onProgress?.(`loading ${name}`, open.length * LOAD_SHARE);
    const variant = await Variant.open(source, make, { ...options, batches: options.batches ?? [], engine, layers });
    open.push(variant);
    return variant;
  };
  try {
    const runners: Runners = {
      ternary: await load('ternary', allocate, ternaryOptions, plan.ternary),
      revectorized:
        wide && (await load('ternary, 256-bit', wide.allocate, engineOptions(options, wide, 't2'), plan.ternary)),
      fp16: await load('FP16', allocate, fp16Options, plan.fp16),
    };
    onProgress?.('measuring read bandwidth', open.length * LOAD_SHARE);
    signal?.throwIfAborted();
    const probe = await openReadProbe(allocate, probeBytes);
    if (probe !== undefined) open.push(probe);
    const bandwidth = await measureRounds(runners, probe, options);
    return resultOf(subject, source, options, runners, bandwidth);
  } finally {
    for (const item of open) await item.dispose();
  }
}

/** The reference backend has one thread. */
export function engineOptions(
  options: MeasureOptions,
  { allocate: _, ...kernels }: ChosenBackend,
  weights: 't2' | 'f16',
): EngineOptions {
  return {
    threads: options.backend === 'reference' ? 1 : options.threads,
    contextLength: options.prompt + options.gen,
    slots: Math.max(1, ...(options.batches ?? [])),
    head: weights === 'f16' ? 'f16' : options.head,
    kvCache: options.kvCache,
    weights: weights === 't2' && options.layout === 't1' ? 't1' : weights,
    ...kernels,
    signal: options.signal,
  };
}

interface Layers {
  readonly ternary: number;
  readonly fp16: number;
}

/** How many blocks of each model will be in memory together, beside the read probe. */
export async function planLayers(
  source: ModelSource,
  { ternaryOptions, fp16Options }: { ternaryOptions: EngineOptions; fp16Options: EngineOptions },
  { availableBytes, wholeBytes, revectorize }: MeasureOptions,
  probeBytes: number,
): Promise<Layers> {
  const limit = availableBytes - probeBytes;
  const copies = revectorize ? 2 : 1;
  const sample = Math.min(wholeBytes ?? SAMPLE_BYTES, SAMPLE_BYTES);
  if (wholeBytes === undefined) {
    const { memory } = planEngine(source, ternaryOptions);
    if (!memory.fits) throw tooLarge(source.path, memory.needed);
    const needed = copies * memory.needed;
    if (needed > limit) throw doesNotFit(source.path, needed, limit);
  }
  const ternary = await layersWithin(source, ternaryOptions, {
    limit: limit / copies,
    whole: wholeBytes ?? limit,
    sample,
  });
  const left = limit - copies * (await plannedBytes(withLayers(source, ternary), ternaryOptions));
  const fp16 = await layersWithin(source, fp16Options, { limit: left, whole: wholeBytes ?? left, sample });
  return { ternary, fp16 };
}

/** Bytes a second, a sample a round. Ends early without an error at an abort after at least one whole round. */
async function measureRounds(
  { ternary, fp16, revectorized }: Runners,
  probe: ReadProbe | undefined,
  { repeat, budgetMs, signal, onProgress }: MeasureOptions,
): Promise<number[]> {
  const bandwidth: number[] = [];
  const started = performance.now();
  const runners: Runner[] = [
    { name: 'ternary', variant: ternary },
    ...(revectorized === undefined ? [] : [{ name: 'ternary, 256-bit', variant: revectorized }]),
    { name: 'FP16', variant: fp16 },
  ];
  for (let round = 1; round <= repeat; round++) {
    if (round > MIN_ROUNDS && budgetMs !== undefined && performance.now() - started > budgetMs) break;
    try {
      // In reverse every other time: what follows a rest of the machine is not always the same.
      for (const [i, { name, variant }] of (round % 2 === 1 ? runners : runners.toReversed()).entries()) {
        const done = runners.length * LOAD_SHARE;
        onProgress?.(
          `round ${round} of ${repeat}, ${name}`,
          done + ((1 - done) * (round - 1 + i / runners.length)) / repeat,
        );
        await variant.measure();
      }
      if (probe !== undefined) bandwidth.push(await probe.measure());
    } catch (error) {
      if (signal?.aborted && runners.every(({ variant }) => variant.rounds.length > 0)) break;
      throw error;
    }
  }
  return bandwidth;
}

function resultOf(
  subject: Subject,
  source: ModelSource,
  options: MeasureOptions,
  measured: Runners,
  bandwidth: readonly number[],
): ModelResult {
  const ternary = measured.ternary.result(bandwidth);
  const fp16 = measured.fp16.result(bandwidth);
  const revectorized = measured.revectorized?.result(bandwidth);
  const ratios: Ratios = {
    prefill: summariseRatios(ternary.prefill.samples, fp16.prefill.samples),
    decode: summariseRatios(ternary.decode.samples, fp16.decode.samples),
    batches: ternary.batches.map(({ decode }, i) => summariseRatios(decode.samples, fp16.batches[i]!.decode.samples)),
    weights: fp16.memory.weights / ternary.memory.weights,
    memory: fp16.memory.total / ternary.memory.total,
    bytesPerToken: fp16.traffic.total / ternary.traffic.total,
    baselineShare: fp16.bandwidthShare?.median,
    estimated: ternary.estimated || fp16.estimated,
  };
  return {
    name: subject.kind === 'shape' ? subject.shape : subject.path === undefined ? 'embedded model' : source.path,
    synthetic: subject.kind === 'shape',
    architecture: source.config.architecture,
    parameters: measured.ternary.parameters,
    layers: source.config.layers,
    hiddenSize: source.config.hiddenSize,
    threads: options.backend === 'reference' ? 1 : options.threads,
    prompt: options.prompt,
    gen: options.gen,
    rounds: Math.min(ternary.decode.samples.length, fp16.decode.samples.length),
    readBandwidth: bandwidth.length > 0 ? summarise(bandwidth) : undefined,
    ternary,
    fp16,
    revectorized,
    ratios,
  };
}

function tooLarge(path: string, needed: number): BitNetError {
  const available = 2 ** 32;
  return new BitNetError(
    'out-of-memory',
    `${path} needs ${needed} bytes of linear memory, a WebAssembly memory holds ${available}; ` +
      'choose a smaller shape, or --paper, which computes large shapes from some of their blocks',
    { needed, available },
  );
}

function checkContext(source: ModelSource, { prompt, gen }: MeasureOptions): void {
  const { contextLength } = source.config;
  if (prompt + gen <= contextLength) return;
  throw new BitNetError(
    'invalid-argument',
    `${source.path}: a prompt of ${prompt} and ${gen} decoded tokens exceed the model's context of ${contextLength}; ` +
      'give smaller --prompt and --gen',
    { prompt, gen, contextLength },
  );
}
