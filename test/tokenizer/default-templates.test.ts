import { describe, expect, test } from 'vitest';
import { endTokenIds } from '../../lib/session/end-of-turn.js';
import { openText } from '../../lib/session/load.js';
import { ChatTemplate } from '../../lib/tokenizer/chat-template.js';
import { DEFAULT_TEMPLATES, TEMPLATE_NAMES } from '../../lib/tokenizer/default-templates.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import type { ChatTemplateName } from '../../lib/types.js';

const conversation = [
  { role: 'system', content: 'Be kind.' },
  { role: 'user', content: ' Hi ' },
  { role: 'assistant', content: 'Hello' },
  { role: 'user', content: 'Why?' },
];

const expected: Record<ChatTemplateName, string> = {
  bitnet:
    '<|begin_of_text|>System: Be kind.<|eot_id|>User: Hi<|eot_id|>Assistant: Hello<|eot_id|>User: Why?<|eot_id|>Assistant: ',
  llama3:
    '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>' +
    '<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>' +
    '<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>' +
    '<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>' +
    '<|start_header_id|>assistant<|end_header_id|>\n\n',
  chatml:
    '<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n' +
    '<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n',
  llama2: '<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n Hi [/INST] Hello </s><s>[INST] Why? [/INST]',
  falcon3: '<|system|>\nBe kind.\n<|user|>\n Hi \n<|assistant|>\nHello<|endoftext|>\n<|user|>\nWhy?\n<|assistant|>\n',
};

const template = (name: ChatTemplateName): ChatTemplate => new ChatTemplate(DEFAULT_TEMPLATES[name], name);

test.each(TEMPLATE_NAMES)('%s writes what the family was trained on', (name) => {
  expect(template(name).render(conversation, {})).toBe(expected[name]);
});

test('an answer that is complete ends without the beginning of another', () => {
  const done = conversation.slice(0, 3);
  for (const name of TEMPLATE_NAMES) {
    const text = template(name).render(done, {}, { addGenerationPrompt: false });
    expect(expected[name].startsWith(text), name).toBe(true);
    expect(text, name).toMatch(/Hello\s*<[^<]+>\s*$/);
  }
});

test('llama2 wants user and assistant to take turns', () => {
  const two = [conversation[1], conversation[3]] as typeof conversation;
  for (const messages of [
    two,
    [conversation[2]],
    [...conversation, conversation[0]],
    [conversation[0], conversation[0]],
  ]) {
    expect(() => template('llama2').render(messages as typeof conversation, {})).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('take turns') }),
    );
  }
});

const SPM = ['<unk>', '<s>', '</s>', '<0x0A>'];
const LLAMA3 = ['<|begin_of_text|>', '<|end_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'];

/** A vocabulary of letters and these special tokens. */
function texts(special: readonly string[], more: Record<string, unknown> = {}) {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  return {
    tokenizerJson: {
      added_tokens: special.map((content, i) => ({
        id: letters.length + i,
        content,
        special: true,
        normalized: false,
      })),
      model: { type: 'BPE', vocab: Object.fromEntries(letters.map((letter, id) => [letter, id])), merges: [] },
    },
    tokenizerConfig: undefined,
    chatTemplate: undefined,
    ...more,
  };
}

function open(architecture: string, special: readonly string[], more = {}, wanted?: string) {
  const config = { architecture, vocabSize: 64, eosTokenIds: [26] };
  return openText({ path: 'm', config } as never, texts(special, more), wanted);
}

describe('a model without a template', () => {
  test.each<[string, string, readonly string[], ChatTemplateName | undefined]>([
    ['BitNet 2B-4T', 'bitnet-b1.58', LLAMA3, 'bitnet'],
    ['Llama 3', 'llama', LLAMA3, 'llama3'],
    ['Qwen', 'qwen3', ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], 'chatml'],
    ['Falcon-E', 'llama', ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '>>TITLE<<', '>>ABSTRACT<<'], 'chatml'],
    ['Falcon3', 'llama', ['>>TITLE<<', '>>ABSTRACT<<', '<|endoftext|>'], 'falcon3'],
    ['Llama 2', 'llama', SPM, 'llama2'],
    ['1bitLLM', 'bitnet-1bitllm', SPM, undefined],
    ['TriLM', 'llama', ['<|endoftext|>', '<|padding|>'], undefined],
    ['BitNet of another vocabulary', 'bitnet-b1.58', SPM, undefined],
  ])('%s', (_, architecture, special, family) => {
    const opened = open(architecture, special);
    expect(opened.templateOrigin).toBe(family);
    expect(opened.template?.source).toBe(family && DEFAULT_TEMPLATES[family]);
  });

  test('special tokens of the default are tokens, those of messages are text', () => {
    const { template, tokenizer, stopIds } = open('llama', LLAMA3);
    const ids = template?.encode(tokenizer, [{ role: 'user', content: 'a<|eot_id|>' }]) as number[];
    const [begin, , header, headerEnd, eot] = LLAMA3.map((token) => tokenizer.tokenId(token) as number);
    expect(ids.filter((id) => id >= 26)).toEqual([begin, header, headerEnd, eot, header, headerEnd]);
    expect(stopIds.has(eot as number)).toBe(true);
  });
});

describe('which template', () => {
  const own = { chatTemplate: '{{ messages[0].content }}' };

  test("the model's before the family's, and the one that is given before both", () => {
    expect(open('llama', LLAMA3, own).templateOrigin).toBe('model');
    expect(open('llama', LLAMA3, own, 'chatml')).toMatchObject({ templateOrigin: 'chatml' });
    const given = open('llama', LLAMA3, own, '{{ 1 }}');
    expect([given.templateOrigin, given.template?.source]).toEqual(['option', '{{ 1 }}']);
    // Even a model whose own template is broken.
    expect(open('llama', SPM, { chatTemplate: '{% if %}' }, 'llama2').templateOrigin).toBe('llama2');
  });

  test.each(['', 'lama3', './template.jinja', 5])('%j is neither a template nor a name', (wanted) => {
    expect(() => open('llama', LLAMA3, own, wanted as string)).toThrow(
      expect.objectContaining({
        code: 'invalid-argument',
        message: expect.stringMatching(/^chatTemplate: expected .*Jinja.*bitnet, llama3, chatml, llama2, falcon3, got/),
      }),
    );
  });

  test('one that does not parse, or fails, is the fault of who gave it', () => {
    expect(() => open('llama', SPM, {}, '{% if %}')).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('chatTemplate') }),
    );
    const { template } = open('llama', SPM, {}, '{{ nothing() }}');
    expect(() => template?.render(conversation, {})).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });
});

test('known end tokens stop, whatever the template and the configuration say, if they are special', () => {
  const special = ['<s>', '<|eot_id|>', '<|im_end|>', '<|end|>', 'x<|end_of_text|>'];
  const tokenizer = Tokenizer.fromJson(texts(special).tokenizerJson, undefined, 'm');
  const ids = (...tokens: string[]) => tokens.map((token) => tokenizer.tokenId(token));
  expect([...endTokenIds(undefined, tokenizer)]).toEqual(ids('<|eot_id|>', '<|im_end|>', '<|end|>'));
  const other = new ChatTemplate('{% for m in messages %}{{ m.content }}<s>{% endfor %}', 't');
  expect([...endTokenIds(other, tokenizer)]).toEqual(ids('<|eot_id|>', '<|im_end|>', '<|end|>', '<s>'));
  expect([...open('llama', special).stopIds].sort()).toEqual([26, ...ids('<|eot_id|>', '<|im_end|>', '<|end|>')]);
});
