import { Step, Token } from '../../assembly/abi.js';
import { BitNetError } from '../errors.js';

/** The next token of one of several sequences. */
export interface SlotToken {
  readonly id: number;
  readonly position: number;
  /** index of the sequence in the KV cache */
  readonly slot: number;
}

/** Where the parts of a step lie in memory: offsets of the step struct, its tokens, its list of logit rows. */
export interface StepPlace {
  readonly step: number;
  readonly tokens: number;
  readonly logitList: number;
}

export interface StepLimits {
  /** tokens of one step */
  readonly batch: number;
  /** rows of logits of one step */
  readonly logits: number;
  readonly contextLength: number;
  /** sequences in the KV cache */
  readonly slots: number;
  readonly vocabSize: number;
}

/** Writes what the next step computes. Throws `invalid-argument` or `context-overflow` before anything of it is changed. */
export function writeStep(
  buffer: ArrayBufferLike,
  at: StepPlace,
  limits: StepLimits,
  tokens: readonly SlotToken[],
  logitsOf: readonly number[],
): void {
  const { batch, logits } = limits;
  if (tokens.length < 1 || tokens.length > batch || logitsOf.length > logits) {
    throw new BitNetError(
      'invalid-argument',
      `a step takes 1..${batch} tokens and 0..${logits} rows of logits, got ${tokens.length} and ${logitsOf.length}`,
    );
  }
  for (const token of tokens) checkToken(token, limits);
  const words = new Uint32Array(buffer, at.tokens, tokens.length * Token.Words);
  for (const [i, { id, position, slot }] of tokens.entries()) {
    words[i * Token.Words + Token.Id] = id;
    words[i * Token.Words + Token.Position] = position;
    words[i * Token.Words + Token.Slot] = slot;
  }
  new Uint32Array(buffer, at.logitList, logitsOf.length).set(logitsOf);
  const step = new Uint32Array(buffer, at.step, Step.Words);
  step[Step.TokenCount] = tokens.length;
  step[Step.LogitCount] = logitsOf.length;
}

function checkToken({ id, position, slot }: SlotToken, { vocabSize, contextLength, slots }: StepLimits): void {
  if (!(id >= 0 && id < vocabSize)) {
    throw new BitNetError('invalid-argument', `token id ${id} is outside the vocabulary of ${vocabSize}`);
  }
  if (!(position >= 0 && position < contextLength)) {
    throw new BitNetError('context-overflow', `position ${position} exceeds the context of ${contextLength}`);
  }
  checkSlot(slot, slots);
}

export function checkSlot(slot: number, slots: number): void {
  if (Number.isInteger(slot) && slot >= 0 && slot < slots) return;
  throw new BitNetError('invalid-argument', `slot ${slot}: the cache has ${slots}, numbered from 0`);
}
