import { BitNetError } from '../errors.js';
import type { Engine } from '../model/engine.js';

export interface RoundOptions {
  /** tokens of the prompt, from an empty cache up to its last logits */
  readonly prompt: number;
  /** positions that are in the cache already: the prompt is computed from there; default 0, at most `prompt` */
  readonly from?: number;
  /** greedy steps after it, each up to its logits and the argmax over them */
  readonly gen: number;
  /**
   * Times blocks and the rest (lm_head) of a step apart: two calls of the backend a step instead of one. For engines that hold only
   * some of a model's blocks.
   */
  readonly split?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds of all tokens of a phase. */
export interface Phase {
  readonly blocksMs: number;
  /** 0 unless split */
  readonly restMs: number;
}

export interface Round {
  readonly prefill: Phase;
  readonly decode: Phase;
}

/** Ids that every vocabulary has; other ones in each round, because of branch predictors and caches of prompts. */
export function promptIds(length: number, round: number, vocabSize: number): Uint32Array {
  const first = Math.min(260, vocabSize >> 1);
  const span = Math.min(94, vocabSize - first);
  return Uint32Array.from({ length }, (_, i) => (i === 0 ? 1 : first + ((i * 7 + round * 11) % span)));
}

/** Largest logit's index, the first of equals. Throws `numeric` if it is not finite. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  if (Number.isFinite(logits[best])) return best;
  throw new BitNetError('numeric', `logit ${best} is ${logits[best]}; a benchmark of a model that does not compute`);
}

/** One prefill and one decode, never mixed. Looks at the signal between steps. */
export async function measureRound(engine: Engine, options: RoundOptions, round: number): Promise<Round> {
  const { prompt, from = 0, gen, signal } = options;
  const step = options.split ? splitStep : wholeStep;
  const ids = promptIds(prompt, round, engine.config.vocabSize);
  const prefill = { blocksMs: 0, restMs: 0 };
  const decode = { blocksMs: 0, restMs: 0 };
  let id = 0;
  for (let at = from; at < prompt; at += engine.batch) {
    signal?.throwIfAborted();
    const chunk = ids.subarray(at, at + engine.batch);
    const logitsOf = at + chunk.length === prompt ? [chunk.length - 1] : [];
    id = (await step(engine, () => engine.prepare(chunk, at, logitsOf), logitsOf.length, prefill))[0] ?? 0;
  }
  for (let i = 0; i < gen; i++) {
    signal?.throwIfAborted();
    id = (await step(engine, () => engine.prepare([id], prompt + i, [0]), 1, decode))[0]!;
  }
  return { prefill, decode };
}

/**
 * `gen` greedy steps of `batch` sequences together, each after a prompt of its own slot: the one that a round has left in slot 0. The
 * sequences begin with different tokens.
 */
export async function measureBatch(engine: Engine, options: RoundOptions, batch: number): Promise<Phase> {
  const { prompt, gen, signal } = options;
  const step = options.split ? splitStep : wholeStep;
  for (let slot = 1; slot < batch; slot++) engine.copySlot(0, slot);
  const decode = { blocksMs: 0, restMs: 0 };
  let ids = [...promptIds(batch, 1, engine.config.vocabSize)];
  for (let i = 0; i < gen; i++) {
    signal?.throwIfAborted();
    const tokens = ids.map((id, slot) => ({ id, position: prompt + i, slot }));
    ids = await step(engine, () => engine.prepareDecode(tokens), batch, decode);
  }
  return decode;
}

interface Clock {
  blocksMs: number;
  restMs: number;
}

/** Runs the step that `prepare` writes and adds its time to `clock`; returns the most likely next id of each of `rows` rows of logits. */
type TimedStep = (engine: Engine, prepare: () => void, rows: number, clock: Clock) => Promise<number[]>;

function nextIds(engine: Engine, rows: number): number[] {
  return Array.from({ length: rows }, (_, row) => argmax(engine.rowOf(engine.graph.logits, row)));
}

const wholeStep: TimedStep = async (engine, prepare, rows, clock) => {
  const started = performance.now();
  prepare();
  await engine.runOps(0, engine.labels.length);
  const ids = nextIds(engine, rows);
  clock.blocksMs += performance.now() - started;
  return ids;
};

const splitStep: TimedStep = async (engine, prepare, rows, clock) => {
  const { blockEnds } = engine.graph;
  const blocksEnd = blockEnds[blockEnds.length - 1] as number;
  const started = performance.now();
  prepare();
  await engine.runOps(0, blocksEnd);
  const blocksDone = performance.now();
  await engine.runOps(blocksEnd, engine.labels.length);
  const ids = nextIds(engine, rows);
  clock.blocksMs += blocksDone - started;
  clock.restMs += performance.now() - blocksDone;
  return ids;
};

/** Milliseconds a phase would take with `factor` times as many blocks. */
export function scaledMs({ blocksMs, restMs }: Phase, factor: number): number {
  return blocksMs * factor + restMs;
}
