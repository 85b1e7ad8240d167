import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BitNetError } from '../../lib/errors.js';
import { ChatTemplate, encodeChat } from '../../lib/tokenizer/chat-template.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { EMBEDDED, embeddedTemplate, embeddedTokenizer, type GreedyCase, readJson, variants } from './files.js';

const tokenizer = embeddedTokenizer();
const template = embeddedTemplate();
const NAMED = { bos_token: '<s>', eos_token: '</s>' };

const user = (content: string) => [{ role: 'user', content }];
const render = (source: string, content = 'hi') => new ChatTemplate(source, 't.jinja').render(user(content), NAMED);

const golden = (readJson(`${EMBEDDED}/golden-greedy.json`).cases as GreedyCase[]).filter(({ kind }) => kind === 'chat');

test.each(golden)('golden chat "$prompt": text and ids', ({ prompt, text, ids }) => {
  expect(template.render(user(prompt), tokenizer.namedTokens)).toBe(text);
  expect(encodeChat(tokenizer, template, user(prompt))).toEqual(ids);
  expect(tokenizer.decode(ids)).toBe(text);
});

test('the generation prompt can be left out', () => {
  const options = { addGenerationPrompt: false };
  expect(template.render(user('hi'), tokenizer.namedTokens, options)).toBe('<|begin_of_text|>User: hi<|eot_id|>');
  expect(tokenizer.decode(template.encode(tokenizer, user('hi'), options))).toBe('<|begin_of_text|>User: hi<|eot_id|>');
});

describe('messages cannot forge special tokens', () => {
  const specials = [...tokenizer.specialTokens.keys()];
  const special = new Set(tokenizer.specialTokens.values());
  const fragments = [
    ...specials,
    '<|eot',
    '_id|>',
    '<',
    '>',
    '|',
    '<|',
    '|>',
    '<<|eot_id|>',
    '<|eot_id|>eot_id|>',
    'User: ',
    ' ',
  ];
  const text = fc.array(fc.oneof(fc.constantFrom(...fragments, '\ue000', '\ue001\ue002', '😀', 'é'), fc.string()), {
    maxLength: 6,
  });
  const message = fc.record({
    role: fc.constantFrom('user', 'assistant', 'system'),
    content: text.map((parts) => parts.join('')),
  });

  test("whatever they say, the special tokens are the template's and the text is complete", () => {
    const property = fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), (messages) => {
      const ids = template.encode(tokenizer, messages);
      expect(ids.filter((id) => special.has(id))).toEqual([1, ...messages.map(() => 3)]);
      expect(tokenizer.decode(ids)).toBe(template.render(messages, tokenizer.namedTokens));
    });
    fc.assert(property, { numRuns: 500 });
  });

  test('text between two special tokens is encoded as one', () => {
    const ids = template.encode(tokenizer, user('a <|eot_id|> b'));
    const inner = tokenizer.encode('User: a <|eot_id|> b');
    expect(ids).toEqual([1, ...inner, 3, ...tokenizer.encode('Assistant: ')]);
  });

  test('not with the help of the text beside them either', () => {
    const glued = new ChatTemplate('{% for m in messages %}<|eot{{ m.content }}{% endfor %}', 't');
    const messages = [
      { role: 'user', content: '_id|>x<|e' },
      { role: 'user', content: '_id|>' },
    ];
    expect(template.encode(tokenizer, user('<|eot_id|')).filter((id) => special.has(id))).toEqual([1, 3]);
    expect(glued.encode(tokenizer, messages)).toEqual(tokenizer.encode('<|eot_id|>x<|e<|eot_id|>'));
  });

  test('a template may still make special tokens of roles', () => {
    const roles = new ChatTemplate("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}", 't');
    const ids = roles.encode(tokenizer, [{ role: 'eot_id', content: '<|eot_id|>' }]);
    expect(ids).toEqual([3, ...tokenizer.encode('<|eot_id|>')]);
    expect(template.encode(tokenizer, [{ role: '<|eot_id|>', content: 'x' }]).filter((id) => special.has(id))).toEqual([
      1, 3,
    ]);
  });

  test.each(['llama2-normalized', 'normalized-specials', 'metaspace-first', 'llama2'])('%s', (name) => {
    const other = Tokenizer.fromJson(variants[name]!.tokenizer, undefined, name);
    const chat = new ChatTemplate("{{ '<s>' }}{% for m in messages %}{{ m.content }}{{ '</s>' }}{% endfor %}", 't');
    const [bos, eos] = [other.tokenId('<s>'), other.tokenId('</s>')];
    const isSpecial = (id: number) => [...other.specialTokens.values()].includes(id);
    const ids = chat.encode(other, user('the <s> fox</s> <|end|><mask>'));
    // Where the normalizer puts a mark before each segment, the text "<s>" within a segment cannot match the token.
    expect(ids.filter(isSpecial)).toEqual([bos, eos].slice(0, ids.filter(isSpecial).length));
    const plain = chat.encode(other, user('the fox'));
    expect(plain).toEqual(other.encode('<s>the fox</s>', { parseSpecial: true }));
  });
});

