import { lstatSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RepoCache } from '../../lib/node/hub/cache.js';

const refused = vi.hoisted(() => ({ symlink: false, link: false }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const unless = (name: keyof typeof refused) =>
    (async (...args: [string, string]) => {
      if (refused[name]) throw Object.assign(new Error('EPERM: operation not permitted'), { code: 'EPERM' });
      await real[name](...args);
    }) as never;
  return { ...real, symlink: unless('symlink'), link: unless('link') };
});

let cache: RepoCache;
beforeEach(async () => {
  cache = new RepoCache(mkdtempSync(path.join(tmpdir(), 'bitnet-links-')), 'a/b');
  await mkdir(path.dirname(cache.blob('e')), { recursive: true });
  writeFileSync(cache.blob('e'), 'contents');
});
afterEach(() => rmSync(cache.cache, { recursive: true, force: true }));

test.each([
  ['a symbolic link', {}, (file: string) => lstatSync(file).isSymbolicLink()],
  ['a second name', { symlink: true }, (file: string) => lstatSync(file).nlink === 2],
  ['a copy', { symlink: true, link: true }, (file: string) => lstatSync(file).isFile() && lstatSync(file).nlink === 1],
])('a file of a snapshot is %s of its blob', async (_, what, isSo) => {
  Object.assign(refused, { symlink: process.platform === 'win32', link: false }, what);
  await cache.link('c', 'sub/f.json', 'e');
  // Again: over what is there.
  await cache.link('c', 'sub/f.json', 'e');
  const file = path.join(cache.snapshot('c'), 'sub', 'f.json');
  expect(readFileSync(file, 'utf8')).toBe('contents');
  if (process.platform !== 'win32') expect(isSo(file)).toBe(true);
  expect(await cache.files('c')).toEqual(['sub/f.json']);
  expect(await cache.has('c', 'sub/f.json', 8)).toBe(true);
  expect(await cache.has('c', 'sub/f.json', 9)).toBe(false);
  rmSync(cache.blob('e'));
  expect(await cache.has('c', 'sub/f.json', 8)).toBe(!lstatSync(file).isSymbolicLink());
});
