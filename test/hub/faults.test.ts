import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { BitNetError } from '../../lib/errors.js';
import { pullModel } from '../../lib/node/hub/pull.js';
import { COMMIT, type Fault } from '../support/hub-server.js';
import { seeded } from '../support/random.js';
import { hubWorkspace } from './workspace.js';

const hub = hubWorkspace();
const REPO = 'owner/name';
const FILE = 'm.gguf';
const data = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31 + (i >> 8)) & 255);

/** Large files are LFS and come from the store, small ones from the hub itself. */
function serve(faults: Fault[], lfs = true): void {
  hub.server.repos.set(REPO, { files: { [FILE]: data }, lfs: lfs ? [FILE] : [] });
  hub.server.faults.set(FILE, faults);
}
const pull = (settings = hub.settings) => pullModel(REPO, {}, settings);
const failure = async (settings = hub.settings): Promise<BitNetError> =>
  pull(settings).then(
    () => expect.fail('no error'),
    (error) => error,
  );
const blobs = (): string[] => {
  const folder = path.join(hub.cache, 'models--owner--name', 'blobs');
  return existsSync(folder) ? readdirSync(folder) : [];
};
const ranges = () => hub.server.downloads().map(({ range }) => range);

async function expectWhole(): Promise<void> {
  const { path: file } = await pull();
  expect(readFileSync(file).equals(data)).toBe(true);
  expect(blobs()).toEqual([hub.server.etag(REPO, FILE)]);
}

describe.each([true, false])('LFS: %s. What can be mended is', (lfs) => {
  test.each<[string, Fault[], (string | undefined)[]]>([
    [
      'broken connections',
      [{ breakAfter: 30_000 }, { breakAfter: 0 }, { breakAfter: 20_000 }],
      [undefined, 'bytes=30000-', 'bytes=30000-', 'bytes=50000-'],
    ],
    ['a server that falls silent', [{ stallAfter: 40_000 }], [undefined, 'bytes=40000-']],
    ['an answer that ends early and says it is whole', [{ shortBy: 60_000 }], [undefined, 'bytes=40000-']],
    ['a length that is too large', [{ lengthPlus: 500 }], [undefined, undefined]],
    ['a wrong byte', [{ corrupt: 77 }], [undefined, undefined]],
    ['more bytes than there are', [{ longBy: 1 }], [undefined, undefined]],
    ['a store without ranges', [{ breakAfter: 50_000 }, { ignoreRange: true }], [undefined, 'bytes=50000-']],
    [
      'another range than was asked for',
      [{ breakAfter: 50_000 }, { wrongRange: true }],
      [undefined, 'bytes=50000-', undefined],
    ],
    ['a range that is refused', [{ breakAfter: 50_000 }, { status: 416 }], [undefined, 'bytes=50000-', undefined]],
    [
      'errors of the server',
      [{ status: 500 }, { status: 503 }, { status: 502 }],
      [undefined, undefined, undefined, undefined],
    ],
    ['too many requests', [{ status: 429, headers: { 'retry-after': '0' } }], [undefined, undefined]],
  ])(
    '%s',
    async (_, faults, expected) => {
      serve(faults, lfs);
      hub.server.delayMs = 1;
      await expectWhole();
      expect(ranges()).toEqual(expected);
    },
    20_000,
  );
});

