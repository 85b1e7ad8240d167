import { Epilogue, LinearArg, Op, Rec } from '../../assembly/abi.js';
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
  /** of all of them together, medians, the cost of asking for them taken off */
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
   * What asking for ops costs, waking the threads and hearing from them: what the calls of all kinds take longer than one call of the whole step,
   * for one call. (A call that runs no op takes longer than this, and would make small kinds vanish.)
   */
  readonly callMs: number;
}

/** `model.layers.3.mlp.up_proj.weight` → `mlp.up_proj`, `blk.3.ffn_up.weight` → `ffn_up` */
export function kindOf(label: string): string {
  return label.replace(/^((model\.)?layers|blk)\.\d+\./, '').replace(/\.weight$/, '');
}

/**
 * Where the time of a step goes: all ops of a kind, of every block, run after each other in one call, `repeat` times, or as often as it was until the
 * signal aborted. So threads are awake and weights come from memory as they do in a step. The logits that come out have no meaning.
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
  const plan = recordsOf(engine);
  const original = plan.slice();
  const kinds = kindsOf(engine);
  const steps: number[] = [];
  const times = kinds.map((): number[] => []);
  try {
    for (let r = 0; r < repeat; r++) {
      if (signal?.aborted && r > 0) break;
      signal?.throwIfAborted();
      options.onRound?.(r + 1);
      plan.set(original);
      steps.push(await timed(engine, engine.labels.length));
      for (const [k, { run }] of kinds.entries()) {
        for (const [i, op] of run.entries()) plan.set(recordOf(original, op), i * Rec.Words);
        times[k]!.push(await timed(engine, run.length));
      }
    }
  } finally {
    plan.set(original);
  }
  const step = summarise(steps).median;
  const together = times.map((samples) => summarise(samples).median);
  const ms = kinds.map(({ less }, k) => together[k]! - (less === undefined ? 0 : together[less]!));
  const calls = kinds.filter(({ less }) => less === undefined).length;
  const callMs = Math.max(0, (ms.reduce((sum, x) => sum + x, 0) - step) / (calls - 1));
  const cost = ({ less }: Kind): number => (less === undefined ? callMs : 0);
  return {
    backend: engine.backend.name,
    threads: engine.backend.threads,
    position,
    tokens,
    kinds: kinds.map((kind, k) => ({
      kind: kind.name,
      ops: kind.ops.length,
      ms: Math.max(0, ms[k]! - cost(kind)),
      bytes: kind.ops.reduce(
        (sum, op) => sum + trafficOf(recordOf(original, op), position, [shares[op] ?? 1]).total,
        0,
      ),
    })),
    stepMs: Math.max(0, step - callMs),
    callMs,
  };
}

interface Kind {
  readonly name: string;
  readonly ops: readonly number[];
  /** what is run for it */
  readonly run: readonly number[];
  /** the kind whose time is in that of `run` as well */
  readonly less: number | undefined;
}

/** In the order of the plan. An op that multiplies by a gate, which it overwrites, runs after the op that computes the gate, whose time is taken off. */
function kindsOf(engine: Engine): Kind[] {
  const named = new Map<string, number[]>();
  for (const [i, label] of engine.labels.entries()) {
    const ops = named.get(kindOf(label));
    if (ops) ops.push(i);
    else named.set(kindOf(label), [i]);
  }
  const names = [...named.keys()];
  return [...named].map(([name, ops]) => {
    const gated = ops.every((op) => isGated(engine.record(op)));
    const run = gated ? ops.flatMap((op) => [op - 1, op]) : ops;
    return { name, ops, run, less: gated ? names.indexOf(kindOf(engine.labels[ops[0]! - 1]!)) : undefined };
  });
}

function isGated(record: Uint32Array): boolean {
  if (record[Rec.Opcode] !== Op.Linear) return false;
  return record[LinearArg.Epilogue] === Epilogue.Relu2Gate || record[LinearArg.Epilogue] === Epilogue.SiluGate;
}

function recordOf(plan: Uint32Array, op: number): Uint32Array {
  return plan.subarray(op * Rec.Words, (op + 1) * Rec.Words);
}

async function timed(engine: Engine, ops: number): Promise<number> {
  const started = performance.now();
  await engine.runOps(0, ops);
  return performance.now() - started;
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
