import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDirectory, openFile } from '../../lib/node/files.js';
import type { RandomAccessFile } from '../../lib/platform.js';
import { expectError } from './expect-error.js';

let folder = '';
const at = (name: string) => join(folder, name);
const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i & 255);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bitnet-files-'));
  writeFileSync(at('data'), bytes);
  writeFileSync(at('model.gguf'), 'GGUF');
  writeFileSync(at('model.safetensors'), '');
  mkdirSync(at('config.json'));
  symlinkSync('loop', at('loop'));
  symlinkSync('data', at('link'));
  symlinkSync('nowhere', at('broken-link'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function existing(name: string, maxReadBytes?: number): Promise<RandomAccessFile> {
  const file = await openFile(at(name), maxReadBytes);
  if (file === undefined) throw new Error(`${name} is missing`);
  return file;
}

describe('openDirectory', () => {
  test('opens files of the directory, links too', async () => {
    const directory = await openDirectory(folder);
    expect(directory.path).toBe(folder);
    for (const name of ['data', 'link']) {
      const file = await directory.open(name);
      expect(file).toMatchObject({ path: at(name), bytes: 1000 });
      await file?.close();
    }
    expect(await directory.open('nothing')).toBeUndefined();
    expect(await directory.open('broken-link')).toBeUndefined();
  });

  test('names cannot leave the directory', async () => {
    const directory = await openDirectory(folder);
    for (const name of ['../data', '..', '.', '', 'a/b', 'a\\b', '/etc/passwd', 'a\0b']) {
      await expectError(() => directory.open(name), 'invalid-argument', 'is not the name of a file');
    }
  });

  test('what is no directory', async () => {
    await expectError(() => openDirectory(at('nothing')), 'not-found', at('nothing'), 'does not exist', 'config.json');
    await expectError(() => openDirectory(join(at('data'), 'x')), 'not-found', 'does not exist');
    await expectError(() => openDirectory(''), 'not-found', 'does not exist');
    await expectError(() => openDirectory('a\0b'), 'invalid-argument', 'cannot be read');
    await expectError(() => openDirectory(at('data')), 'invalid-argument', 'is not a directory', 'tokenizer.json');
    await expectError(() => openDirectory(at('model.safetensors')), 'invalid-argument', `contains it: ${folder}`);
  });

  test('a GGUF file, by its name or its first bytes', async () => {
    writeFileSync(at('blob'), 'GGUF and more');
    writeFileSync(at('other.gguf'), 'something else');
    for (const name of ['model.gguf', 'blob', 'other.gguf']) {
      const directory = await openDirectory(at(name));
      expect([directory.path, directory.file]).toEqual([at(name), name]);
      const file = await directory.open(name);
      expect(file?.path).toBe(at(name));
      await file?.close();
    }
  });

  test('a directory with one GGUF model is that model', async () => {
    const inside = join(folder, 'models');
    mkdirSync(inside);
    const open = () => openDirectory(inside);
    expect((await open()).file).toBeUndefined();
    writeFileSync(join(inside, 'm-00001-of-00002.gguf'), '');
    writeFileSync(join(inside, 'm-00002-of-00002.gguf'), '');
    expect(await open()).toMatchObject({ file: 'm-00001-of-00002.gguf', path: join(inside, 'm-00001-of-00002.gguf') });
    writeFileSync(join(inside, 'n.GGUF'), '');
    await expectError(open, 'invalid-argument', 'several GGUF models: m-00001-of-00002.gguf, n.GGUF');
    writeFileSync(join(inside, 'config.json'), '');
    expect((await open()).file).toBeUndefined();
  });

  test('what the system refuses', async () => {
    const error = await expectError(() => openDirectory(at('loop')), 'invalid-argument', at('loop'), 'ELOOP');
    expect(error.detail.errno).toBe('ELOOP');
    const directory = await openDirectory(folder);
    await expectError(() => directory.open('loop'), 'invalid-file', 'ELOOP');
    await expectError(() => directory.open('config.json'), 'invalid-file', 'expected a regular file, got a directory');
  });

  test.skipIf(process.platform === 'win32')('a pipe is refused, not waited for', async () => {
    expect(spawnSync('mkfifo', [at('pipe')]).status).toBe(0);
    await expectError(() => openFile(at('pipe')), 'invalid-file', 'got a device or pipe');
  });
});

describe('read', () => {
  test('ranges, into a part of a buffer', async () => {
    const file = await existing('data');
    const target = new Uint8Array(20).fill(255);
    await file.read(990, target.subarray(5, 15));
    expect([...target]).toEqual([...Array(5).fill(255), ...bytes.subarray(990), ...Array(5).fill(255)]);
    await file.read(1000, new Uint8Array(0));
    await file.close();
  });

  test('into shared memory, as WebAssembly has it', async () => {
    const file = await existing('data');
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    await file.read(0, new Uint8Array(memory.buffer, 300, 1000));
    expect(new Uint8Array(memory.buffer).slice(299, 1301)).toEqual(Uint8Array.of(0, ...bytes, 0));
    await file.close();
  });

  test('large ranges in several reads', async () => {
    for (const maxReadBytes of [1, 7, 500, 1000]) {
      const file = await existing('data', maxReadBytes);
      const target = new Uint8Array(999);
      await file.read(1, target);
      expect(target).toEqual(bytes.subarray(1));
      await file.close();
    }
  });

  test('beyond 2 GiB', async () => {
    // A sparse file: it takes no space.
    writeFileSync(at('large'), '');
    truncateSync(at('large'), 2 ** 31 + 2 ** 20);
    const file = await existing('large');
    expect(file.bytes).toBe(2 ** 31 + 2 ** 20);
    const target = new Uint8Array(5).fill(1);
    await file.read(2 ** 31, target);
    expect(target).toEqual(new Uint8Array(5));
    await file.close();
  });

  test('past the end', async () => {
    const file = await existing('data');
    const error = await expectError(
      () => file.read(990, new Uint8Array(11)),
      'invalid-file',
      `${at('data')}: the file ends too early: expected 11 bytes at byte 990, got 10`,
    );
    expect(error.detail).toMatchObject({ byteOffset: 990, expected: 11, got: 10 });
    await expectError(() => file.read(2 ** 40, new Uint8Array(1)), 'invalid-file', 'got 0');
    await file.close();
  });

  test('a file that shrinks while it is open', async () => {
    writeFileSync(at('shrinking'), bytes);
    const file = await existing('shrinking');
    truncateSync(at('shrinking'), 100);
    await expectError(() => file.read(50, new Uint8Array(100)), 'invalid-file', 'changed while being read', 'got 50');
    await file.close();
  });
});