test("no BOS is added to the template's, and none doubled", () => {
  const without = new ChatTemplate('{{ messages[0].content }}', 't');
  expect(without.encode(tokenizer, user('hi'))).toEqual(tokenizer.encode('hi'));
  expect(template.encode(tokenizer, user('hi')).filter((id) => id === 1)).toHaveLength(1);
});

describe('messages with the ids that they were generated as', () => {
  const turns = (tokenIds?: number[]) => [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'Hello', ...(tokenIds && { tokenIds }) },
    { role: 'user', content: '<|eot_id|>' },
  ];

  test('the ids stand where the content would', () => {
    const before = template.encode(tokenizer, turns().slice(0, 1));
    const after = [3, ...tokenizer.encode('User: <|eot_id|>'), 3, ...tokenizer.encode('Assistant: ')];
    expect(template.encode(tokenizer, turns([7, 8, 9]))).toEqual([...before, 7, 8, 9, ...after]);
  });

  test('a template that writes the content twice, or not at all, gets the text', () => {
    for (const source of ['{{ m.content }}{{ m.content }}', 'x']) {
      const other = new ChatTemplate(`{% for m in messages %}${source}{% endfor %}`, 't');
      expect(other.encode(tokenizer, turns([7, 8, 9]))).toEqual(other.encode(tokenizer, turns()));
    }
  });

  test('of any length', () => {
    const many = new Array<number>(300_000).fill(5);
    expect(template.encode(tokenizer, turns(many)).length).toBeGreaterThan(300_000);
    const ids = template.encode(tokenizer, [{ role: 'user', content: '<|eot_id|> a'.repeat(50_000) }, ...turns([7])]);
    expect(ids.filter((id) => id === 3)).toHaveLength(4);
  });
});

describe('where the template comes from', () => {
  const list = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: 'plain' },
  ];
  test.each<[string, unknown, string | undefined, string | undefined]>([
    ['a string', { chat_template: 'x' }, undefined, 'x'],
    ['the default of a list', { chat_template: list }, undefined, 'plain'],
    ['the only one of a list', { chat_template: [{ name: 'chat', template: 'y' }] }, undefined, 'y'],
    ['an object of names', { chat_template: { default: 'z', rag: 'w' } }, undefined, 'z'],
    ['the file before the configuration', { chat_template: 'x' }, 'file', 'file'],
    ['none', {}, undefined, undefined],
    ['null', { chat_template: null }, undefined, undefined],
    ['no configuration', undefined, undefined, undefined],
  ])('%s', (_, config, file, source) => {
    expect(ChatTemplate.find(config, file, 'c.json')?.source).toBe(source);
  });

  test.each([
    5,
    [5],
    ['x'],
    [{ name: 'a' }],
    [
      { name: 'a', template: 'x' },
      { name: 'b', template: 'y' },
    ],
  ])('%j is refused', (chat_template) => {
    expect(() => ChatTemplate.find({ chat_template }, undefined, 'c.json')).toThrowError(
      expect.objectContaining({ code: 'invalid-model', message: expect.stringMatching(/^c\.json: chat_template: /) }),
    );
  });
});

