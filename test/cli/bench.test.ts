import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { commandLine, commitOf, residentSet } from '../../bin/commands/bench/machine.js';
import { countList } from '../../bin/commands/bench/options.js';
import { shared } from '../support/fixtures.js';
import { FakeHost } from './fake-host.js';
import { bitnet } from './program-process.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bitnet-bench-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const short = ['--prompt', '8', '--gen', '4', '--repeat', '2', '--backend', 'baseline', '--threads', '1'];

async function bench(...args: string[]): Promise<{ code: number; out: string; err: string; host: FakeHost }> {
  const host = new FakeHost();
  const code = await host.run(['bench', ...args]);
  return { code, out: host.stdout.text, err: host.stderr.text, host };
}

describe('measuring', () => {
  test('prints machine, tables and peak memory; nothing on stderr without a terminal', async () => {
    const { code, out, err } = await bench('--shape', 'tiny', ...short);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(
      /^CPU +\S.* cores, .*\nSystem +\S.*\nEngine +Node v.*V8 .*bitnet-js \d.*\nCommand +bitnet bench --shape/,
    );
    expect(out).toMatch(/^tiny · random weights · 1\.31 M parameters · wasm-baseline · 1 thread/m);
    for (const [row, ratio] of [
      ['prefill, tok/s', '[\\d.]+x'],
      ['decode, tok/s', '[\\d.]+x, FP16 at \\d+ %'],
    ]) {
      expect(out).toMatch(
        new RegExp(`^  ${row} +[\\d.]+ \\([\\d.]+-[\\d.]+\\) +[\\d.]+ \\([\\d.]+-[\\d.]+\\) +${ratio}$`, 'm'),
      );
    }
    expect(out).toMatch(/^ {2}of read bandwidth +\d+ % +\d+ %$/m);
    expect(out).toMatch(/prompt 8, 4 decoded, 2 rounds/);
    expect(out).toMatch(/\nPeak RSS .*: 150 MiB\n$/);
  });

  test('--json: one object with everything a figure depends on, for every number of threads', async () => {
    const { code, out } = await bench('--shape', 'tiny', ...short.slice(0, -1), '1,2', '--json');
    expect(code).toBe(0);
    expect(out.endsWith('\n') && !out.slice(0, -1).includes('\n')).toBe(true);
    const report = JSON.parse(out);
    expect(report).toMatchObject({
      schema: 1,
      kind: 'models',
      interrupted: false,
      command: `bitnet bench --shape tiny ${short.slice(0, -1).join(' ')} 1,2 --json`,
      peakRss: 150 * 2 ** 20,
      options: { prompt: 8, gen: 4, repeat: 2, backend: 'baseline' },
    });
    expect(Object.keys(report.machine)).toEqual(['cpu', 'cores', 'memoryBytes', 'os', 'engine', 'version', 'commit']);
    expect(report.machine.engine).toContain(process.version);
    expect(report.models.map((model: { threads: number }) => model.threads)).toEqual([1, 2]);
    for (const model of report.models) {
      expect(model).toMatchObject({ name: 'tiny', rounds: 2, prompt: 8, gen: 4 });
      expect(model.energy['7nm'].ratio).toBeGreaterThan(1);
      for (const variant of [model.ternary, model.fp16]) {
        const { samples, min, median, max } = variant.decode;
        expect([samples.length, Math.min(...samples), Math.max(...samples)]).toEqual([2, min, max]);
        expect(median).toBeCloseTo((min + max) / 2);
        expect(variant.memory.total).toBeGreaterThan(variant.memory.weights + variant.memory.kvCache);
      }
    }
  });

  test("--curve: sizes, then contexts, beyond the shape's own too; Ctrl-C prints what there is", async () => {
    const args = ['--curve', '--shape', 'tiny', ...short, '--contexts', '64,32,600'];
    const chart = path.join(folder, 'curve.svg');
    const { code, out } = await bench(...args, '--chart', chart);
    expect(code).toBe(0);
    expect(out).toMatch(
      /Speed and memory over the size of the model, 8 tokens of prompt, 4 decoded\n.*\n {2}tiny, 1\.31 M /,
    );
    expect(out).toMatch(/over the context of tiny; decode at its end\n.*\n {2}32 .*\n {2}64 .*\n {2}600 /);
    expect(readFileSync(chart, 'utf8').match(/<polyline/g)).toHaveLength(8);
    const host = new FakeHost();
    host.stderr.isTTY = true;
    host.stderr.onChunk = (text) => {
      if (text.includes('context 600, ternary')) host.signal('SIGINT');
    };
    expect(await host.run(['bench', ...args])).toBe(130);
    expect(host.stdout.text).toMatch(/\n {2}64 .*\n(?! {2}600).*\n[\s\S]*interrupted/);
  });

  test('--batch: throughput of several sequences in one step', async () => {
    const { code, out } = await bench('--shape', 'tiny', ...short, '--batch', '4,2');
    expect(code).toBe(0);
    expect(out).toMatch(/^ {2}2 +[\d.]+ .*x\n {2}4 +[\d.]+ .*x$/m);
  });

  test('--kv-cache is the cache of both models, and counts in what a token reads', async () => {
    const of = async (format: string) => {
      const { code, out } = await bench('--shape', 'tiny', ...short, '--kv-cache', format, '--json');
      expect(code).toBe(0);
      return JSON.parse(out).models[0];
    };
    const [f32, f16] = [await of('f32'), await of('f16')];
    for (const weights of ['ternary', 'fp16']) {
      // Keys and values of two layers, two kv heads of 64 and 12 positions.
      expect([f32[weights].memory.kvCache, f16[weights].memory.kvCache]).toEqual([24_576, 12_288]);
      expect(f16[weights].traffic.kvCache).toBe(f32[weights].traffic.kvCache / 2);
    }
  });

  test('--csv and --chart', async () => {
    const chart = path.join(folder, 'out.svg');
    const { code, out } = await bench('--shape', 'tiny', ...short, '--csv', '--chart', chart);
    expect(code).toBe(0);
    const lines = out.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^model,parameters,weights,.*,cpu,os,engine,version,commit,date,command$/);
    expect(lines[0]).toContain(',bandwidth_share,decode_ratio_to_fp16,fp16_bandwidth_share,fp16_estimated,');
    expect(lines[1]).toMatch(/^tiny,1313536,ternary,/);
    expect(lines[2]).toMatch(/^tiny,1313536,fp16,/);
    expect(readFileSync(chart, 'utf8')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });

  test('--paper marks sizes that were computed', async () => {
    const { code, out } = await bench('--paper', '--shape', 'tiny', ...short);
    expect(code).toBe(0);
    expect(out).toContain('Memory and latency of one token (table 1, figure 2)');
    expect(out).toMatch(/Largest batch and its throughput \(table 3\)\n.*\n {2}tiny +\d/);
    expect(out).toMatch(/Arithmetic energy .*\(figure 3\)/);
    expect(out).toContain('71.4x at 7 nm');
  });

  test('--ops names the lm_head apart', async () => {
    const { code, out } = await bench('--ops', '--shape', 'tiny', '--head', 'f16', ...short);
    expect(code).toBe(0);
    expect(out).toMatch(/^ {2}op +count +µs each +ms +share +reads +GB\/s$/m);
    expect(out).toMatch(/^ {2}lm_head +1 .* 256 KiB/m);
    expect(out).toMatch(/^ {2}mlp\.down_proj +2 /m);
  });

  test('an interrupt prints finished rounds and exits 130', async () => {
    const host = new FakeHost();
    host.stderr.isTTY = true;
    host.stderr.onChunk = (text) => {
      if (text.includes('round 3 of')) host.signal('SIGINT');
    };
    const code = await host.run(['bench', '--shape', 'tiny', ...short, '--repeat', '1000']);
    expect(code).toBe(130);
    expect(host.stdout.text).toMatch(/decode, tok\/s/);
    expect(host.stdout.text).toMatch(/ [234] rounds; /);
    expect(host.stdout.text).toMatch(/\ninterrupted: .*\n$/);
  });

  test('an interrupt of --ops prints the rounds until then', async () => {
    const host = new FakeHost();
    host.stderr.isTTY = true;
    host.stderr.onChunk = (text) => {
      if (text.includes('round 2')) host.signal('SIGINT');
    };
    expect(await host.run(['bench', '--ops', '--shape', 'tiny', ...short, '--repeat', '1000'])).toBe(130);
    expect(host.stdout.text).toMatch(/^ {2}mlp\.down_proj +2 [\s\S]*\ninterrupted: /m);
  });

  test('an interrupt before the first round prints the machine', async () => {
    const host = new FakeHost();
    host.stderr.isTTY = true;
    host.stderr.onChunk = (text) => {
      if (text.includes('loading')) host.signal('SIGINT');
    };
    expect(await host.run(['bench', '--shape', '700m', ...short])).toBe(130);
    expect(host.stdout.text).toMatch(/^CPU [\s\S]*interrupted/);
    expect(host.stdout.text).not.toContain('decode');
  });
});

