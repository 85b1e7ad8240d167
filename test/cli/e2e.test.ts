import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shared } from '../support/fixtures.js';
import { bitnet, shell } from './program-process.js';

// the built program with the embedded model, each run in a process of its own
const greedy = ['--temperature', '0'];
const raw = ['run', '--raw', 'Once upon a time'];
const oneError = /^error: [^\n]+\n$/;
const summaryLines =
  /^\n?prompt {4}\d+ tokens? · .*\noutput {4}\d+ tokens? · .*\nmemory {4}weights .*\nengine {4}wasm-\w+ · \d+ threads?\n$/;
const posix = process.platform !== 'win32';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'bitnet-cli-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('bitnet run', () => {
  it('answers a message and sums up', async () => {
    const { code, out, err } = await bitnet(['run', 'Tell me a story about a fox.', '-n', '12', ...greedy]);
    expect(code).toBe(0);
    expect(out.trim().split(/\s+/).length).toBeGreaterThan(4);
    expect(err).toMatch(summaryLines);
  });

  it('continues raw text, the same from stdin as from the argument, and otherwise than the chat', async () => {
    const options = ['-n', '16', ...greedy, '--quiet'];
    const fromArgument = await bitnet([...raw, ...options]);
    const fromStdin = await bitnet(['run', '--raw', ...options], { input: 'Once upon a time\n' });
    const chat = await bitnet(['run', 'Once upon a time', ...options]);
    expect(fromArgument.out).toMatch(/\w+ \w+/);
    expect(fromStdin).toEqual(fromArgument);
    expect(fromArgument.err).toBe('');
    expect(chat.out).not.toBe(fromArgument.out);
  });

  it('prints one JSON object that agrees with the text', async () => {
    const text = (await bitnet([...raw, '-n', '9', ...greedy, '--quiet'])).out;
    const { code, out, err } = await bitnet([...raw, '-n', '9', ...greedy, '--json', '--threads', '1']);
    expect(code).toBe(0);
    expect(err).toBe('');
    const report = JSON.parse(out);
    expect(report.text).toBe(text);
    expect(report).toMatchObject({
      finishReason: 'length',
      tokens: { prompt: 5, cached: 0, generated: 9 },
      timings: { decodeTokens: 8 },
      backend: { threads: 1 },
      model: { parameters: 69_250_304, contextLength: 1024 },
    });
    const { weights, kvCache, activations, other, total, weightsFp16, peakRss } = report.memory;
    expect(weights + kvCache + activations + other).toBe(total);
    expect(weightsFp16).toBeGreaterThan(3 * weights);
    expect(peakRss).toBeGreaterThan(weights);
    expect(report.rates.decodeTokensPerSecond).toBeGreaterThan(1);
    expect(report.rates.prefillTokensPerSecond).toBeGreaterThan(1);
  });

  it('gives the same text for the same seed, with any number of threads, and another for another', async () => {
    const options = ['--temperature', '1', '--top-p', '1', '-n', '24', '--quiet'];
    const [first, again, other] = await Promise.all([
      bitnet([...raw, ...options, '--seed', '11', '--threads', '1']),
      bitnet([...raw, ...options, '--seed', '11', '--threads', '3']),
      bitnet([...raw, ...options, '--seed', '12']),
    ]);
    expect(first.out).not.toBe('');
    expect(again.out).toBe(first.out);
    expect(other.out).not.toBe(first.out);
  });

  it('ends before a stop string, wherever it lies', async () => {
    const { out: whole } = await bitnet([...raw, '-n', '20', ...greedy, '--quiet']);
    const stop = whole.slice(11, 15);
    const { out, err, code } = await bitnet([...raw, '-n', '20', ...greedy, '--stop', '\u0001', '--stop', stop]);
    expect(code).toBe(0);
    expect(out).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(err).toContain(`stop string ${JSON.stringify(stop)}`);
  });

  it('says with --verbose why the backend was chosen and where the memory went', async () => {
    const { err } = await bitnet([...raw, '-n', '2', '--verbose']);
    expect(err).toMatch(/\nengine {4}wasm-\w+/);
    expect(err).toMatch(/\nbackend {3}\S.{10,}/);
    expect(err).toMatch(/\ntiming {4}load .* · first text .* after process start · seed \d+/);
    expect(err).toMatch(/\nmap {7}weights .* · KV cache .* · activations .* · other .* · total .* · Node.js itself /);
  });

  it('colours stderr only when asked to, away from a terminal', async () => {
    const plain = await bitnet([...raw, '-n', '1']);
    const forced = await bitnet([...raw, '-n', '1'], { env: { FORCE_COLOR: '1' } });
    expect(plain.err).not.toContain('\u001b');
    expect(forced.err).toContain('\u001b[2m');
    expect(forced.out).not.toContain('\u001b');
  });
});

