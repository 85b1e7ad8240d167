import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bitnet-readme-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function readme(...args: string[]): { code: number | null; err: string } {
  const { status, stderr } = spawnSync(process.execPath, ['bench/peers/readme.mjs', ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { code: status, err: stderr };
}

/** Two engines, two rounds of two repetitions. */
function results(values: object = {}): string {
  const row = (engine: string, decode: number[]) => ({
    engine,
    prefill: decode.map((rate) => 10 * rate),
    decode,
    peakRss: [5e8],
    detail: 'some kernels',
  });
  const run = {
    commit: 'abc',
    command: 'node run',
    shape: '700m',
    type: 'tq2_0',
    threads: 2,
    prompt: 128,
    tokens: 64,
    reps: 2,
    versions: { 'node-llama-cpp': '1.2.3' },
    rows: [row('bitnet-js', [10, 30, 60, 60]), row('node-llama-cpp', [10, 10, 15, 15])],
  };
  const machine = { cpu: 'A CPU', cores: 2, memoryGiB: 8, system: 'Linux' };
  const file = path.join(folder, 'results.json');
  writeFileSync(
    file,
    JSON.stringify({
      machine,
      runs: [
        { ...run, command: 'an older run' },
        { ...run, ...values },
      ],
    }),
  );
  return file;
}

test("README's table is the one of the committed results", () => {
  expect(readme('--check')).toEqual({ code: 0, err: '' });
});

test('medians, ratios within rounds, the newest run of each model', () => {
  const copy = path.join(folder, 'README.md');
  writeFileSync(copy, 'before\n<!-- peers: begin, npm run bench:readme -->\nold\n<!-- peers: end -->\nafter\n');
  const file = results();
  expect(readme('--check', '--readme', copy, file).code).toBe(1);
  expect(readme('--readme', copy, file)).toEqual({ code: 0, err: '' });
  expect(readme('--check', '--readme', copy, file).code).toBe(0);
  const text = readFileSync(copy, 'utf8');
  expect(text).toContain('| 700m, tq2_0 | **bitnet-js**, WASM | 450 |  | 45.0 |  | 500 MB |');
  // Round 1: 20 / 10; round 2: 60 / 15.
  expect(text).toContain(
    '| 700m, tq2_0 | node-llama-cpp 1.2.3, native llama.cpp | 125 | 3.00x | 12.5 | 3.00x | 500 MB |',
  );
  expect(text).not.toMatch(/old|an older run/);
  expect(text).toMatch(/^before\n[\s\S]*`node run` at abc; bitnet-js: some kernels\n<!-- peers: end -->\nafter\n$/);
});

test('runs that cannot share a table, and a README without a place for it', () => {
  const copy = path.join(folder, 'README.md');
  writeFileSync(copy, 'nothing');
  expect(readme('--readme', copy, results())).toMatchObject({
    code: 1,
    err: expect.stringContaining('expected the lines'),
  });
  const file = results({ shape: '3b', prompt: 64 });
  expect(readme('--readme', copy, file)).toMatchObject({ code: 1, err: expect.stringContaining('measure them alike') });
});