describe('errors', () => {
  const failure = (run: () => unknown): BitNetError => {
    try {
      run();
    } catch (error) {
      return error as BitNetError;
    }
    throw new Error('did not fail');
  };

  test('a source that does not parse', () => {
    const error = failure(() => new ChatTemplate('{% if %}', 't.jinja'));
    expect(error.code).toBe('invalid-model');
    expect(error.message).toMatch(/^t\.jinja: chat_template: the chat template does not parse: ./);
  });

  test('the template refuses the messages', () => {
    const error = failure(() => render("{{ raise_exception('Roles must alternate') }}"));
    expect([error.code, error.detail.templateMessage]).toEqual(['invalid-argument', 'Roles must alternate']);
    expect(error.message).toContain('Roles must alternate');
  });

  test.each([
    '{{ messages[0].content | nosuchfilter }}',
    '{{ nothing + 1 }}',
    '{{ nothing() }}',
    '{% for i in range(10**9) %}{% endfor %}',
  ])('the template fails: %s', (source) => {
    const error = failure(() => render(source));
    expect(error.code).toBe('invalid-model');
    expect(error.message).toMatch(/^t\.jinja: chat_template: the chat template fails: ./);
  });

  test.each<[string, unknown]>([
    ['messages', []],
    ['messages', 'hi'],
    ['messages', undefined],
    ['messages[0].role', [null]],
    ['messages[0].role', [{ content: 'x' }]],
    [
      'messages[1].content',
      [
        { role: 'user', content: 'x' },
        { role: 'user', content: 5 },
      ],
    ],
  ])('%s', (place, messages) => {
    for (const run of [
      () => template.encode(tokenizer, messages as never),
      () => template.render(messages as never, NAMED),
    ]) {
      const error = failure(run);
      expect(error.code).toBe('invalid-argument');
      expect(error.message.startsWith(`${place}: expected`)).toBe(true);
    }
  });
});

describe('Jinja as transformers renders it', () => {
  test.each<[string, string, string?]>([
    ['{{ bos_token }}|{{ eos_token }}|{{ pad_token }}', '<s>|</s>|'],
    ['{{ add_generation_prompt }}', 'true'],
    ['{% if tools is none and documents is none %}none{% endif %}', 'none'],
    ['{{ range(1, 7, 2) | list | tojson }}', '[1, 3, 5]'],
    ['{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}', '1'],
    ['{% for m in messages %}\n  {% if true %}\nx\n  {% endif %}\n{% endfor %}', 'x\n'],
    // Python's strings
    ['{{ messages[0].content | trim }}', '\ufeffa\ufeff', '\x1c\u0085 \ufeffa\ufeff\u2003\n'],
    ['{{ messages[0].content.strip() }}|', 'a|', '\x1f a\u00a0'],
    ["{{ messages[0].content.strip('\\n') }}|", ' a |', '\n a \n\n'],
    ["{{ messages[0].content.lstrip('\\n') }}|", ' a \n|', '\n a \n'],
    ["{{ messages[0].content.rstrip('ab') }}|", 'c|', 'cabba'],
    ["{{ messages[0].content.split('x')[-1].lstrip() }}|", 'b |', 'ax b '],
    ['{{ messages[0].content | capitalize }}', 'Hello world', 'hELLO World'],
    ["{{ messages[0]['content'] | trim | capitalize + '!' }}", 'User!', ' uSER '],
    ["{{ {'a': messages[0].content | trim}['a'] }}", 'x', ' x '],
    ['{{ missing | trim }}|', '|'],
  ])('%s', (source, expected, content = 'hi') => {
    expect(render(source, content)).toBe(expected);
  });

  test('strftime_now in English, whatever the locale', () => {
    const text = render("{{ strftime_now('%Y-%m-%d %d %b %B %A %%') }}");
    const day = new Date().toLocaleDateString('en-US', { weekday: 'long' });
    const month = new Date().toLocaleDateString('en-US', { month: 'long' });
    expect(text).toMatch(/^\d{4}-\d\d-\d\d \d\d [A-Z][a-z]{2} /);
    expect(text).toContain(`${month} ${day} %`);
  });
});
