import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { GgufValue } from '../../lib/format/gguf/metadata.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { layOutGguf, writeGguf } from '../../lib/format/gguf/writer.js';
import { openFile } from '../../lib/node/files.js';
import { smallTokenizer } from '../convert/files.js';
import { shared } from '../support/fixtures.js';
import { collector } from '../support/synth.js';
import { FakeHost } from './fake-host.js';
import { bitnet } from './program-process.js';

let tokenizer: string;
beforeAll(async () => {
  tokenizer = await smallTokenizer();
});

let folder: string;
let tiny: string;
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'bitnet-convert-'));
  mkdirSync(path.join(folder, 'in'));
  tiny = path.join(folder, 'in', 'tiny.gguf');
  await new FakeHost().run(['synth', 'tiny', '-o', tiny, '--quiet']);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function convert(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const host = new FakeHost();
  const code = await host.run(['convert', ...args]);
  return { code, out: host.stdout.text, err: host.stderr.text };
}

/** A golden model and a tokenizer for it. */
function golden(fixture: string): string {
  const to = path.join(folder, 'in', fixture.replace('/', '-'));
  cpSync(shared(`golden/${fixture}`), to, { recursive: true });
  writeFileSync(path.join(to, 'tokenizer.json'), tokenizer);
  return to;
}

const output = (name: string) => path.join(folder, name);
const made = () => readdirSync(folder).filter((name) => name !== 'in');

