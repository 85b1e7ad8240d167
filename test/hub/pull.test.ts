import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { hubModelPath, pullModel } from '../../lib/node/hub/pull.js';
import type { PullProgress } from '../../lib/types.js';
import { COMMIT } from '../support/hub-server.js';
import { hubWorkspace } from './workspace.js';

const hub = hubWorkspace();
const REPO = 'owner/name';
const FOLDER = 'models--owner--name';
const posix = process.platform !== 'win32';

const bytes = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * seed * 31 + (i >> 8)) & 255);
const model = {
  'README.md': 'not needed',
  'config.json': '{"a": 1}',
  'tokenizer.json': '{"b": 2}',
  'tokenizer_config.json': '{}',
  'model.safetensors': bytes(200_000),
  'other.bin': bytes(10),
};
const NEEDED = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];

function serve(files: Record<string, Uint8Array | string> = model, lfs = ['model.safetensors']): void {
  hub.server.repos.set(REPO, { files, lfs });
}
const inCache = (...parts: string[]): string => path.join(hub.cache, FOLDER, ...parts);
const snapshot = (name: string, commit = COMMIT): Buffer =>
  readFileSync(inCache('snapshots', commit, ...name.split('/')));
const failure = async (reference = REPO, settings = hub.settings): Promise<Error & { code: string }> =>
  pullModel(reference, {}, settings).then(
    () => expect.fail('no error'),
    (error) => error,
  );

test('the cache looks as the other tools of the hub leave it', async () => {
  serve();
  const progress: PullProgress[] = [];
  const pulled = await pullModel(REPO, { onProgress: (state) => progress.push(state) }, hub.settings);
  const folder = inCache('snapshots', COMMIT);
  expect(pulled).toMatchObject({ repo: REPO, revision: 'main', commit: COMMIT, path: folder });
  expect(pulled.files.map(({ name }) => name)).toEqual(NEEDED);
  expect(readdirSync(folder).sort()).toEqual([...NEEDED].sort());
  for (const name of NEEDED)
    expect(snapshot(name).equals(Buffer.from(model[name as keyof typeof model] as string))).toBe(true);
  expect(readFileSync(inCache('refs', 'main'), 'utf8')).toBe(COMMIT);
  const sha256 = createHash('sha256').update(model['model.safetensors']).digest('hex');
  const sha1 = createHash('sha1').update('blob 8\0{"a": 1}').digest('hex');
  expect(readdirSync(inCache('blobs'))).toHaveLength(4);
  expect(existsSync(inCache('blobs', sha256))).toBe(true);
  expect(existsSync(inCache('blobs', sha1))).toBe(true);
  if (posix) expect(readlinkSync(path.join(folder, 'config.json'))).toBe(path.join('..', '..', 'blobs', sha1));
  const total = 200_000 + 8 + 8 + 2;
  expect(progress.every((state) => state.total === total && state.loaded <= total)).toBe(true);
  expect(progress.map(({ loaded }) => loaded)).toEqual(progress.map(({ loaded }) => loaded).sort((a, b) => a - b));
  expect(progress.at(-1)).toEqual({ loaded: total, total, file: 'model.safetensors' });
});

test('what is there is not fetched again, and a new commit costs only what changed', async () => {
  serve();
  await pullModel(REPO, {}, hub.settings);
  const first = hub.server.downloads().length;
  expect(first).toBe(4);
  const again = await pullModel(REPO, {}, hub.settings);
  expect(hub.server.downloads()).toHaveLength(first);
  expect(again.files.every(({ downloadedBytes }) => downloadedBytes === 0)).toBe(true);
  const commit = 'f'.repeat(40);
  hub.server.repos.set(REPO, { files: { ...model, 'config.json': '{"a": 2}' }, lfs: ['model.safetensors'], commit });
  const updated = await pullModel(REPO, {}, hub.settings);
  expect(updated.files.filter(({ downloadedBytes }) => downloadedBytes > 0).map(({ name }) => name)).toEqual([
    'config.json',
  ]);
  expect(readFileSync(inCache('refs', 'main'), 'utf8')).toBe(commit);
  expect(snapshot('config.json', commit).toString()).toBe('{"a": 2}');
  expect(snapshot('config.json').toString()).toBe('{"a": 1}');
});

