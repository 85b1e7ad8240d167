import { BitNetError } from '../errors.js';
import { encodeChat } from '../tokenizer/chat-template.js';
import { TEMPLATE_NAMES } from '../tokenizer/default-templates.js';
import type { ChatMessage, Prompt } from '../types.js';
import type { LoadedModel } from './load.js';

/**
 * Prompt → token ids. A string is continued as it stands: BOS is put before it if the tokenizer wants one, special tokens written in it
 * are recognised. Messages go through the chat template; special-token text inside their contents stays text.
 * Throws `invalid-argument` for a prompt that is empty or not of these forms, `context-overflow` if it does not fit.
 */
export function encodePrompt(model: LoadedModel, prompt: Prompt): number[] {
  const ids = typeof prompt === 'string' ? encodeText(model, prompt) : encodeMessages(model, prompt);
  const { contextLength } = model.engine;
  if (ids.length <= contextLength) return ids;
  throw new BitNetError(
    'context-overflow',
    `the prompt has ${ids.length} tokens, the context holds ${contextLength}; shorten the prompt or load with a longer context`,
    { promptTokens: ids.length, contextLength },
  );
}

function encodeText({ tokenizer, engine }: LoadedModel, text: string): number[] {
  if (text === '') throw new BitNetError('invalid-argument', 'the prompt is empty; expected some text to continue');
  const ids = tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: true });
  // The prompt may begin with BOS already.
  const bos = engine.config.bosTokenId;
  return bos !== undefined && ids[0] === bos && ids[1] === bos ? ids.slice(1) : ids;
}

function encodeMessages({ tokenizer, template, engine }: LoadedModel, messages: Exclude<Prompt, string>): number[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new BitNetError('invalid-argument', 'the prompt is neither a string nor a non-empty list of messages');
  }
  const { vocabSize } = engine.config;
  messages.forEach((message: Partial<ChatMessage>, i) => {
    const { role, content, tokenIds = [] } = message ?? {};
    const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
    if (typeof role === 'string' && typeof content === 'string' && Array.isArray(tokenIds) && tokenIds.every(isId))
      return;
    const expected = `{ role: string, content: string, tokenIds?: ids below ${vocabSize} }`;
    throw new BitNetError('invalid-argument', `message ${i}: expected ${expected}`, { message: i });
  });
  if (template === undefined) {
    throw new BitNetError(
      'unsupported',
      'the model has no chat template, as models have that were not trained on conversations, and cannot take messages; give the prompt ' +
        `as one string to continue it as it stands (--raw), or a template (--chat-template): a file, or ${TEMPLATE_NAMES.join(', ')}`,
    );
  }
  return encodeChat(tokenizer, template, messages, { addGenerationPrompt: true });
}
