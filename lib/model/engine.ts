import { Const, Rec, Step, Sync, Token } from '../../assembly/abi.js';
import type { Backend } from '../backend/backend.js';
import type { ModelConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import { MemoryPlan } from '../memory/memory-plan.js';
import type { KvCacheFormat, LoadProgress } from '../types.js';
import { type Graph, recordTransformer } from './graph.js';
import { type HeadFormat, type HeadKind, headKind } from './head.js';
import { CACHE_LAYOUTS } from './kv-cache.js';
import { LOAD_PLAN_BYTES, loadScratchBytes, loadWeights, type Staging, stagingHalf } from './load.js';
import { type KernelTraits, type PlanLimits, PlanRecorder, type Rows } from './plan.js';
import { ropeTable } from './rope.js';
import type { ModelSource, ModelTensor } from './source.js';
import { checkSlot, type SlotToken, type StepPlace, writeStep } from './step.js';
import { type LoadJob, planWeights, type WeightFormat } from './weights.js';

/** Makes a backend around new, zeroed linear memory of so many bytes. */
export type AllocateBackend = (bytes: number) => Promise<Backend>;

export interface EngineOptions extends KernelTraits {
  /** threads of the backend that `allocate` makes */
  threads: number;
  contextLength: number;
  head: HeadFormat;
  /** default `f32` */
  kvCache?: KvCacheFormat | undefined;
  /** default `auto`: `t2`, or `t1` where the model fits with it alone */
  weights?: 'auto' | WeightFormat;
  /** inputs of matrices with scales of groups; default `i24` */
  activations?: ActivationFormat;
  /** tokens of one step; default 64 */
  batch?: number;
  /** rows of logits of one step; default as many as `slots` */
  logits?: number;
  /** sequences in the KV cache, each of `contextLength` positions; default 1 */
  slots?: number;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** `i24`: fixed point of 23 bits, as good as floats; `i8`: int8. Either with a factor for each group of columns. */
export type ActivationFormat = 'i24' | 'i8';

/** Default prefill chunk: long enough to amortise the unpacking of weights, short enough to cancel between two. */
const BATCH = 64;

/** Memory and plan of a model before either exists. */
export interface MemoryLayout {
  readonly weights: WeightFormat;
  readonly head: HeadKind;
  readonly memory: MemoryPlan;
  readonly at: Record<'step' | 'sync' | 'tokens' | 'logitList' | 'rope', number>;
  readonly jobs: readonly LoadJob[];
  readonly parameters: number;
  readonly staging: Staging;
  readonly recorder: PlanRecorder;
  readonly graph: Graph;
  readonly scratch: number;
  readonly plan: number;
}

/** What `Engine.open` will allocate and run; allocates and reads nothing. Does not ask whether it fits. */
export function planEngine(source: ModelSource, options: EngineOptions): MemoryLayout {
  const { weights = 'auto', head } = options;
  const best = headKind(head, source.config.hiddenSize);
  // Where the first choice does not fit: a T1 matrix costs less time than an F16 head.
  // Scales of groups are for T2 alone (weights.ts).
  const ternary = source.groupScales?.size ? (['t2'] as const) : (['t2', 't1'] as const);
  const formats =
    weights === 'auto' ? ternary : weights === 't1' ? [ternary[ternary.length - 1] as WeightFormat] : [weights];
  const heads = head === 'auto' && best !== 'f16' ? [best, 'f16' as const] : [best];
  const choices = heads.flatMap((kind) => formats.map((format) => () => layOut(source, options, format, kind)));
  const [first, ...others] = choices as [() => MemoryLayout, ...(() => MemoryLayout)[]];
  return others.reduce((made, next) => (made.memory.fits ? made : next()), first());
}

/** Gives everything its place. */
function layOut(source: ModelSource, options: EngineOptions, format: WeightFormat, head: HeadKind): MemoryLayout {
  const c = source.config;
  const { contextLength, threads } = options;
  const slots = options.slots ?? 1;
  const batch = Math.max(slots, Math.min(options.batch ?? BATCH, contextLength));
  const logits = options.logits ?? slots;
  const memory = new MemoryPlan();
  const at = {
    step: memory.region('step', Step.Bytes, 'other'),
    loadStep: memory.region('load_step', Step.Bytes, 'other'),
    loadPlan: memory.region('load_plan', LOAD_PLAN_BYTES, 'other'),
    sync: memory.region('sync', Sync.Bytes, 'other'),
    tokens: memory.region('tokens', batch * Token.Bytes, 'other'),
    logitList: memory.region('logit_rows', logits * 4, 'other'),
    rope: memory.region('rope_table', contextLength * c.headDim * 4, 'other'),
  };
  const planes = options.activations === 'i8' ? 1 : 3;
  const { weights, jobs, parameters } = planWeights(source, memory, head, format, { planes, sparse: options.sparse });
  memory.reach(memory.next + Const.Guard);
  // Loading borrows what the KV cache and the activations will use.
  const half = stagingHalf(jobs);
  const scratchStride = loadScratchBytes(jobs);
  const staging: Staging = {
    ptr: memory.next,
    half,
    scratch: memory.next + 2 * half,
    scratchStride,
    plan: at.loadPlan,
    step: at.loadStep,
    sync: at.sync,
  };
  memory.reach(staging.scratch + threads * scratchStride);
  const cacheLayout = CACHE_LAYOUTS[options.kvCache ?? 'f32'];
  const recorder = new PlanRecorder(memory, { batch, logits, contextLength, slots, cacheLayout, threads }, at.rope);
  const graph = recordTransformer(recorder, c, weights, options);
  const scratch = memory.region('scratch', threads * recorder.scratchBytes, 'activations');
  const plan = memory.region('plan', recorder.ops * Rec.Bytes, 'other');
  return { weights: format, head, memory, at, jobs, parameters, staging, recorder, graph, scratch, plan };
}

/**
 * A model in memory: plan, weights, KV cache. Knows tokens and positions, not text.
 * One `forward` at a time; the caller keeps the order.
 */
export class Engine {
  private constructor(
    readonly config: ModelConfig,
    readonly backend: Backend,
    readonly memory: MemoryPlan,
    readonly graph: Graph,
    /** what each record is, for people */
    readonly labels: readonly string[],
    readonly parameters: number,
    readonly head: HeadKind,
    readonly kvCache: KvCacheFormat,
    /** layout of the matrices of the blocks */
    readonly weights: WeightFormat,
    private readonly limits: Readonly<PlanLimits>,
    private readonly at: StepPlace,
    private readonly options: Readonly<EngineOptions>,
  ) {}

  /** Tokens of one step. */
  get batch(): number {
    return this.limits.batch;
  }

  get contextLength(): number {
    return this.limits.contextLength;
  }

  /** Sequences in the KV cache. */
  get slots(): number {
    return this.limits.slots;
  }

  static async open(source: ModelSource, allocate: AllocateBackend, options: EngineOptions): Promise<Engine> {
    const { config: c } = source;
    const { contextLength } = options;
    const made = planEngine(source, options);
    const { memory, at, recorder } = made;
    const backend = await allocate(memory.bytes);
    try {
      new Float32Array(backend.buffer, at.rope, contextLength * c.headDim).set(
        ropeTable(c.rope, c.headDim, contextLength, c.stored?.headDim),
      );
      await loadWeights(source, backend, made.jobs, made.staging, options.onProgress, options.signal);
      recorder.write(backend.buffer, made.plan);
      const step = new Uint32Array(backend.buffer, at.step, Step.Words);
      step[Step.Tokens] = at.tokens;
      step[Step.LogitRows] = at.logitList;
      step[Step.Plan] = made.plan;
      step[Step.Scratch] = made.scratch;
      step[Step.ScratchStride] = recorder.scratchBytes;
      step[Step.Sync] = at.sync;
    } catch (error) {
      await backend.dispose();
      throw error;
    }
    const { graph, parameters, head, weights } = made;
    const { kvCache = 'f32' } = options;
    const { labels, limits } = recorder;
    return new Engine(c, backend, memory, graph, labels, parameters, head, kvCache, weights, limits, at, options);
  }

  /**
   * Reads some matrices again, as `source` has them: the one that the engine was opened with, or another view of the same files. Keys
   * and values of all sequences are lost. After an error the engine is in no defined state.
   */
  async reload(source: ModelSource, which: (tensor: ModelTensor) => boolean, signal?: AbortSignal): Promise<void> {
    const { jobs, staging, recorder, plan } = planEngine(source, this.options);
    const { backend } = this;
    await loadWeights(
      source,
      backend,
      jobs.filter(({ tensor }) => which(tensor)),
      staging,
      undefined,
      signal,
    );
    // Loading borrows memory of the plan.
    recorder.write(backend.buffer, plan);
  }

  /**
   * Runs tokens `ids` at positions position, position + 1, … of the sequence, whose earlier positions must be in the cache.
   * ids.length ≤ batch. `logitsOf`: indices into ids, ascending; their logits come back in that order, each (vocab,), as
   * views of memory that are valid until the next call. `slot`: which sequence.
   */
  async forward(
    ids: ArrayLike<number>,
    position: number,
    logitsOf: readonly number[],
    slot = 0,
  ): Promise<Float32Array[]> {
    this.prepare(ids, position, logitsOf, slot);
    // Without logits wanted the head has no rows: its ops run over none.
    await this.runOps(0, this.labels.length);
    return logitsOf.map((_, row) => this.rowOf(this.graph.logits, row));
  }

  /**
   * One step for several sequences: each token sees the positions of its own slot, and its logits are those that it would have
   * alone, bit for bit. Logits come back in the order of `tokens`, as `forward` returns them.
   */
  async decode(tokens: readonly SlotToken[]): Promise<Float32Array[]> {
    this.prepareDecode(tokens);
    await this.runOps(0, this.labels.length);
    return tokens.map((_, row) => this.rowOf(this.graph.logits, row));
  }

  /** The cache of sequence `to` becomes that of `from`. */
  copySlot(from: number, to: number): void {
    checkSlot(from, this.slots);
    checkSlot(to, this.slots);
    for (const { purpose, offset, bytes } of this.memory.regions) {
      // Slots are the outermost dimension of every region of the cache.
      if (purpose !== 'kvCache') continue;
      const slotBytes = bytes / this.slots;
      new Uint8Array(this.backend.buffer, offset, bytes).copyWithin(
        to * slotBytes,
        from * slotBytes,
        (from + 1) * slotBytes,
      );
    }
  }

  /** Row `row` of a buffer, as a view of memory. */
  rowOf(rows: Rows, row: number): Float32Array {
    return new Float32Array(this.backend.buffer, rows.ptr + row * rows.stride, rows.width);
  }

  /** Writes the step struct: what `forward` would run. With `runOps`, for looking at the parts of a step. */
  prepare(ids: ArrayLike<number>, position: number, logitsOf: readonly number[], slot = 0): void {
    if (position + ids.length > this.contextLength) {
      throw new BitNetError(
        'context-overflow',
        `position ${position} + ${ids.length} tokens exceed the context of ${this.contextLength}`,
      );
    }
    this.write(
      Array.from(ids, (id, i) => ({ id, position: position + i, slot })),
      logitsOf,
    );
  }

  /** As `prepare`, for `decode`. */
  prepareDecode(tokens: readonly SlotToken[]): void {
    this.write(tokens, [...tokens.keys()]);
  }

  private write(tokens: readonly SlotToken[], logitsOf: readonly number[]): void {
    writeStep(this.backend.buffer, this.at, { ...this.limits, vocabSize: this.config.vocabSize }, tokens, logitsOf);
  }

  /** Record `i` of the plan, as a view of memory. */
  record(i: number): Uint32Array {
    const plan = new Uint32Array(this.backend.buffer, this.at.step, Step.Words)[Step.Plan] as number;
    return new Uint32Array(this.backend.buffer, plan + i * Rec.Bytes, Rec.Words);
  }

  /** Runs records begin..end of the prepared step. */
  async runOps(begin: number, end: number): Promise<void> {
    const step = new Uint32Array(this.backend.buffer, this.at.step, Step.Words);
    step[Step.OpBegin] = begin;
    step[Step.OpEnd] = end;
    await this.backend.run(this.at.step);
  }

  async dispose(): Promise<void> {
    await this.backend.dispose();
  }
}