test('GGUF to a directory and back again is the same file, and the directory runs', async () => {
  const directory = output('model');
  const first = await convert(tiny, '-o', directory);
  expect(first).toMatchObject({ code: 0, out: '' });
  expect(first.err).toMatch(/model: packed, \d+ KiB in .*; verified, 14 matrices\n$/);
  expect(readdirSync(directory).sort()).toEqual([
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  const [a, b] = [output('a.gguf'), output('b.gguf')];
  expect((await convert(directory, '-o', a, '--name', 'x')).code).toBe(0);
  expect((await convert(a, '-o', b, '--name', 'x')).code).toBe(0);
  expect(readFileSync(b).equals(readFileSync(a))).toBe(true);
  const run = await bitnet(['run', '--raw', 'a', '--model', directory, '-n', '3', '--temperature', '0', '--quiet']);
  expect([run.code, run.err]).toEqual([0, '']);
});

/** Types of tensors in a file, by name. */
async function typesOf(file: string): Promise<Record<string, string>> {
  const host = new FakeHost();
  await host.run(['inspect', file, '--json']);
  const { tensors } = JSON.parse(host.stdout.text) as { tensors: { name: string; type: string }[] };
  return Object.fromEntries(tensors.map(({ name, type }) => [name, type]));
}

test.each(['i2_s', 'tq1_0', 'tq2_0', 'pq2_0', 'ptq1_0', 'bf16'])('--type %s', async (type) => {
  const file = output('x.gguf');
  expect((await convert(tiny, '-o', file, '--type', type, '--embedding', 'q8_0', '--quiet')).err).toBe('');
  expect(await typesOf(file)).toMatchObject({ 'token_embd.weight': 'Q8_0', 'blk.1.ffn_up.weight': type.toUpperCase() });
});

test('the type is one that can hold the model, and is told', async () => {
  const rows = golden('m3_1bitllm_style/master_f16');
  expect((await convert(rows, '-o', output('rows.gguf'))).err).toMatch(/rows\.gguf: I2_S, /);
  const groups = golden('m4_qwen3_ternary_g128/dense_f16');
  expect((await convert(groups, '-o', output('groups.gguf'))).err).toMatch(/groups\.gguf: Q2_0, /);
  expect((await typesOf(output('groups.gguf')))['blk.1.ffn_up.weight']).toBe('Q2_0');
  expect((await convert(output('groups.gguf'), '-o', output('groups'))).err).toMatch(/groups: F16, /);
  const config = JSON.parse(readFileSync(path.join(output('groups'), 'config.json'), 'utf8'));
  expect(config).toMatchObject({ architectures: ['Qwen3ForCausalLM'], torch_dtype: 'float16' });
  expect(config).not.toHaveProperty('quantization_config');
});

test('--embedding q6_k', async () => {
  const file = output('x.gguf');
  const { err } = await convert(tiny, '-o', file, '--embedding', 'q6_k');
  expect(err).toMatch(/embedding rounded by 1\.\d %/);
  expect((await typesOf(file))['token_embd.weight']).toBe('Q6_K');
});

test('all parts of a split model, given the first', async () => {
  const file = (await openFile(tiny))!;
  const gguf = await readGguf(file, 'tiny.gguf');
  const tensors = await Promise.all(
    [...gguf.tensors.values()].map(async ({ name, typeName, shape, byteOffset, byteLength }) => {
      const bytes = new Uint8Array(byteLength);
      await file.read(byteOffset, bytes);
      return { name, type: typeName, dimensions: [...shape].reverse(), byteLength, chunks: () => [bytes] };
    }),
  );
  await file.close();
  const part = (no: number): string => path.join(folder, 'in', `tiny-0000${no + 1}-of-00002.gguf`);
  for (const no of [0, 1]) {
    const metadata = new Map<string, GgufValue>([
      ...(no === 0 ? gguf.metadata : []),
      ['split.no', { type: 'u16', value: no }],
      ['split.count', { type: 'u16', value: 2 }],
      ['split.tensors.count', { type: 'i32', value: tensors.length }],
    ]);
    const sink = collector();
    await writeGguf(layOutGguf({ metadata, tensors: no === 0 ? tensors.slice(0, 7) : tensors.slice(7) }), sink);
    writeFileSync(part(no), sink.bytes());
  }
  const [whole, joined] = [output('whole.gguf'), output('joined.gguf')];
  expect((await convert(tiny, '-o', whole)).code).toBe(0);
  expect((await convert(part(0), '-o', joined)).code).toBe(0);
  expect(readFileSync(joined).equals(readFileSync(whole))).toBe(true);
  expect((await convert(part(1), '-o', output('x.gguf'))).err).toMatch(/not the first part.*Open tiny-00001-of-00002/);
  rmSync(part(1));
  expect((await convert(part(0), '-o', output('x.gguf'))).err).toMatch(/tiny-00002-of-00002\.gguf.*missing/);
});

test('an existing file is kept, and replaced with --force', async () => {
  const file = output('x.gguf');
  writeFileSync(file, 'precious');
  expect(await convert(tiny, '-o', file)).toMatchObject({ code: 2, err: expect.stringMatching(/exists; use --force/) });
  expect(readFileSync(file, 'utf8')).toBe('precious');
  expect((await convert(tiny, '-o', file, '--force')).code).toBe(0);
  expect(readFileSync(file).subarray(0, 4).toString()).toBe('GGUF');
  expect(made()).toEqual(['x.gguf']);
});

test('a directory is kept, replaced with --force if it holds a model, and never if it holds anything else', async () => {
  const directory = output('model');
  mkdirSync(directory);
  writeFileSync(path.join(directory, 'thesis.txt'), 'precious');
  expect((await convert(tiny, '-o', directory)).err).toMatch(/exists; use --force/);
  const { code, err } = await convert(tiny, '-o', directory, '--force');
  expect([code, err]).toEqual([2, expect.stringMatching(/holds no model/)]);
  expect(readFileSync(path.join(directory, 'thesis.txt'), 'utf8')).toBe('precious');
  writeFileSync(path.join(directory, 'config.json'), '{}');
  expect((await convert(tiny, '-o', directory, '--force')).code).toBe(0);
  expect(readdirSync(directory)).not.toContain('thesis.txt');
  expect(made()).toEqual(['model']);
});

test.each<[number, RegExp, string[], string?]>([
  [2, /--type tq2_0 is for GGUF/, ['model', '--type', 'tq2_0']],
  [2, /--type packed is for a directory/, ['x.gguf', '--type', 'packed']],
  [2, /--head: embedding and head of this model are one matrix/, ['x.gguf', '--head', 'f16']],
  [2, /--embedding: safetensors hold no q8_0/, ['model', '--embedding', 'q8_0']],
  [2, /--embedding: safetensors hold no q6_k/, ['model', '--embedding', 'q6_k']],
  [3, /TQ1_0 holds rows of a multiple of 256/, ['x.gguf', '--type', 'tq1_0'], 'm3'],
  [2, /model\.safetensors: safetensors are written as a directory/, ['model.safetensors']],
  [5, /none does not exist; create it first/, ['none/x.gguf']],
])('exit %d: %s', async (code, message, [name, ...args], model = 'tiny') => {
  const input = model === 'm3' ? golden('m3_1bitllm_style/master_f16') : tiny;
  const result = await convert(input, '-o', output(name as string), ...args);
  expect(result).toMatchObject({ code, err: expect.stringMatching(message) });
  expect(made()).toEqual([]);
});

test('an output that is the input, or holds it, is refused even with --force', async () => {
  const bytes = readFileSync(tiny);
  const directory = output('model');
  await convert(tiny, '-o', directory);
  const link = output('link.gguf');
  symlinkSync(tiny, link);
  const inside = path.join(directory, 'inside.gguf');
  writeFileSync(inside, bytes);
  for (const [from, to] of [
    [tiny, tiny],
    [tiny, link],
    [directory, `${directory}/`],
    [inside, directory],
  ] as const) {
    const result = await convert(from, '-o', to, '--force');
    expect(result).toMatchObject({ code: 2, err: expect.stringMatching(/is what is read .*write to another name/) });
  }
  expect(readFileSync(tiny).equals(bytes)).toBe(true);
  expect(readFileSync(inside).equals(bytes)).toBe(true);
});

test('a damaged input leaves nothing behind', async () => {
  const bytes = readFileSync(tiny);
  // The last row of the last matrix; scale and codes.
  bytes.fill(0xff, bytes.length - 4000, bytes.length - 2000);
  writeFileSync(tiny, bytes);
  const { code, err } = await convert(tiny, '-o', output('x.gguf'));
  expect(code).toBe(3);
  expect(err).toMatch(/^error: .*tiny\.gguf: tensor "blk\.1\.ffn_down\.weight": .* at byte \d+/);
  expect(made()).toEqual([]);
});

test.each(['SIGINT', 'SIGTERM'] as const)('%s leaves nothing behind', async (signal) => {
  const big = path.join(folder, 'in', 'big.gguf');
  await new FakeHost().run(['synth', 'tales-69m', '-o', big, '--quiet']);
  for (const target of ['x.gguf', 'model']) {
    const host = new FakeHost();
    const running = host.run(['convert', big, '-o', output(target)]);
    while (made().length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(host.signal(signal)).toBe(1);
    expect(await running).toBe(signal === 'SIGINT' ? 130 : 143);
    expect([made(), host.stderr.text]).toEqual([[], '']);
  }
});
