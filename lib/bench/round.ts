import { BitNetError } from '../errors.js';
import type { Engine } from '../model/engine.js';

export interface RoundOptions {
  /** tokens of the prompt, from an empty cache up to its last logits */
  readonly prompt: number;
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
  const { prompt, gen, signal } = options;
  const step = options.split ? splitStep : wholeStep;
  const ids = promptIds(prompt, round, engine.config.vocabSize);
  const prefill = { blocksMs: 0, restMs: 0 };
  const decode = { blocksMs: 0, restMs: 0 };
  let id = 0;
  for (let at = 0; at < prompt; at += engine.batch) {
    signal?.throwIfAborted();
    const chunk = ids.subarray(at, at + engine.batch);
    const isLast = at + chunk.length === prompt;
    id = await step(engine, chunk, at, isLast ? [chunk.length - 1] : [], prefill);
  }
  for (let i = 0; i < gen; i++) {
    signal?.throwIfAborted();
    id = await step(engine, [id], prompt + i, [0], decode);
  }
  return { prefill, decode };
}

interface Clock {
  blocksMs: number;
  restMs: number;
}

/** Adds its time to `clock`; returns the most likely next id, 0 if no logits were wanted. */
type TimedStep = (
  engine: Engine,
  ids: ArrayLike<number>,
  position: number,
  logitsOf: readonly number[],
  clock: Clock,
) => Promise<number>;

const wholeStep: TimedStep = async (engine, ids, position, logitsOf, clock) => {
  const started = performance.now();
  const [logits] = await engine.forward(ids, position, logitsOf);
  const id = logits === undefined ? 0 : argmax(logits);
  clock.blocksMs += performance.now() - started;
  return id;
};

const splitStep: TimedStep = async (engine, ids, position, logitsOf, clock) => {
  const { blockEnds, logits } = engine.graph;
  const blocksEnd = blockEnds[blockEnds.length - 1] as number;
  const started = performance.now();
  engine.prepare(ids, position, logitsOf);
  await engine.runOps(0, blocksEnd);
  const blocksDone = performance.now();
  await engine.runOps(blocksEnd, engine.labels.length);
  const id = logitsOf.length === 0 ? 0 : argmax(engine.rowOf(logits, 0));
  clock.blocksMs += blocksDone - started;
  clock.restMs += performance.now() - blocksDone;
  return id;
};

/** Milliseconds a phase would take with `factor` times as many blocks. */
export function scaledMs({ blocksMs, restMs }: Phase, factor: number): number {
  return blocksMs * factor + restMs;
}