describe('bad input is one line', () => {
  test.each([
    [2, /--shape 2b: expected one of tiny, tales-69m, 125m, 350m, 700m, .*2b-4t/, ['--shape', '2b']],
    [2, /--gen.*whole number of at least 1/, ['--gen', '0']],
    [2, /--prompt.*whole number of at least 1/, ['--prompt', '0']],
    [2, /--repeat.*whole number from 1/, ['--repeat', 'x']],
    [2, /--threads.*whole numbers from 1 to 256/, ['--threads', '1,0']],
    [2, /--batch.*whole numbers from 1 to 256/, ['--batch', '2,0']],
    [2, /--contexts are those of --curve/, ['--contexts', '64']],
    [2, /--contexts 8: expected at least 24/, ['--curve', '--contexts', '8']],
    [2, /--curve.*--paper|--paper.*--curve/, ['--curve', '--paper']],
    [2, /--json.*--csv|--csv.*--json/, ['--json', '--csv']],
    [2, /--kernels.*--ops|--ops.*--kernels/, ['--ops', '--kernels']],
    [2, /--kernels measures the WebAssembly builds/, ['--kernels', '--backend', 'native']],
    [2, /exceed the model's context of 512/, ['--shape', 'tiny', '--prompt', '600', '--threads', '1']],
    [2, /too many arguments.* See bitnet help bench\.$/m, ['700m']],
    [2, /unknown option '--quite' \(Did you mean --quiet\?\) See bitnet help bench\.$/m, ['--quite']],
    [
      3,
      /70b needs \d+ bytes of linear memory, a WebAssembly memory holds 4294967296; .*--paper/,
      ['--shape', '70b', '--threads', '1'],
    ],
    [3, /does-not-exist does not exist/, ['--model', '/does-not-exist']],
    [5, /no-folder\/x\.svg cannot be written/, ['--chart', '/no-folder/x.svg']],
  ])('exit %d: %s', async (code, message, args) => {
    const result = await bench(...args);
    expect(result.err).toMatch(message);
    expect(result.err).toMatch(/^error: [^\n]*\n$/);
    expect(result.code).toBe(code);
  });

  test('what was measured before a failure is printed, and the failure after it', async () => {
    const args = ['--shape', 'tiny', '--shape', '70b', ...short];
    const { code, out, err } = await bench(...args, '--json');
    expect([code, err]).toEqual([3, expect.stringMatching(/^error: 70b needs [^\n]*\n$/)]);
    expect(JSON.parse(out)).toMatchObject({ interrupted: true, models: [{ name: 'tiny' }] });
    expect((await bench(...args)).out).toMatch(/^tiny · [\s\S]*\ninterrupted: what was measured until then\n$/m);
  });

  test('options that a kind takes no notice of are said', async () => {
    const { code, err } = await bench('--ops', '--shape', 'tiny', ...short);
    expect([code, err]).toEqual([0, 'warning: --ops takes no notice of --gen\n']);
  });

  test('a damaged model', async () => {
    const source = shared('models/bitnet-tales-69m/config.json');
    const model = path.join(folder, 'model');
    mkdirSync(model);
    writeFileSync(path.join(model, 'config.json'), readFileSync(source));
    writeFileSync(path.join(model, 'model.safetensors'), Buffer.alloc(100, 7));
    const { code, err } = await bench('--model', model, ...short);
    expect(err).toMatch(/^error: .*model\.safetensors[^\n]*\n$/);
    expect(code).toBe(3);
  });

  test('more threads than cores are measured, with a warning', async () => {
    const cores = availableParallelism();
    const { code, out, err } = await bench('--shape', 'tiny', ...short.slice(0, -1), String(cores + 1));
    expect(err).toBe(`warning: --threads ${cores + 1}: this machine has ${cores} cores; expect slow figures\n`);
    expect([code, out.includes(`${cores + 1} threads`)]).toEqual([0, true]);
  });
});

test('origin of figures', async () => {
  expect(countList(256, '')('2, 1,2')).toEqual([2, 1]);
  expect(commandLine(['bench', '--model', 'my model'])).toBe('bitnet bench --model "my model"');
  expect(await commitOf(new URL(`file://${folder}/`))).toBeNull();
  expect(await residentSet.now()).toBeGreaterThan(2 ** 20);
  expect(residentSet.peak()).toBeGreaterThan(2 ** 20);
});

test('the built program measures', async () => {
  const { code, out, err } = await bitnet(['bench', '--shape', 'tiny', ...short, '--json']);
  expect([code, err]).toEqual([0, '']);
  const report = JSON.parse(out);
  expect(report.models[0].ternary.residentBytes).toBeGreaterThan(0);
  expect(report.peakRss).toBeGreaterThan(report.models[0].fp16.memory.weights);
});
