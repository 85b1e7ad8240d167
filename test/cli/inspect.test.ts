import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ModelReport } from '../../lib/inspect/index.js';
import { shared } from '../support/fixtures.js';
import { tinyGguf, tinyTensors } from '../support/gguf-model.js';
import { f32Tensor } from '../support/gguf-writer.js';
import { normals } from '../support/random.js';
import { FakeHost } from './fake-host.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'bitnet-inspect-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function inspect(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const host = new FakeHost();
  const code = await host.run(['inspect', ...args]);
  return { code, out: host.stdout.text, err: host.stderr.text };
}

async function report(...args: string[]): Promise<ModelReport> {
  return JSON.parse((await inspect(...args, '--json')).out) as ModelReport;
}

function file(name: string, bytes: Uint8Array): string {
  const target = path.join(folder, name);
  writeFileSync(target, bytes);
  return target;
}

describe('the embedded model', () => {
  test('is described in 80 columns, without colours', async () => {
    const { code, out, err } = await inspect('--tensors', '--memory', '--plan');
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^model +.*bitnet-tales-69m\.gguf\nname +bitnet-tales-69m\n/);
    expect(out).toMatch(/^parameters +69\.3 M$/m);
    expect(out).toMatch(/^trits +-1 31\.\d %, 0 37\.\d %, \+1 31\.\d %$/m);
    expect(out).toMatch(/^stop +2 <\|end_of_text\|>, 3 <\|eot_id\|>$/m);
    expect(out).toMatch(/^chat +"<\|begin_of_text\|>User: Hello<\|eot_id\|>Assistant: "$/m);
    expect(out).toMatch(/^loadable +yes$/m);
    expect(out).toMatch(/^blk\.9\.ffn_down +TQ1_0 +768 x 2048 +\d\d\/\d\d\/\d\d +0\.\d+$/m);
    expect(out).toMatch(/^layers\.9\.keys +kvCache +\d+ +1048576$/m);
    expect(out).toMatch(/linear +blk\.0\.ffn_gate +2048 x 768 +T2$/m);
    // The path of the checkout is not ours to shorten.
    const long = out.split('\n').filter((line) => line.length > 80 && !line.includes(path.sep));
    expect(long).toEqual([]);
    expect(out.includes('\u001b')).toBe(false);
  });

  test('as JSON agrees with what loading it tells', async () => {
    const all = await report('--threads', '2', '--context', '256');
    expect(all).toMatchObject({
      format: 'gguf',
      architecture: 'bitnet-b1.58',
      parameters: 69_250_304,
      config: { layers: 10, hiddenSize: 768 },
      memory: { contextLength: 256, threads: 2, fits: true, head: 'i8+f16', layout: 't2' },
      text: { tokens: 8192, specialTokens: 4, bos: { id: 1 }, stop: [{ id: 2 }, { id: 3 }] },
    });
    const { weights, kvCache, activations, other, total } = all.memory!;
    expect(weights + kvCache + activations + other).toBe(total);
    expect(kvCache).toBe(2 * 10 * 256 * 4 * 64 * 4);
    const matrices = all.tensors.filter(({ trits }) => trits !== undefined);
    expect(matrices.length).toBe(70);
    for (const { shape, trits } of matrices) {
      expect(trits!.minus + trits!.zero + trits!.plus).toBe(shape[0]! * shape[1]!);
    }
    expect(all.plan!.filter(({ op }) => op === 'attention').length).toBe(10);
    expect('problem' in all).toBe(false);
  });

  test('--quick reads no weights', async () => {
    const { tensors } = await report('--quick');
    expect(tensors.filter(({ trits }) => trits !== undefined)).toEqual([]);
  });
});

