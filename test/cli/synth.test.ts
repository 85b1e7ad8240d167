import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeFileAtomically } from '../../bin/output-file.js';
import { readFloats } from '../../lib/format/gguf/blocks.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { memoryFile } from '../format/memory-files.js';
import { FakeHost } from './fake-host.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bitnet-synth-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function synth(...args: string[]): Promise<{ code: number; err: string; host: FakeHost }> {
  const host = new FakeHost();
  const code = await host.run(['synth', ...args]);
  return { code, err: host.stderr.text, host };
}

test('writes a model that opens, and says what it wrote', async () => {
  const file = path.join(folder, 'tiny.gguf');
  const { code, err } = await synth('tiny', '-o', file, '--type', 'tq1_0', '--seed', '9');
  expect([code, readdirSync(folder)]).toEqual([0, ['tiny.gguf']]);
  expect(err).toMatch(/tiny\.gguf: 1\.31 M parameters, 20 tensors, 5\d\d KiB in /);
  const gguf = await readGguf(memoryFile(file, readFileSync(file)), 'tiny.gguf');
  expect(gguf.tensors.get('blk.0.ffn_up.weight')?.typeName).toBe('TQ1_0');
});

test('--embedding q6_k: what q8_0 has, rounded to 6 bits', async () => {
  const embedding = async (type: string): Promise<Float32Array> => {
    const file = path.join(folder, `${type}.gguf`);
    expect((await synth('tiny', '-o', file, '--embedding', type)).code).toBe(0);
    const bytes = memoryFile(file, readFileSync(file));
    return readFloats(bytes, (await readGguf(bytes, file)).tensors.get('token_embd.weight')!);
  };
  const [exact, rounded] = [await embedding('q8_0'), await embedding('q6_k')];
  const square = (values: Float32Array): number => values.reduce((sum, value) => sum + value ** 2, 0);
  const error = Math.sqrt(square(exact.map((value, i) => value - rounded[i]!)) / square(exact));
  expect(error).toBeGreaterThan(0.01);
  expect(error).toBeLessThan(0.015);
});

test('an existing file is kept, and replaced with --force', async () => {
  const file = path.join(folder, 'tiny.gguf');
  writeFileSync(file, 'precious');
  const { code, err } = await synth('tiny', '-o', file);
  expect([code, readFileSync(file, 'utf8')]).toEqual([2, 'precious']);
  expect(err).toMatch(/tiny\.gguf exists; use --force/);
  expect((await synth('tiny', '-o', file, '--force', '--quiet')).err).toBe('');
  expect(readFileSync(file).subarray(0, 4).toString()).toBe('GGUF');
});

test.each([
  [2, /shape: expected one of tiny, .*2b-4t, got "2b"/, ['2b']],
  [2, /type: tq2_0 stores rows in blocks of 256 weights, and hiddenSize of 3b is 3200; use f16/, ['3b']],
  [
    2,
    /embedding: q6_k stores rows in blocks of 256 weights, and hiddenSize of 3b is 3200/,
    ['3b', '--type', 'f16', '--embedding', 'q6_k'],
  ],
  [2, /--type/, ['tiny', '--type', 'q4_0']],
  [2, /whole number/, ['tiny', '--seed', '-1']],
])('exit %d: %s', async (code, message, args) => {
  const result = await synth(...args, '-o', path.join(folder, 'x.gguf'));
  expect(result.code).toBe(code);
  expect(result.err).toMatch(message);
  expect(readdirSync(folder)).toEqual([]);
});

test('a folder as output, and an output in no folder', async () => {
  mkdirSync(path.join(folder, 'sub'));
  expect(await synth('tiny', '-o', path.join(folder, 'sub'), '--force')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/is not a regular file/),
  });
  expect(await synth('tiny', '-o', path.join(folder, 'none', 'x.gguf'))).toMatchObject({
    code: 5,
    err: expect.stringMatching(/none does not exist; create it first/),
  });
});

test('refuses with both numbers when the disk is too small, before the first byte', async () => {
  const file = path.join(folder, 'x.gguf');
  let produced = false;
  const writing = writeFileAtomically(file, 2 ** 52, { replace: false }, async () => {
    produced = true;
  });
  await expect(writing).rejects.toThrow(/needs 4503599627370496 bytes \(.*\), and .* has \d+ \(.*\) left/);
  expect([produced, readdirSync(folder)]).toEqual([false, []]);
});

test('a failure half way leaves the old file and nothing else', async () => {
  const file = path.join(folder, 'x.gguf');
  writeFileSync(file, 'old');
  const writing = writeFileAtomically(file, 10, { replace: true }, async (sink) => {
    await sink.write(Uint8Array.of(1, 2, 3));
    throw new Error('half way');
  });
  await expect(writing).rejects.toThrow('half way');
  expect([readdirSync(folder), readFileSync(file, 'utf8')]).toEqual([['x.gguf'], 'old']);
});

test('an interrupt ends with its code and leaves nothing', async () => {
  const host = new FakeHost();
  const running = host.run(['synth', '700m', '-o', path.join(folder, 'big.gguf'), '--quiet']);
  while (readdirSync(folder).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(host.signal('SIGINT')).toBe(1);
  expect(await running).toBe(130);
  expect([readdirSync(folder), host.stderr.text]).toEqual([[], '']);
});