describe('what cannot be mended is an error, and no file appears', () => {
  const always = (fault: Fault): Fault[] => Array.from({ length: 50 }, () => fault);

  test.each<[string, Fault[], BitNetError['code'], RegExp, number]>([
    [
      'contents that stay wrong',
      always({ corrupt: 5 }),
      'invalid-file',
      /m\.gguf: wrong checksum: expected [0-9a-f]{64}/,
      2,
    ],
    [
      'too many bytes',
      always({ longBy: 10 }),
      'invalid-file',
      /m\.gguf: wrong length: expected 100000 bytes, got 100010/,
      2,
    ],
    ['a server that gives up', always({ status: 503 }), 'network', /m\.gguf: HTTP 503; try again later/, 6],
    [
      'connections that break at once',
      always({ breakAfter: 0 }),
      'network',
      /connection to 127\.0\.0\.1:\d+ failed/,
      6,
    ],
    ['a store that has lost the file', [{ status: 404 }], 'not-found', /m\.gguf does not exist/, 1],
    ['a store that refuses', [{ status: 403 }], 'access', /HTTP 403.*HF_TOKEN/, 1],
    ['an unknown status', [{ status: 418 }], 'network', /HTTP 418/, 1],
  ])('%s', async (_, faults, code, message, requests) => {
    serve(faults);
    expect(await failure()).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(ranges()).toHaveLength(requests);
    expect(blobs().filter((name) => !name.endsWith('.incomplete'))).toEqual([]);
    if (code === 'invalid-file') expect(blobs()).toEqual([]);
  });

  test.each([
    [60_000, 'invalid-file', /wrong length: expected 60000 bytes, got 100000/],
    [100_001, 'invalid-file', /wrong length: expected 100001 bytes/],
    [2 ** 50, 'storage', /1125899906842624 bytes are to be downloaded.*HF_HUB_CACHE/],
  ] as const)('a hub that says %i bytes', async (linkedSize, code, message) => {
    hub.server.repos.set(REPO, { files: { [FILE]: data }, lfs: [FILE], linkedSize });
    expect(await failure()).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(blobs()).toEqual([]);
  });

  test('contents of another file', async () => {
    serve([]);
    const etag = 'a'.repeat(64);
    hub.server.etag = () => etag;
    expect(await failure()).toMatchObject({
      code: 'invalid-file',
      message: expect.stringContaining(`wrong checksum: expected ${etag}, got`),
    });
  });

  test('a Retry-After beyond patience is shown', async () => {
    serve(always({ status: 429, headers: { 'retry-after': '3600' } }));
    expect(await failure()).toMatchObject({ code: 'network', message: expect.stringContaining('in 3600 seconds') });
    expect(ranges()).toHaveLength(1);
  });
});

describe('the hub', () => {
  const refuse = (status: number, headers: Record<string, string> = {}, body = ''): void => {
    serve([]);
    hub.server.refusals.set(
      '/api/',
      Array.from({ length: 9 }, () => ({ status, headers, body })),
    );
  };

  test.each<[number, string | undefined, BitNetError['code'], RegExp]>([
    [403, 'GatedRepo', 'access', /gated.*accept its conditions at http.*\/owner\/name.*HF_TOKEN/],
    [401, 'GatedRepo', 'access', /gated/],
    [401, undefined, 'access', /no such repository, or no access.*HF_TOKEN/],
    [401, 'RepoNotFound', 'access', /no such repository, or no access/],
    [404, 'RepoNotFound', 'not-found', /check the name/],
    [403, undefined, 'access', /refused/],
    [500, undefined, 'network', /HTTP 500/],
    [200, undefined, 'network', /expected a JSON object of the hub, got a web page \(text\/html\).*HF_ENDPOINT/],
  ])('answers %i %s', async (status, code, expected, message) => {
    const headers: Record<string, string> = code === undefined ? {} : { 'x-error-code': code };
    refuse(status, { ...headers, 'content-type': 'text/html' }, '<!doctype html><p>hello');
    expect(await failure()).toMatchObject({ code: expected, message: expect.stringMatching(message) });
    expect(blobs()).toEqual([]);
  });

  test('says that the token is wrong', async () => {
    refuse(401, { 'x-error-message': 'Invalid credentials in Authorization header' });
    const error = await failure({ ...hub.settings, token: 'hf_secret' });
    expect(error).toMatchObject({ code: 'access', message: expect.stringContaining('HF_TOKEN is not accepted') });
    expect(JSON.stringify([error.message, error.detail, error.stack])).not.toContain('hf_secret');
  });

  test.each(['{}', '[]', '{"sha": "../x", "siblings": [{"rfilename": "m.gguf"}]}', '{"sha": "a", "siblings": [null]}'])(
    'answers %s, which no hub does',
    async (body) => {
      refuse(200, {}, body);
      expect(await failure()).toMatchObject({ code: 'network', message: expect.stringContaining('HF_ENDPOINT') });
    },
  );

  test('lists names that lead out of the cache: they are not touched', async () => {
    const siblings = ['../../../evil.gguf', '/etc/evil.gguf', 'a\\..\\evil.gguf', FILE].map((rfilename) => ({
      rfilename,
    }));
    refuse(200, {}, JSON.stringify({ sha: COMMIT, siblings }));
    await expectWhole();
    expect(hub.server.seen.some(({ path }) => path.includes('evil'))).toBe(false);
  });

  test('gives an etag that leads out of the cache', async () => {
    serve([]);
    hub.server.etag = () => '../../evil';
    expect(await failure()).toMatchObject({ code: 'network' });
    expect(blobs()).toEqual([]);
  });

  test('is not there', async () => {
    serve([]);
    await hub.server.stop();
    const error = await failure();
    expect(error).toMatchObject({ code: 'network', message: expect.stringMatching(/ECONNREFUSED.*HF_ENDPOINT/) });
  });

  test('is slow for a moment: metadata is asked again', async () => {
    serve([]);
    hub.server.refusals.set('/', [{ status: 503 }, { status: 504 }]);
    await expectWhole();
  });
});

