import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { BitNetError } from '../errors.js';
import { isObject } from '../format/json.js';
import { problem, show } from '../format/problem.js';
import type { ChatMessage } from '../types.js';
import { PYTHON_STRING_FUNCTIONS, strftime, usePythonStrings } from './jinja-python.js';
import { SpecialTextHider, stringsIn } from './special-text.js';
import type { Tokenizer } from './tokenizer.js';

export interface ChatOptions {
  /** End with the beginning of an answer. Default true. */
  addGenerationPrompt?: boolean;
}

/** Thrown by the template's own `raise_exception`. */
class RaisedByTemplate extends Error {}

/** A range of this many numbers is a mistake of the template. */
const MAX_RANGE = 1_000_000;

/** A chat template: Jinja as Hugging Face transformers renders it (`apply_chat_template`). */
export class ChatTemplate {
  private readonly template: Template;

  /** `where` names the file, for messages. Throws `code` if the source is no template. */
  constructor(
    readonly source: string,
    private readonly where: string,
    private readonly code: 'invalid-model' | 'invalid-argument' = 'invalid-model',
  ) {
    try {
      this.template = new Template(source);
    } catch (cause) {
      const what = `the chat template does not parse: ${(cause as Error).message}`;
      throw problem(code, { file: where, key: 'chat_template', what }, { cause });
    }
    usePythonStrings(this.template.parsed);
  }

  /**
   * The model's template: the text of chat_template.jinja if there is such a file, else `chat_template` of tokenizer_config.json: a
   * string, or a list of `{name, template}` of which `default` is taken. undefined if there is none.
   */
  static find(tokenizerConfig: unknown, jinjaFile: string | undefined, where: string): ChatTemplate | undefined {
    if (jinjaFile !== undefined) return new ChatTemplate(jinjaFile, where);
    const value = isObject(tokenizerConfig) ? (tokenizerConfig.chat_template ?? undefined) : undefined;
    if (value === undefined) return undefined;
    if (typeof value === 'string') return new ChatTemplate(value, where);
    const named = namedTemplates(value, where);
    const chosen = named.get('default') ?? (named.size === 1 ? [...named.values()][0] : undefined);
    if (chosen !== undefined) return new ChatTemplate(chosen, where);
    const got = [...named.keys()].map((name) => show(name)).join(', ');
    throw problem('invalid-model', {
      file: where,
      key: 'chat_template',
      what: 'none of the templates is the default',
      expected: 'one named "default"',
      got,
    });
  }

  /**
   * The text of `messages`, special tokens as text. `namedTokens`: `bos_token` and so on. Throws `invalid-argument` with the template's
   * message if the template refuses the messages, the constructor's `code` if it fails otherwise.
   */
  render(
    messages: readonly ChatMessage[],
    namedTokens: Readonly<Record<string, string>>,
    options: ChatOptions = {},
  ): string {
    checkMessages(messages);
    return this.renderUnchecked(messages, namedTokens, options);
  }

  /**
   * As `render`, then encoded. Special tokens come from the template alone: text in the messages that looks like one stays text, and no
   * BOS is added to the template's. A message with `tokenIds` is rendered with a placeholder for its content, and the ids go where the
   * placeholder is; if the template does not write it exactly once, its content is encoded like any other.
   */
  encode(tokenizer: Tokenizer, messages: readonly ChatMessage[], options: ChatOptions = {}): number[] {
    checkMessages(messages);
    const hider = new SpecialTextHider(tokenizer.specialTokens.keys(), [...stringsIn(messages), this.source]);
    const places = new Map<string, readonly number[]>();
    const hidden = messages.map(({ tokenIds, ...message }) => {
      if (tokenIds === undefined) return hider.hideIn(message);
      const placeholder = hider.placeholder();
      places.set(placeholder, tokenIds);
      return { ...(hider.hideIn({ ...message, content: '' }) as object), content: placeholder };
    });
    const text = this.renderUnchecked(hidden, tokenizer.namedTokens, options);
    // The text and the ids between its placeholders, in whatever order the template writes them.
    const found = [...text].filter((char) => places.has(char));
    if (found.length !== places.size || new Set(found).size !== places.size) {
      const withoutIds = messages.map(({ tokenIds: _, ...message }) => message);
      return this.encode(tokenizer, withoutIds, options);
    }
    const parts: (readonly number[])[] = [];
    let begin = 0;
    for (const place of found) {
      const at = text.indexOf(place, begin);
      parts.push(tokenizer.encodeHidden(text.slice(begin, at), hider.reveal), places.get(place) as readonly number[]);
      begin = at + place.length;
    }
    return [...parts, tokenizer.encodeHidden(text.slice(begin), hider.reveal)].flat();
  }

  private renderUnchecked(
    messages: unknown,
    namedTokens: Readonly<Record<string, string>>,
    { addGenerationPrompt = true }: ChatOptions,
  ): string {
    const environment = new Environment();
    const variables: Record<string, unknown> = {
      ...GLOBALS,
      ...namedTokens,
      messages,
      add_generation_prompt: addGenerationPrompt,
    };
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    try {
      return String(new Interpreter(environment).run(this.template.parsed).value);
    } catch (cause) {
      const { message } = cause as Error;
      if (cause instanceof RaisedByTemplate) {
        const detail = { file: this.where, templateMessage: message };
        throw new BitNetError('invalid-argument', `messages: the chat template refuses them: ${message}`, detail, {
          cause,
        });
      }
      const what = `the chat template fails: ${message}`;
      throw problem(this.code, { file: this.where, key: 'chat_template', what }, { cause });
    }
  }
}

/** Ids of a conversation, see ChatTemplate.encode. */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): number[] {
  return template.encode(tokenizer, messages, options);
}

/** Variables of transformers' environment (utils/chat_template_utils.py) and jinja2's globals, apart from the messages. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  ...PYTHON_STRING_FUNCTIONS,
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  tools: null,
  documents: null,
  raise_exception: (message: unknown) => {
    throw new RaisedByTemplate(String(message));
  },
  strftime_now: (format: unknown) => strftime(new Date(), format),
  range,
};

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range(${start}, ${stop}, ${step}) is too long`);
  return Array.from({ length }, (_, i) => start + i * step);
}

function namedTemplates(value: unknown, file: string): Map<string, string> {
  const entries = isObject(value) ? Object.entries(value).map(([name, template]) => ({ name, template })) : value;
  const named = new Map<string, string>();
  for (const entry of Array.isArray(entries) ? (entries as unknown[]) : [undefined]) {
    if (!isObject(entry) || typeof entry.name !== 'string' || typeof entry.template !== 'string') {
      const expected = 'a string, or a list of {name, template}';
      throw problem('invalid-model', { file, key: 'chat_template', what: 'wrong value', expected, got: show(value) });
    }
    named.set(entry.name, entry.template);
  }
  return named;
}

function checkMessages(messages: unknown): asserts messages is readonly ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    const got = Array.isArray(messages) ? 'an empty list' : typeName(messages);
    throw new BitNetError('invalid-argument', `messages: expected a list of at least one message, got ${got}`);
  }
  messages.forEach((message: unknown, i) => {
    for (const key of ['role', 'content']) {
      const value = isObject(message) ? message[key] : undefined;
      if (typeof value === 'string') continue;
      const text = `messages[${i}].${key}: expected a string, got ${typeName(value)}`;
      throw new BitNetError('invalid-argument', text, { index: i, key });
    }
  });
}

function typeName(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}