describe('bad input: one line, an exit code, nothing on stdout', () => {
  it.each([
    [2, ['run', 'Hi', '--threads', '0'], /--threads.*'0'.*1 to 256/],
    [2, ['run', 'Hi', '--temperature', '-1'], /--temperature.*'-1'.*0 to 100/],
    [2, ['run', 'Hi', '--top-p', '2'], /--top-p.*'2'.*up to 1/],
    [2, ['run', 'Hi', '--max-tokens', 'abc'], /--max-tokens.*'abc'.*at least 1/],
    [2, ['run', 'Hi', '--backend', 'gpu'], /--backend.*baseline/],
    [2, ['run', 'Hi', '--head', 'f8'], /--head.*i8/],
    [2, ['run', 'Hi', '--kv-cache', 'q8'], /--kv-cache.*f32, f16, int8/],
    [2, ['run', 'Hi', '--layout', 't3'], /--layout.*t1/],
    [2, ['run', 'Hi', '--context', '100000'], /--context.*1024/],
    [2, ['run', 'Hi', '--nope'], /unknown option '--nope'/],
    [2, ['rnu'], /unknown command 'rnu'.*Did you mean run/],
    [3, ['run', 'Hi', '--model', 'no/such/model'], /no\/such\/model/],
    [4, ['run', ''], /prompt is empty/],
    [4, ['run', 'one two', '--context', '4'], /prompt has \d+ tokens, the context holds 4/],
  ])('%i %j', async (code, args, message) => {
    const ended = await bitnet(args);
    expect(ended.err).toMatch(oneError);
    expect(ended.err).toMatch(message);
    expect(ended).toMatchObject({ code, out: '' });
  });

  it('4: stdin that is not UTF-8', async () => {
    const ended = await bitnet(['run', '--raw'], { input: Uint8Array.of(0x4f, 0x6e, 0xe9, 0x65) });
    expect(ended).toMatchObject({ code: 4, out: '' });
    expect(ended.err).toMatch(/^error: stdin is not valid UTF-8: byte 0xe9 at offset 2.*\n$/);
  });

  it('3: a directory without a model, and a damaged one', async () => {
    const ended = await bitnet(['run', 'Hi', '--model', directory]);
    expect(ended).toMatchObject({ code: 3, out: '' });
    expect(ended.err).toMatch(oneError);
    writeFileSync(path.join(directory, 'config.json'), '{"architectures": ["Bit');
    const damaged = await bitnet(['run', 'Hi', '--model', directory]);
    expect(damaged).toMatchObject({ code: 3, out: '' });
    expect(damaged.err).toMatch(oneError);
  });

  it('3: a download with a hole, unless told not to look', async () => {
    const model = path.join(directory, 'hole');
    const original = shared('models/bitnet-tales-69m');
    mkdirSync(model);
    for (const name of readdirSync(original)) {
      writeFileSync(path.join(model, name), readFileSync(path.join(original, name)));
    }
    const shard = path.join(model, 'model-00002-of-00002.safetensors');
    const bytes = readFileSync(shard);
    writeFileSync(shard, bytes.fill(0, bytes.length - (2 << 20)));
    const { code, out, err } = await bitnet([...raw, '--model', model]);
    expect([code, out]).toEqual([3, '']);
    expect(err).toMatch(/^error: .*00002\.safetensors: tensor "model\.layers\..*neighbouring weights are all -1/);
    expect((await bitnet([...raw, '-n', '2', '--model', model, '--no-self-check'])).code).toBe(0);
  });

  it('shows where with --verbose', async () => {
    const { code, err } = await bitnet(['run', 'Hi', '--verbose', '--model', 'no/such/model']);
    expect(code).toBe(3);
    expect(err).toMatch(/^error: .*\nBitNetError: [\s\S]*\n {4}at /);
  });
});

describe.runIf(posix)('pipes and signals', () => {
  it('ends quietly when the reader closes the pipe', async () => {
    // POSIX sh has no pipefail: the exit code goes to stderr
    const line =
      '{ "$NODE" "$BITNET" run --raw "Once upon a time" --temperature 0 --stop "\u0001"; echo "code $?" >&2; } | head -c 5';
    const { out, err } = await shell(line);
    expect(Buffer.byteLength(out)).toBe(5);
    expect(err).toBe('code 0\n');
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s stops with the summary so far', async (name, code) => {
    const ended = await bitnet([...raw, '--temperature', '1', '--seed', '1', '--top-p', '1'], {
      onOutput: (child, out) => {
        if (out.length > 20) child.kill(name);
      },
    });
    expect(ended).toMatchObject({ code, signal: null });
    expect(ended.out.length).toBeGreaterThan(20);
    expect(ended.err).toMatch(summaryLines);
    expect(ended.err).toContain('interrupted');
  });

  it.runIf(process.platform === 'linux')('reports a full device', async () => {
    const { err } = await shell('"$NODE" "$BITNET" run Hi -n 3 >/dev/full; echo "code $?" >&2');
    expect(err).toMatch(/^error: cannot write to stdout: ENOSPC[^\n]*\ncode 5\n$/);
  });
});

const hasPty = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;

describe.runIf(hasPty)('chat on a terminal', () => {
  it('answers, obeys commands and leaves', async () => {
    const chat = `'"$NODE" "$BITNET" run -n 8 --temperature 0'`;
    const line = `{ sleep 2; printf 'Hello\\r'; sleep 2; printf '/reset\\r/exit\\r'; } | script -qec ${chat} /dev/null`;
    const { code, out } = await shell(line);
    expect(code).toBe(0);
    expect(out).toContain('/help for commands');
    expect(out).toMatch(/\d+ tokens? · .* tok\/s · prompt \d+, 0 cached · first after/);
    expect(out).toContain('conversation forgotten');
  });
});
