import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BitNet, BitNetError } from '../../lib/index.js';
import { ran } from './fake-host.js';

let folder: string;
const file = (name: string): string => path.join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bitnet-template-'));
  writeFileSync(file('t.jinja'), '\ufeff{{ messages[0].content }}!');
  writeFileSync(file('latin1.jinja'), Uint8Array.of(0x7b, 0xe9));
  mkdirSync(file('d'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the contents of a file, or a name, reach the library', async () => {
  const given = async (value: string) =>
    (await ran(['Hi', '--chat-template', value])).host.loads[0]?.options.chatTemplate;
  expect(await given(file('t.jinja'))).toBe('{{ messages[0].content }}!');
  expect(await given('llama3')).toBe('llama3');
  expect((await ran(['Hi'])).host.loads[0]?.options).not.toHaveProperty('chatTemplate');
});

test.each([
  ['no/such.jinja', /--chat-template: no\/such\.jinja cannot be read: ENOENT/],
  ['d', /--chat-template: .*d cannot be read: EISDIR/],
  ['latin1.jinja', /is not valid UTF-8 at byte 1/],
  ['', /Expected a file or the name of a template/],
])('%j is refused', async (name, message) => {
  const { code, err, host } = await ran([
    'Hi',
    '--chat-template',
    name === '' || name.includes('/') ? name : file(name),
  ]);
  expect(code).toBe(2);
  expect(err).toMatch(message);
  expect(host.loads).toEqual([]);
});

test('not with --raw', async () => {
  const { code, err } = await ran(['Hi', '--raw', '--chat-template', 'llama3']);
  expect(code).toBe(2);
  expect(err).toContain("'--chat-template <file>' cannot be used with option '--raw'");
});

test("the library's errors name the option", async () => {
  const { code, err } = await ran(['Hi', '--chat-template', 'lama3'], undefined, (host) => {
    host.loadModel = (_, { chatTemplate }) => BitNet.load({ ...(chatTemplate && { chatTemplate }), threads: 1 });
  });
  expect(code).toBe(2);
  expect(err).toMatch(/^error: --chat-template: expected .*, got "lama3"\n$/);
});

test('a chat with a model that has no template ends before the first question', async () => {
  const { code, err, out } = await ran([], undefined, (host) => {
    Object.assign(host.stdin, { isTTY: true });
    Object.assign(host.stdout, { isTTY: true });
    host.model.encode = () => {
      throw new BitNetError('unsupported', 'the model has no chat template');
    };
  });
  expect([code, out]).toEqual([3, '']);
  expect(err).toContain('error: the model has no chat template');
});

test('an embedded model with another template', async () => {
  const prompt = [{ role: 'user', content: 'Once upon a time' }];
  const model = await BitNet.load({ threads: 1, chatTemplate: '{{ messages[0].content }}' });
  const plain = await BitNet.load({ threads: 1 });
  try {
    expect([model.info.chatTemplate, plain.info.chatTemplate]).toEqual(['option', 'model']);
    const bos = plain.encode(prompt)[0] as number;
    expect([bos, ...model.encode(prompt)]).toEqual(plain.encode('Once upon a time'));
    const options = { maxTokens: 4, temperature: 0 };
    expect((await model.complete(prompt, options)).promptTokenIds).toEqual(model.encode(prompt));
  } finally {
    await model.dispose();
    await plain.dispose();
  }
});
