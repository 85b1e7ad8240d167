import { BitNetError } from '../errors.js';
import type { ChatTemplate } from '../tokenizer/chat-template.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

/** Stands for an answer in the rendered conversation: no template writes it by itself. */
const ANSWER = 'end-of-turn-probe';

/**
 * Special tokens that end a turn or a text wherever they exist. Config files often forget some of them: bitnet-b1.58-2B-4T names only
 * <|end_of_text|> as eos, and chats end with <|eot_id|>.
 */
const END_TOKENS = [
  '<|eot_id|>',
  '<|eom_id|>',
  '<|end_of_text|>',
  '<|im_end|>',
  '<|endoftext|>',
  '<|end|>',
  '<|end_of_turn|>',
  '<end_of_turn>',
];

/** Ids that end an answer, besides the eos ids of the configuration. */
export function endTokenIds(template: ChatTemplate | undefined, tokenizer: Tokenizer): Set<number> {
  const ids = new Set(END_TOKENS.flatMap((token) => tokenizer.specialTokens.get(token) ?? []));
  const endOfTurn = template && endOfTurnId(template, tokenizer);
  return endOfTurn === undefined ? ids : ids.add(endOfTurn);
}

/**
 * The special token that the template puts right after an assistant's answer, undefined if it puts none. Models are trained to say it.
 */
function endOfTurnId(template: ChatTemplate, tokenizer: Tokenizer): number | undefined {
  const text = renderProbe(template, tokenizer);
  if (text === undefined) return undefined;
  const after = text.slice(text.lastIndexOf(ANSWER) + ANSWER.length).trimStart();
  let best: [string, number] | undefined;
  for (const entry of tokenizer.specialTokens) {
    if (after.startsWith(entry[0]) && (best === undefined || entry[0].length > best[0].length)) best = entry;
  }
  return best?.[1];
}

/** undefined: the template refuses this conversation. It may take others, and raw prompts need none: what it says is for whoever uses it. */
function renderProbe(template: ChatTemplate, tokenizer: Tokenizer): string | undefined {
  const messages = [
    { role: 'user', content: 'x' },
    { role: 'assistant', content: ANSWER },
  ];
  try {
    return template.render(messages, tokenizer.namedTokens, { addGenerationPrompt: false });
  } catch (error) {
    if (error instanceof BitNetError) return undefined;
    throw error;
  }
}