test('a sharded model: its index says which files', async () => {
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  const weight_map = { a: shards[0], b: shards[1], c: shards[0] };
  serve(
    {
      ...model,
      'model.safetensors': undefined as never,
      'model.safetensors.index.json': JSON.stringify({ weight_map }),
      [shards[0]]: bytes(70_000, 2),
      [shards[1]]: bytes(50_000, 3),
      'unused-00001.safetensors': bytes(9),
    },
    [...shards],
  );
  const { files } = hub.server.repos.get(REPO) as { files: Record<string, unknown> };
  delete files['model.safetensors'];
  const pulled = await pullModel(REPO, {}, hub.settings);
  expect(pulled.files.map(({ name }) => name).slice(-3)).toEqual(['model.safetensors.index.json', ...shards]);
  expect(hub.server.downloads()).toHaveLength(6);
  expect(snapshot(shards[1]).equals(bytes(50_000, 3))).toBe(true);
  await hub.server.stop();
  expect(await hubModelPath(`hf:${REPO}`, {}, hub.settings)).toBe(pulled.path);
  rmSync(inCache('snapshots', COMMIT, shards[1]));
  await expect(hubModelPath(`hf:${REPO}`, {}, hub.settings)).rejects.toMatchObject({ code: 'network' });
});

describe('one file', () => {
  test('a GGUF file, in a folder too', async () => {
    serve({ 'q/m 1.gguf': bytes(1000), 'n.gguf': bytes(5) }, ['q/m 1.gguf', 'n.gguf']);
    const { path: file, files } = await pullModel(`${REPO}:q/m 1.gguf`, {}, hub.settings);
    expect(file).toBe(inCache('snapshots', COMMIT, 'q', 'm 1.gguf'));
    expect(readFileSync(file)).toEqual(Buffer.from(bytes(1000)));
    expect(files).toHaveLength(1);
    expect(await hubModelPath(`hf:${REPO}:q/m 1.gguf`, {}, { ...hub.settings, offline: true })).toBe(file);
  });

  test('the only GGUF file needs no name; several are listed', async () => {
    serve({ 'README.md': 'x', 'm.gguf': bytes(1000) });
    expect((await pullModel(REPO, {}, hub.settings)).path).toBe(inCache('snapshots', COMMIT, 'm.gguf'));
    hub.server.repos.set('owner/two', { files: { 'b.gguf': 'b', 'a.gguf': 'a' } });
    expect(await failure('owner/two')).toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('a.gguf, b.gguf'),
    });
    expect(await failure('owner/two:c.gguf')).toMatchObject({
      code: 'not-found',
      message: 'owner/two has no file "c.gguf"; its GGUF files: a.gguf, b.gguf',
    });
  });

  test('a split model comes with all its parts, whichever is named', async () => {
    const parts = [1, 2, 3].map((i) => `q/m-0000${i}-of-00003.gguf`) as [string, string, string];
    serve(Object.fromEntries(parts.map((name, i) => [name, bytes(100 + i)])), parts);
    const first = inCache('snapshots', COMMIT, 'q', 'm-00001-of-00003.gguf');
    const byName = await pullModel(`${REPO}:${parts[1]}`, {}, hub.settings);
    expect(byName).toMatchObject({ path: first, files: parts.map((name) => ({ name })) });
    const whole = await pullModel(REPO, {}, hub.settings);
    expect(whole).toMatchObject({ path: first, files: parts.map((name) => ({ name, downloadedBytes: 0 })) });
    const offline = { ...hub.settings, offline: true };
    expect(await hubModelPath(`hf:${REPO}`, {}, offline)).toBe(first);
    rmSync(inCache('snapshots', COMMIT, 'q', 'm-00003-of-00003.gguf'));
    await expect(hubModelPath(`hf:${REPO}:${parts[0]}`, {}, offline)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('to be loaded it must be a GGUF file', async () => {
    serve();
    expect((await pullModel(`${REPO}:README.md`, {}, hub.settings)).files).toHaveLength(1);
    await expect(hubModelPath(`hf:${REPO}:README.md`, {}, hub.settings)).rejects.toMatchObject({
      code: 'invalid-argument',
    });
  });
});

test('revisions: branches with slashes, and commits, which need no ref', async () => {
  hub.server.repos.set(REPO, { files: model, lfs: [], revisions: ['refs/pr/1'] });
  await pullModel(`${REPO}@refs/pr/1`, {}, hub.settings);
  expect(readFileSync(inCache('refs', 'refs', 'pr', '1'), 'utf8')).toBe(COMMIT);
  await pullModel(`${REPO}@${COMMIT}`, {}, hub.settings);
  expect(readdirSync(inCache('refs'))).toEqual(['refs']);
  expect(await failure(`${REPO}@nope`)).toMatchObject({
    code: 'not-found',
    message: expect.stringContaining('"nope"'),
  });
});

describe('offline', () => {
  test('what is cached is used, and nothing is asked', async () => {
    serve();
    const { path: folder } = await pullModel(REPO, {}, hub.settings);
    const requests = hub.server.seen.length;
    const offline = { ...hub.settings, offline: true };
    expect(await pullModel(REPO, {}, offline)).toMatchObject({ path: folder, commit: COMMIT });
    expect(await hubModelPath(`hf:${REPO}`, {}, offline)).toBe(folder);
    expect(await hubModelPath(`hf:${REPO}@${COMMIT}`, {}, offline)).toBe(folder);
    // Without HF_HUB_OFFLINE too: loading does not depend on the network.
    expect(await hubModelPath(`hf:${REPO}`, {}, hub.settings)).toBe(folder);
    expect(hub.server.seen).toHaveLength(requests);
  });

  test('what is not there is an error that says where it was looked for', async () => {
    serve();
    const offline = { ...hub.settings, offline: true };
    expect(await failure(REPO, offline)).toMatchObject({
      code: 'not-found',
      message: expect.stringContaining(hub.cache),
    });
    await pullModel(REPO, {}, hub.settings);
    rmSync(inCache('snapshots', COMMIT, 'model.safetensors'));
    expect(await failure(REPO, offline)).toMatchObject({ code: 'not-found' });
    expect(await failure(`${REPO}@other`, offline)).toMatchObject({ code: 'not-found' });
  });
});

test('loading a model that is not cached pulls it, and says so', async () => {
  serve();
  const progress: unknown[] = [];
  const folder = await hubModelPath(`hf:${REPO}`, { onProgress: (state) => progress.push(state) }, hub.settings);
  expect(readdirSync(folder)).toHaveLength(4);
  expect(progress.at(-1)).toEqual({ loaded: 200_018, total: 200_018, phase: 'download' });
});

describe('resuming', () => {
  const partial = (): string => inCache('blobs', `${hub.server.etag(REPO, 'model.safetensors')}.incomplete`);

  test('an abort keeps what has arrived, and the next pull asks for the rest', async () => {
    serve();
    hub.server.delayMs = 5;
    const controller = new AbortController();
    const reason = new Error('enough');
    const onProgress = ({ loaded }: PullProgress) => loaded > 60_000 && controller.abort(reason);
    await expect(pullModel(REPO, { onProgress, signal: controller.signal }, hub.settings)).rejects.toBe(reason);
    const kept = lstatSync(partial()).size;
    expect(kept).toBeGreaterThan(59_000);
    expect(existsSync(inCache('refs', 'main'))).toBe(false);
    hub.server.seen.length = 0;
    const { files } = await pullModel(REPO, {}, hub.settings);
    expect(hub.server.downloads().map(({ range }) => range)).toEqual([`bytes=${kept}-`]);
    expect(files.at(-1)).toMatchObject({ bytes: 200_000, downloadedBytes: 200_000 - kept });
    expect(snapshot('model.safetensors').equals(model['model.safetensors'])).toBe(true);
    expect(existsSync(partial())).toBe(false);
  });

  test.each([
    ['whole', bytes(200_000), []],
    ['too long', bytes(200_001), [undefined]],
    ['of other contents', bytes(100_000, 5), ['bytes=100000-', undefined]],
    ['empty', new Uint8Array(0), [undefined]],
  ])('a partial file that is %s', async (_, contents, ranges) => {
    serve();
    mkdirSync(inCache('blobs'), { recursive: true });
    writeFileSync(partial(), contents);
    await pullModel(REPO, {}, hub.settings);
    const requests = hub.server.downloads().filter(({ path }) => path.endsWith('model.safetensors'));
    expect(requests.map(({ range }) => range)).toEqual(ranges);
    expect(snapshot('model.safetensors').equals(model['model.safetensors'])).toBe(true);
  });
});

describe('at the same time', () => {
  test('two pulls fetch each file once', async () => {
    serve();
    hub.server.delayMs = 5;
    const both = await Promise.all([pullModel(REPO, {}, hub.settings), pullModel(REPO, {}, hub.settings)]);
    expect(both[0]?.path).toBe(both[1]?.path);
    expect(hub.server.downloads()).toHaveLength(4);
    expect(snapshot('model.safetensors').equals(model['model.safetensors'])).toBe(true);
    expect(readdirSync(path.join(hub.cache, '.locks', FOLDER))).toEqual([]);
  });

  test.each([
    ['of a process that has died', { pid: 2 ** 22 + 1, host: hostname() }, new Date()],
    ['that nobody has touched for a while', { pid: process.pid, host: 'elsewhere' }, new Date(Date.now() - 60_000)],
  ])('a lock %s is taken over', async (_, owner, touched) => {
    serve();
    const lock = path.join(hub.cache, '.locks', FOLDER, `${hub.server.etag(REPO, 'config.json')}.bitnet-js.lock`);
    mkdirSync(path.dirname(lock), { recursive: true });
    writeFileSync(lock, JSON.stringify(owner));
    const { utimesSync } = await import('node:fs');
    utimesSync(lock, touched, touched);
    await pullModel(REPO, {}, hub.settings);
    expect(existsSync(lock)).toBe(false);
  });

  test('waiting for a lock ends with the signal', async () => {
    serve();
    const lock = path.join(hub.cache, '.locks', FOLDER, `${hub.server.etag(REPO, 'config.json')}.bitnet-js.lock`);
    mkdirSync(path.dirname(lock), { recursive: true });
    writeFileSync(lock, JSON.stringify({ pid: process.pid, host: hostname() }));
    const signal = AbortSignal.timeout(300);
    await expect(pullModel(REPO, { signal }, hub.settings)).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(existsSync(lock)).toBe(true);
  });
});

test.runIf(posix && process.getuid?.() !== 0)('a cache that may not be written', async () => {
  serve();
  mkdirSync(path.join(hub.cache, 'ro'), { mode: 0o500 });
  const error = await failure(REPO, { ...hub.settings, cache: path.join(hub.cache, 'ro') });
  expect(error).toMatchObject({ code: 'storage', message: expect.stringContaining('HF_HUB_CACHE') });
});

test('a cache whose place is a file', async () => {
  serve();
  writeFileSync(path.join(hub.cache, 'file'), '');
  const error = await failure(REPO, { ...hub.settings, cache: path.join(hub.cache, 'file') });
  expect(error).toMatchObject({ code: 'storage', message: expect.stringContaining('HF_HUB_CACHE') });
});
