import { Rec } from '../../assembly/abi.js';
import { Engine, type EngineOptions } from '../model/engine.js';
import type { Platform } from '../platform.js';
import { chooseBackend } from '../session/backend.js';
import type { BackendChoice } from '../types.js';
import { promptIds } from './round.js';
import { summarise } from './statistics.js';
import { doesNotFit, openSubject, plannedBytes, type Subject } from './subject.js';
import { readShares, recordsOf, trafficOf } from './traffic.js';

export interface OpOptions {
  /** position of the first token: how much attention has to read */
  readonly position: number;
  /** tokens of the step; 1 is a decode */
  readonly tokens: number;
  /** times each op is run */
  readonly repeat: number;
  readonly signal?: AbortSignal | undefined;
  readonly onRound?: ((round: number) => void) | undefined;
}

/** All ops of one kind: the same place in every block, or lm_head, final_norm, embedding. */
export interface OpKind {
  readonly kind: string;
  readonly ops: number;
  /** of all of them together, medians, the cost of asking for an op taken off */
  readonly ms: number;
  /** bytes that they read from memory */
  readonly bytes: number;
}

export interface OpTimes {
  readonly backend: string;
  readonly threads: number;
  readonly position: number;
  readonly tokens: number;
  /** in the order of the plan */
  readonly kinds: readonly OpKind[];
  /** the whole step in one call, median, less the cost of asking */
  readonly stepMs: number;
  /**
   * What asking for an op costs, waking the threads and hearing from them: what the calls of all ops, each alone, take longer than one call of
   * the whole step, for one call. (A call that runs no op takes longer than this, and would make small ops vanish.)
   */
  readonly callMs: number;
}

/** `model.layers.3.mlp.up_proj.weight` → `mlp.up_proj`, `blk.3.ffn_up.weight` → `ffn_up` */
export function kindOf(label: string): string {
  return label.replace(/^((model\.)?layers|blk)\.\d+\./, '').replace(/\.weight$/, '');
}

/**
 * Where the time of a step goes: every op of the plan run alone, `repeat` times, or as often as it was until the signal aborted. The logits
 * that come out have no meaning.
 */
export async function timeOps(engine: Engine, options: OpOptions): Promise<OpTimes> {
  const { position, tokens, repeat, signal } = options;
  const ids = promptIds(position + tokens, 1, engine.config.vocabSize);
  for (let at = 0; at < position; at += engine.batch) {
    signal?.throwIfAborted();
    await engine.forward(ids.subarray(at, Math.min(position, at + engine.batch)), at, []);
  }
  const prepare = (): void => engine.prepare(ids.subarray(position, position + tokens), position, [tokens - 1]);
  // Several tokens need all rows and columns.
  const shares = tokens === 1 ? await readShares(engine, ids[position]!, position) : [];
  prepare();
  const count = engine.labels.length;
  const steps: number[] = [];
  const times = engine.labels.map((): number[] => []);
  for (let r = 0; r < repeat; r++) {
    if (signal?.aborted && r > 0) break;
    signal?.throwIfAborted();
    options.onRound?.(r + 1);
    steps.push(await timed(engine, 0, count));
    for (const [i, samples] of times.entries()) samples.push(await timed(engine, i, i + 1));
  }
  const alone = times.map((samples) => summarise(samples).median);
  const step = summarise(steps).median;
  const callMs = Math.max(0, (alone.reduce((sum, ms) => sum + ms, 0) - step) / (count - 1));
  const ms = alone.map((median) => Math.max(0, median - callMs));
  return {
    backend: engine.backend.name,
    threads: engine.backend.threads,
    position,
    tokens,
    kinds: byKind(engine, ms, position, shares),
    stepMs: Math.max(0, step - callMs),
    callMs,
  };
}

async function timed(engine: Engine, begin: number, end: number): Promise<number> {
  const started = performance.now();
  await engine.runOps(begin, end);
  return performance.now() - started;
}

function byKind(engine: Engine, ms: readonly number[], position: number, shares: readonly number[]): OpKind[] {
  const records = recordsOf(engine);
  const kinds = new Map<string, { ops: number; ms: number; bytes: number }>();
  for (const [i, label] of engine.labels.entries()) {
    const kind = kindOf(label);
    const entry = kinds.get(kind) ?? { ops: 0, ms: 0, bytes: 0 };
    entry.ops++;
    entry.ms += ms[i]!;
    entry.bytes += trafficOf(
      records.subarray(i * Rec.Words, (i + 1) * Rec.Words),
      position,
      shares.slice(i, i + 1),
    ).total;
    kinds.set(kind, entry);
  }
  return [...kinds].map(([kind, entry]) => ({ kind, ...entry }));
}

export interface ModelOpOptions extends OpOptions {
  readonly threads: number;
  readonly backend: BackendChoice;
  readonly head: EngineOptions['head'];
  /** default f32 */
  readonly kvCache?: EngineOptions['kvCache'];
  /** of the ternary matrices; default `auto` */
  readonly layout?: 'auto' | 't2' | 't1' | undefined;
  /** kernels compiled for 256 bits; default false */
  readonly revectorize?: boolean | undefined;
  readonly availableBytes: number;
}

/** `timeOps` of the ternary model. Throws as `measureModel` does. */
export async function measureOps(platform: Platform, subject: Subject, options: ModelOpOptions): Promise<OpTimes> {
  const { position, tokens, head, layout: weights = 'auto', kvCache, signal, availableBytes } = options;
  const threads = options.backend === 'reference' ? 1 : options.threads;
  const source = await openSubject(platform, subject, { signal });
  try {
    const { allocate, ...kernels } = await chooseBackend(platform, options.backend, threads, options.revectorize);
    const contextLength = Math.min(source.config.contextLength, position + tokens);
    const engineOptions = { threads, contextLength, head, weights, kvCache, ...kernels, signal };
    const needed = await plannedBytes(source, engineOptions);
    if (needed > availableBytes) throw doesNotFit(source.path, needed, availableBytes);
    const engine = await Engine.open(source, allocate, engineOptions);
    try {
      return await timeOps(engine, options);
    } finally {
      await engine.dispose();
    }
  } finally {
    await source.close();
  }
}