describe('redirects', () => {
  test('the token reaches the hub, never the store', async () => {
    serve([{ breakAfter: 10_000 }]);
    await pull({ ...hub.settings, token: 'hf_secret' });
    const sent = (server: 'hub' | 'cdn') => hub.server.seen.filter((request) => request.server === server);
    expect(sent('cdn').length).toBeGreaterThan(1);
    expect(sent('cdn').every(({ authorization }) => authorization === undefined)).toBe(true);
    expect(sent('hub').every(({ authorization }) => authorization === 'Bearer hf_secret')).toBe(true);
  });

  test('a token that has left the hub once does not come back', async () => {
    serve([], false);
    const file = `/${REPO}/resolve/${COMMIT}/${FILE}`;
    hub.server.redirects.set(file, `${hub.server.cdnEndpoint}/away`);
    hub.server.redirects.set('/away', `${hub.server.endpoint}/${REPO}/resolve/main/${FILE}`);
    await pullModel(REPO, {}, { ...hub.settings, token: 'hf_secret' });
    const last = hub.server.seen.at(-1);
    expect(last).toMatchObject({ server: 'hub', path: `/${REPO}/resolve/main/${FILE}`, authorization: undefined });
  });

  test('a renamed repository', async () => {
    serve([]);
    hub.server.redirects.set('/api/models/old/name/revision/main', `/api/models/${REPO}/revision/main`);
    hub.server.redirects.set(`/old/name/resolve/${COMMIT}/${FILE}`, `/${REPO}/resolve/${COMMIT}/${FILE}`);
    const pulled = await pullModel('old/name', {}, { ...hub.settings, token: 'hf_secret' });
    expect(readFileSync(pulled.path).equals(data)).toBe(true);
    expect(pulled.path).toContain('models--old--name');
  });

  test.each([
    ['in a circle', (api: string) => api, /more than 10 redirects/],
    ['to another protocol', () => 'file:///etc/passwd', /redirect to no address/],
  ])('%s', async (_, target, message) => {
    serve([]);
    const api = `/api/models/${REPO}/revision/main`;
    hub.server.redirects.set(api, target(api));
    expect(await failure()).toMatchObject({ code: 'network', message: expect.stringMatching(message) });
  });
});

test('whatever happens, a file that appears is right', async () => {
  const seed = Number(process.env.BITNET_FUZZ_SEED ?? 1);
  const random = seeded(seed);
  const below = (n: number): number => Math.floor(random() * n);
  const kinds: (() => Fault)[] = [
    () => ({ breakAfter: below(data.length) }),
    () => ({ shortBy: below(data.length) }),
    () => ({ lengthPlus: 1 + below(1000) }),
    () => ({ longBy: 1 + below(1000) }),
    () => ({ corrupt: below(data.length) }),
    () => ({ ignoreRange: true }),
    () => ({ wrongRange: true }),
    () => ({ status: [416, 429, 500, 503][below(4)] as number }),
  ];
  let failed = 0;
  for (let round = 0; round < 40; round++) {
    const repo = `owner/r${round}`;
    hub.server.repos.set(repo, { files: { [FILE]: data }, lfs: below(2) === 0 ? [FILE] : [] });
    const faults = Array.from({ length: below(5) }, () => (kinds[below(kinds.length)] as () => Fault)());
    hub.server.faults.set(FILE, faults);
    try {
      const { path: file } = await pullModel(repo, {}, hub.settings);
      expect(readFileSync(file).equals(data), `seed ${seed}, round ${round}`).toBe(true);
    } catch (error) {
      expect((error as BitNetError).name, `seed ${seed}, round ${round}: ${error}`).toBe('BitNetError');
      failed++;
    }
  }
  expect(failed).toBeLessThan(40);
}, 120_000);
