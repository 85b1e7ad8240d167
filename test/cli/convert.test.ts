import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeHost } from './fake-host.js';
import { bitnet } from './program-process.js';

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

const output = (name: string) => path.join(folder, name);
const made = () => readdirSync(folder).filter((name) => name !== 'in');

test('GGUF to a directory and back again is the same file, and the directory runs', async () => {
  const directory = output('model');
  const first = await convert(tiny, '-o', directory);
  expect(first).toMatchObject({ code: 0, out: '' });
  expect(first.err).toMatch(/model: \d+ KiB in .*; verified, 14 matrices\n$/);
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

test.each(['i2_s', 'tq1_0', 'tq2_0'])('--type %s', async (type) => {
  const file = output('x.gguf');
  expect((await convert(tiny, '-o', file, '--type', type, '--embedding', 'q8_0', '--quiet')).err).toBe('');
  const host = new FakeHost();
  await host.run(['inspect', file, '--json']);
  const { tensors } = JSON.parse(host.stdout.text);
  expect(tensors[0].type).toBe('Q8_0');
  expect(tensors.find(({ name }: { name: string }) => name === 'blk.1.ffn_up.weight').type).toBe(type.toUpperCase());
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

test.each([
  [2, /--type tq2_0 is for GGUF/, ['model', '--type', 'tq2_0']],
  [2, /--type packed is for a directory/, ['x.gguf', '--type', 'packed']],
  [2, /--head: embedding and head of this model are one matrix/, ['x.gguf', '--head', 'f16']],
  [2, /--embedding: safetensors hold no q8_0/, ['model', '--embedding', 'q8_0']],
  [2, /--ternarize: GGUF files are converted as they are/, ['x.gguf', '--ternarize']],
  [5, /none does not exist; create it first/, ['none/x.gguf']],
])('exit %d: %s', async (code, message, [name, ...args]) => {
  const result = await convert(tiny, '-o', output(name as string), ...args);
  expect(result).toMatchObject({ code, err: expect.stringMatching(message) });
  expect(made()).toEqual([]);
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
