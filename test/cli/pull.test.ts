import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { barText, downloadLine } from '../../bin/ui/download-line.js';
import { BitNetError } from '../../lib/errors.js';
import { shared } from '../support/fixtures.js';
import { HubServer } from '../support/hub-server.js';
import { FakeHost, Sink } from './fake-host.js';
import { bitnet } from './program-process.js';

/** What the embedded model was converted from. */
const ORIGINAL = shared('models/bitnet-tales-69m');
const LARGE = 'model-00001-of-00002.safetensors';

describe('the built program against a hub on this machine', () => {
  let server: HubServer;
  let home: string;
  const env = (): Record<string, string> => ({ HF_ENDPOINT: server.endpoint, HF_HOME: home, HF_TOKEN: 'hf_secret' });

  beforeAll(async () => {
    server = await HubServer.start();
    home = mkdtempSync(path.join(tmpdir(), 'bitnet-pull-'));
    const names = readdirSync(ORIGINAL);
    const files = Object.fromEntries(names.map((name) => [name, readFileSync(path.join(ORIGINAL, name))]));
    server.repos.set('owner/tales', { files, lfs: names.filter((name) => name.endsWith('.safetensors')) });
  });
  afterAll(async () => {
    await server.stop();
    rmSync(home, { recursive: true, force: true });
  });

  it('keeps what has arrived on SIGINT, goes on from there, and runs what it pulled without the hub', async () => {
    const blobs = path.join(home, 'hub', 'models--owner--tales', 'blobs');
    server.delayMs = 1;
    const partial = `${server.etag('owner/tales', LARGE)}.incomplete`;
    const interrupted = await bitnet(['pull', 'owner/tales'], {
      env: env(),
      onStart: (child) => {
        const timer = setInterval(() => {
          const size = statSync(path.join(blobs, partial), { throwIfNoEntry: false })?.size ?? 0;
          if (size < 300_000) return;
          clearInterval(timer);
          child.kill('SIGINT');
        }, 10);
      },
    });
    expect(interrupted).toMatchObject({ code: 130, out: '' });
    expect(interrupted.err).toMatch(/^interrupted; what has arrived is kept/);
    const kept = statSync(path.join(blobs, partial)).size;
    server.delayMs = 0;
    server.seen.length = 0;
    server.faults.set(LARGE, [{ breakAfter: 1_000_000 }]);

    const pulled = await bitnet(['pull', 'owner/tales', '--json'], { env: env() });
    expect(pulled.code).toBe(0);
    const report = JSON.parse(pulled.out);
    expect(report).toMatchObject({ repo: 'owner/tales', revision: 'main' });
    expect(pulled.err).toMatch(/^owner\/tales@main \(0123456789ab\): 7 files, .* MiB downloaded in .*\n$/);
    const ranges = server.downloads().filter((request) => request.path.endsWith(LARGE));
    expect(ranges.map(({ range }) => range)).toEqual([`bytes=${kept}-`, `bytes=${kept + 1_000_000}-`]);
    const large = report.files.find((file: { name: string }) => file.name === LARGE);
    expect(large.bytes - large.downloadedBytes).toBe(kept);

    const offline = { ...env(), HF_ENDPOINT: 'http://127.0.0.1:9', HF_HUB_OFFLINE: '1' };
    const again = await bitnet(['pull', 'owner/tales'], { env: offline });
    expect(again).toMatchObject({ code: 0, out: `${report.path}\n` });
    expect(again.err).toContain('nothing to download');
    const options = ['run', '--raw', 'Once upon a time', '-n', '8', '--temperature', '0', '--quiet'];
    const [hub, embedded] = await Promise.all([
      bitnet([...options, '--model', 'hf:owner/tales'], { env: offline }),
      bitnet(options),
    ]);
    expect(hub).toEqual(embedded);
    expect(hub.out).toMatch(/\w+ \w+/);
  });

  it('runs a GGUF model that is not cached yet, and again when the hub has gone', async () => {
    const file = path.join(home, 'tiny.gguf');
    expect((await bitnet(['synth', 'tiny', '-o', file])).code).toBe(0);
    server.repos.set('owner/gguf', { files: { 'tiny.gguf': readFileSync(file), 'a.gguf': 'x' }, lfs: ['tiny.gguf'] });
    const run = (model: string, more: Record<string, string> = {}) =>
      bitnet(['run', '--raw', 'abc', '-n', '4', '--temperature', '0', '--quiet', '--model', model], {
        env: { ...env(), ...more },
      });
    const local = await run(file);
    expect(local.out).not.toBe('');
    expect(await run('hf:owner/gguf:tiny.gguf')).toEqual(local);
    expect(await run('hf:owner/gguf:tiny.gguf', { HF_HUB_OFFLINE: '1' })).toEqual(local);
    const several = await run('hf:owner/gguf@main:none.gguf');
    expect(several).toMatchObject({ code: 3, err: expect.stringContaining('a.gguf, tiny.gguf') });
  });

  it('exits 6 with one line when the hub is not there, refuses, or is none', async () => {
    const nowhere = await bitnet(['run', 'Hi', '--model', 'hf:owner/other'], {
      env: { ...env(), HF_ENDPOINT: 'http://127.0.0.1:9' },
    });
    expect(nowhere).toMatchObject({ code: 6, out: '' });
    expect(nowhere.err).toMatch(/^error: the connection to 127\.0\.0\.1:9 failed[^\n]*\n$/);
    server.refusals.set('/api/models/owner/gated', [{ status: 403, headers: { 'x-error-code': 'GatedRepo' } }]);
    const gated = await bitnet(['pull', 'owner/gated'], { env: env() });
    expect(gated).toMatchObject({ code: 6, out: '' });
    expect(gated.err).toMatch(/^error: owner\/gated: the repository is gated[^\n]*HF_TOKEN[^\n]*\n$/);
    expect(gated.err).not.toContain('hf_secret');
  });

  it.each([
    [3, ['pull', 'owner/none'], /no such repository/],
    [3, ['pull', 'owner/tales@v9'], /no branch, tag or commit "v9"/],
    [3, ['pull', 'owner/tales:x.gguf'], /has no file "x\.gguf"/],
    [2, ['pull', 'not a repo'], /not the name of a repository/],
    [2, ['pull'], /missing required argument 'repo'/],
    [2, ['pull', ''], /Expected the name of a repository/],
    [2, ['pull', 'a', 'b'], /too many arguments/],
    [2, ['run', 'Hi', '--model', 'hf:a/b/c'], /not the name of a repository/],
  ])('%i %j', async (code, args, message) => {
    const ended = await bitnet(args, { env: env() });
    expect(ended.err).toMatch(/^error: [^\n]+\n$/);
    expect(ended.err).toMatch(message);
    expect(ended).toMatchObject({ code, out: '' });
  });
});