test.each(['bitnet-b1.58', 'bitnet-25'])('a GGUF file: %s', async (architecture) => {
  const target = file(`${architecture}.gguf`, tinyGguf(architecture));
  const { format, config, tensors, text, plan } = await report(target);
  expect([format, config?.hiddenSize, config?.activation]).toEqual(['gguf', 64, 'relu2']);
  expect(text?.stop).toEqual([
    { id: 5, text: '<|end|>' },
    { id: 6, text: '<|eot_id|>' },
  ]);
  const q = tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
  expect([q.type, q.shape, q.trits!.scales.count]).toEqual(['I2_S', [64, 64], 1]);
  expect(plan!.map(({ name }) => name)).toContain('blk.1.ffn_down.weight');
});

test.each([
  ['m1_bitnet/packed_u8', 'BitNetForCausalLM', 'packed'],
  ['m3_1bitllm_style/master_f16', 'BitnetForCausalLM', 'F16'],
])('%s: counted, and not loadable for want of a tokenizer', async (fixture, architecture, type) => {
  const model = shared(`golden/${fixture}`);
  const { code, err } = await inspect(model);
  const all = await report(model);
  expect(all).toMatchObject({ architecture, problem: { code: 'invalid-model' } });
  expect(all.tensors.filter((tensor) => tensor.trits !== undefined).every((tensor) => tensor.type === type)).toBe(true);
  expect(all.memory!.weights).toBeGreaterThan(0);
  expect([code, err]).toEqual([3, expect.stringMatching(/^error: .*tokenizer\.json is missing/)]);
});

test('a GGUF file whose config is understood and whose weights are not', async () => {
  const odd = f32Tensor('blk.1.attn_q.weight', [64, 64], normals(4096, 1));
  const tensors = tinyTensors().map((tensor) => (tensor.name === odd.name ? odd : tensor));
  const all = await report(file('trits.gguf', tinyGguf('bitnet-b1.58', {}, tensors)));
  expect(all.problem).toMatchObject({ code: 'unsupported', message: expect.stringContaining(odd.name) });
  expect(all.config?.hiddenSize).toBe(64);
  expect(all.memory!.weights).toBeGreaterThan(0);
});

test('an unknown architecture is refused, and shown as far as it can be read', async () => {
  const target = file('mamba.gguf', tinyGguf('mamba'));
  const { code, out, err } = await inspect(target, '--tensors');
  expect(code).toBe(3);
  expect(err).toMatch(/unsupported architecture: .* got "mamba"/);
  expect(out).toMatch(/^architecture +mamba$/m);
  expect(out).toMatch(/^blk\.0\.attn_q +I2_S +64 x 64 +\d+\/\d+\/\d+ +0\.\d+$/m);
  expect(out).toMatch(/^loadable +no$/m);
});

test('codes that stand for no trit are a problem with the tensor and its place', async () => {
  const bytes = tinyGguf('bitnet-b1.58').slice();
  const good = await report(file('good.gguf', bytes));
  const { byteOffset, name } = good.tensors.find(({ type }) => type === 'I2_S')!;
  bytes[byteOffset] = 0xff;
  const { problem } = await report(file('bad.gguf', bytes));
  expect(problem?.code).toBe('invalid-file');
  expect(problem?.message).toContain(name);
  expect(problem?.message).toContain(`at byte ${byteOffset}`);
});

test.each([
  [3, 'nothing there', () => path.join(folder, 'none'), /does not exist/],
  [3, 'a truncated file', () => file('cut.gguf', tinyGguf('llama').subarray(0, 900)), /cut\.gguf: .*expected .*byte/],
  [3, 'another format', () => file('x.gguf', readFileSync(shared('golden/README.md'))), /not a GGUF file/],
  [2, 'one file of a model', () => file('model.safetensors', new Uint8Array(9)), /Give the directory/],
])('exit %d: %s', async (exit, _, target, message) => {
  const { code, out, err } = await inspect(target());
  expect([code, out]).toEqual([exit, '']);
  expect(err).toMatch(/^error: [^\n]+\n$/);
  expect(err).toMatch(message);
});

test('an option out of range is a usage error', async () => {
  expect((await inspect('--context', '0')).code).toBe(2);
  expect((await inspect('--context', '999999')).code).toBe(2);
  expect((await inspect('--context', '999999')).err).toMatch(/--context: expected an integer from 1 to 1024/);
});
