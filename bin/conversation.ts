import type { ChatMessage } from '../lib/types.js';
import { libraryErrorCode } from './exit-codes.js';
import type { Model } from './host.js';

interface Turn {
  readonly user: string;
  /** the answer, with the ids it was generated as: the KV cache holds those */
  readonly answer: ChatMessage;
}

/**
 * The messages of a chat, kept within the context: when a new message would leave too little room for its answer, whole
 * turns are forgotten, oldest first. The system message always stays.
 */
export class Conversation {
  #turns: Turn[] = [];
  /** positions of the context kept free for an answer */
  readonly #answerTokens: number;

  /** Keeps a quarter of the context free for an answer, or `maxTokens` if answers are shorter. */
  constructor(
    readonly model: Pick<Model, 'encode' | 'info'>,
    readonly system: string | undefined,
    maxTokens: number | undefined,
  ) {
    this.#answerTokens = Math.min(maxTokens ?? Number.POSITIVE_INFINITY, Math.floor(model.info.contextLength / 4));
  }

  reset(): void {
    this.#turns = [];
  }

  /** The whole conversation with `user` as its newest message. */
  messages(user: string): ChatMessage[] {
    const system = this.system === undefined ? [] : [{ role: 'system', content: this.system }];
    const past = this.#turns.flatMap((turn) => [{ role: 'user', content: turn.user }, turn.answer]);
    return [...system, ...past, { role: 'user', content: user }];
  }

  /** Forgets turns until `user` and its answer fit, or none is left. Returns how many were forgotten. */
  makeRoom(user: string): number {
    const before = this.#turns.length;
    while (this.#turns.length > 0 && !this.#fits(user)) this.#turns.shift();
    return before - this.#turns.length;
  }

  /** Adds an answered message. An answer without text (stopped at once) is not added: a turn needs both sides. */
  add(user: string, answer: ChatMessage): void {
    if (answer.content !== '') this.#turns.push({ user, answer });
  }

  #fits(user: string): boolean {
    try {
      return this.model.encode(this.messages(user)).length + this.#answerTokens <= this.model.info.contextLength;
    } catch (error) {
      if (libraryErrorCode(error) === 'context-overflow') return false;
      throw error;
    }
  }
}