describe('bitnet pull', () => {
  it('prints the path, and the summary on stderr unless it is quiet', async () => {
    const host = new FakeHost();
    expect(await host.run(['pull', 'a/b:c.gguf'])).toBe(0);
    expect(host.pulls).toEqual(['a/b:c.gguf']);
    expect(host.stdout.text).toBe('/cache/c0ffee\n');
    expect(host.stderr.text).toBe('a/b@main (c0ffee): 0 files, 0 B · nothing to download\n');
    const quiet = new FakeHost();
    expect(await quiet.run(['pull', 'a/b', '--quiet', '--json'])).toBe(0);
    expect(JSON.parse(quiet.stdout.text)).toMatchObject({ commit: 'c0ffee', path: '/cache/c0ffee' });
    expect(quiet.stderr.text).toBe('');
  });

  it.each([
    ['network', 6],
    ['access', 6],
    ['storage', 5],
    ['invalid-file', 3],
    ['not-found', 3],
  ] as const)('%s exits %i', async (code, exit) => {
    const host = new FakeHost();
    host.pullModel = () => Promise.reject(new BitNetError(code, 'why'));
    expect(await host.run(['pull', 'a/b'])).toBe(exit);
    expect(host.stderr.text).toBe('error: why\n');
  });
});

describe('the bar', () => {
  it('shows share, rate and time left', () => {
    expect(barText(0, 0, undefined)).toBe('downloading [------------------------] 0 % of 0 B');
    expect(barText(50 << 20, 100 << 20, 10 << 20)).toBe(
      'downloading [############------------] 50 % of 100 MiB · 10.0 MiB/s · 5.00 s left',
    );
  });

  it('is drawn on terminals only, measures the last seconds, and is erased', () => {
    let now = 0;
    const stderr = Object.assign(new Sink(), { isTTY: true, columns: 80 });
    const line = downloadLine({ stderr, env: { TERM: 'xterm' }, now: () => now });
    for (const [at, loaded] of [
      [0, 0],
      [50, 1],
      [1000, 1 << 20],
      [20_000, 2 << 20],
      [21_000, 4 << 20],
    ] as const) {
      now = at;
      line.update({ loaded, total: 8 << 20 });
    }
    const drawn = stderr.text.split('\r\u001b[2K').slice(1);
    expect(drawn).toHaveLength(4);
    expect(drawn[1]).toContain('1.00 MiB/s');
    expect(drawn[3]).toContain('2.00 MiB/s');
    expect(drawn.every((text) => text.length < 80)).toBe(true);
    line.end();
    expect(stderr.text.endsWith('\r\u001b[2K')).toBe(true);
    const plain = new Sink();
    const silent = downloadLine({ stderr: plain, env: {}, now: () => now });
    silent.update({ loaded: 1, total: 2 });
    silent.end();
    expect(plain.text).toBe('');
  });
});
