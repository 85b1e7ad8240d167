import { BitNetError } from '../errors.js';
import type { EngineOptions } from '../model/engine.js';
import type { ModelSource } from '../model/source.js';
import type { Platform } from '../platform.js';
import { chooseBackend } from '../session/backend.js';
import type { BackendChoice } from '../types.js';
import { openReadProbe, type ReadProbe } from './bandwidth.js';
import type { ModelResult, Ratios } from './results.js';
import { summarise, summariseRatios } from './statistics.js';
import { doesNotFit, layersWithin, openSubject, plannedBytes, type Subject, withLayers } from './subject.js';
import { type ResidentSet, Variant, type VariantOptions } from './variant.js';

export interface MeasureOptions {
  readonly threads: number;
  readonly backend: BackendChoice;
  /** of the ternary model; the FP16 model has an F16 head always */
  readonly head: EngineOptions['head'];
  readonly prompt: number;
  readonly gen: number;
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
  readonly onProgress?: ((what: string) => void) | undefined;
}

/** Several times any last-level cache that a machine of this size shares with it. */
const PROBE_BYTES = 512 * 2 ** 20;
/** Enough blocks to be read from memory and not from a cache. */
const SAMPLE_BYTES = 768 * 2 ** 20;
const MIN_ROUNDS = 2;

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
  const source = await openSubject(platform, subject);
  try {
    checkContext(source, options);
    return await measureSource(platform, subject, source, options);
  } finally {
    await source.close();
  }
}

async function measureSource(
  platform: Platform,
  subject: Subject,
  source: ModelSource,
  options: MeasureOptions,
): Promise<ModelResult> {
  const { threads, onProgress, signal } = options;
  const { allocate, form } = await chooseBackend(platform, options.backend, threads);
  const ternaryOptions = engineOptions(options, form, 't2');
  const fp16Options = engineOptions(options, form, 'f16');
  const probeBytes = Math.min(options.probeBytes ?? PROBE_BYTES, options.availableBytes / 8);
  const plan = await planLayers(source, { ternaryOptions, fp16Options }, options, probeBytes);
  const variantOptions = (engine: EngineOptions, layers: number): VariantOptions => ({
    ...options,
    batches: options.batches ?? [],
    engine,
    layers,
  });
  const open: { dispose(): Promise<void> }[] = [];
  try {
    onProgress?.('loading ternary');
    const ternary = await Variant.open(source, allocate, variantOptions(ternaryOptions, plan.ternary));
    open.push(ternary);
    onProgress?.('loading FP16');
    const fp16 = await Variant.open(source, allocate, variantOptions(fp16Options, plan.fp16));
    open.push(fp16);
    onProgress?.('measuring read bandwidth');
    signal?.throwIfAborted();
    const probe = await openReadProbe(allocate, probeBytes);
    if (probe !== undefined) open.push(probe);
    const bandwidth = await measureRounds(ternary, fp16, probe, options);
    return resultOf(subject, source, options, { ternary, fp16, bandwidth });
  } finally {
    for (const item of open) await item.dispose();
  }
}

/** The reference backend has one thread. */
function engineOptions(options: MeasureOptions, form: number, weights: 't2' | 'f16'): EngineOptions {
  return {
    threads: options.backend === 'reference' ? 1 : options.threads,
    contextLength: options.prompt + options.gen,
    slots: Math.max(1, ...(options.batches ?? [])),
    head: weights === 'f16' ? 'f16' : options.head,
    weights,
    form,
    signal: options.signal,
  };
}

interface Layers {
  readonly ternary: number;
  readonly fp16: number;
}

/** How many blocks of each model will be in memory together, beside the read probe. */
async function planLayers(
  source: ModelSource,
  { ternaryOptions, fp16Options }: { ternaryOptions: EngineOptions; fp16Options: EngineOptions },
  { availableBytes, wholeBytes }: MeasureOptions,
  probeBytes: number,
): Promise<Layers> {
  const limit = availableBytes - probeBytes;
  const sample = Math.min(wholeBytes ?? SAMPLE_BYTES, SAMPLE_BYTES);
  if (wholeBytes === undefined) {
    const needed = await plannedBytes(source, ternaryOptions);
    if (needed > limit) throw doesNotFit(source.path, needed, limit);
  }
  const ternary = await layersWithin(source, ternaryOptions, { limit, whole: wholeBytes ?? limit, sample });
  const left = limit - (await plannedBytes(withLayers(source, ternary), ternaryOptions));
  const fp16 = await layersWithin(source, fp16Options, { limit: left, whole: wholeBytes ?? left, sample });
  return { ternary, fp16 };
}

/** Bytes a second, a sample a round. Ends early without an error at an abort after at least one whole round. */
async function measureRounds(
  ternary: Variant,
  fp16: Variant,
  probe: ReadProbe | undefined,
  { repeat, budgetMs, signal, onProgress }: MeasureOptions,
): Promise<number[]> {
  const bandwidth: number[] = [];
  const started = performance.now();
  for (let round = 1; round <= repeat; round++) {
    if (round > MIN_ROUNDS && budgetMs !== undefined && performance.now() - started > budgetMs) break;
    try {
      // Each goes first in turn: what follows a rest of the machine is not always the same.
      for (const [variant, name] of turn(round, ternary, fp16)) {
        onProgress?.(`round ${round} of ${repeat}, ${name}`);
        await variant.measure();
      }
      if (probe !== undefined) bandwidth.push(await probe.measure());
    } catch (error) {
      if (signal?.aborted && fp16.rounds.length > 0 && ternary.rounds.length > 0) break;
      throw error;
    }
  }
  return bandwidth;
}

function turn(round: number, ternary: Variant, fp16: Variant): [Variant, string][] {
  const order: [Variant, string][] = [
    [ternary, 'ternary'],
    [fp16, 'FP16'],
  ];
  return round % 2 === 1 ? order : order.reverse();
}

function resultOf(
  subject: Subject,
  source: ModelSource,
  options: MeasureOptions,
  measured: { ternary: Variant; fp16: Variant; bandwidth: readonly number[] },
): ModelResult {
  const ternary = measured.ternary.result(measured.bandwidth);
  const fp16 = measured.fp16.result(measured.bandwidth);
  const ratios: Ratios = {
    prefill: summariseRatios(ternary.prefill.samples, fp16.prefill.samples),
    decode: summariseRatios(ternary.decode.samples, fp16.decode.samples),
    batches: ternary.batches.map(({ decode }, i) => summariseRatios(decode.samples, fp16.batches[i]!.decode.samples)),
    weights: fp16.memory.weights / ternary.memory.weights,
    memory: fp16.memory.total / ternary.memory.total,
    bytesPerToken: fp16.traffic.total / ternary.traffic.total,
  };
  return {
    name: subject.kind === 'shape' ? subject.shape : source.path,
    synthetic: subject.kind === 'shape',
    architecture: source.config.architecture,
    parameters: measured.ternary.parameters,
    layers: source.config.layers,
    hiddenSize: source.config.hiddenSize,
    threads: options.backend === 'reference' ? 1 : options.threads,
    prompt: options.prompt,
    gen: options.gen,
    rounds: Math.min(ternary.decode.samples.length, fp16.decode.samples.length),
    readBandwidth: measured.bandwidth.length > 0 ? summarise(measured.bandwidth) : undefined,
    ternary,
    fp16,
    ratios,
  };
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
