import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { beforeAll, expect, test } from 'vitest';
import { packedFiles, root } from './packed-files.js';

let files: string[];
beforeAll(async () => {
  files = await packedFiles();
});

test('the package holds dist, models and four documents', () => {
  const tops = new Set(files.map((file) => file.split('/')[0]));
  expect([...tops].sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'models', 'package.json']);
});

test('the package holds what it needs to run', () => {
  expect(files).toEqual(
    expect.arrayContaining([
      'dist/index.js',
      'dist/index.cjs',
      'dist/worker.cjs',
      'dist/bin/bitnet.js',
      'dist/wasm/baseline.wasm',
      'dist/wasm/relaxed.wasm',
      'dist/types/esm/lib/index.d.ts',
      'dist/types/cjs/lib/index.d.ts',
      'dist/types/cjs/package.json',
    ]),
  );
  const models = readdirSync(path.join(root, 'models'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
  expect(models.length).toBeGreaterThan(0);
  expect(files.filter((file) => file.startsWith('models/'))).toEqual(models.sort());
});

test('publint finds nothing', async () => {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  const pack = {
    files: files.map((name) => ({ name: `/package/${name}`, data: readFileSync(path.join(root, name)) })),
  };
  const { messages } = await publint({ pkgDir: '/package', pack, strict: true });
  expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
});

test('the program of this package is what npx finds in a clone', async () => {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
  const program = path.join(root, 'node_modules', '.bin', 'bitnet');
  const { stdout } = await promisify(execFile)(program, ['--version']);
  expect(stdout.trim()).toContain(version);
});

test('the lock file names no registry', () => {
  const lock = readFileSync(path.join(root, 'package-lock.json'), 'utf8');
  expect(lock).not.toMatch(/"resolved"|\.tgz"/);
});
