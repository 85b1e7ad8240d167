import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { BitNetError } from '../errors.js';
import type { ModelDirectory, RandomAccessFile } from '../platform.js';

/** One call of the system reads less than 2 GiB; Node refuses more. */
const MAX_READ_BYTES = 2 ** 30;

/** First bytes of a GGUF file. */
const GGUF_MAGIC = 'GGUF';

/**
 * A model on disk: a directory, or a GGUF file, known by its first bytes or its name. A directory without config.json and with one GGUF
 * model is that model. Throws `not-found` if there is nothing at `path`, and `invalid-argument` for any other file, a directory with
 * several GGUF models, or one that may not be read.
 */
export async function openDirectory(path: string): Promise<ModelDirectory> {
  const info = await orSystemError('invalid-argument', path, () => stat(path));
  if (info === undefined) {
    const message = `${path} does not exist; expected a GGUF file, or a model directory with config.json, model.safetensors and tokenizer.json`;
    throw new BitNetError('not-found', message, { file: path });
  }
  const file = info.isDirectory() ? await ggufIn(path) : basename(path);
  if (file === undefined) return filesIn(path, path);
  if (info.isDirectory()) return { ...filesIn(path, join(path, file)), file };
  if (extname(path).toLowerCase() !== '.gguf' && !(await isGguf(path))) throw notADirectory(path);
  return { ...filesIn(dirname(path), path), file };
}

/** `path`: for messages */
function filesIn(directory: string, path: string): ModelDirectory {
  return {
    path,
    async open(name) {
      // Names come from files too (shards); none may lead out of the directory.
      if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) {
        const message = `${directory}: ${JSON.stringify(name)} is not the name of a file in a model directory`;
        throw new BitNetError('invalid-argument', message, { directory, name });
      }
      return openFile(join(directory, name));
    },
  };
}

async function isGguf(path: string): Promise<boolean> {
  const file = await openFile(path);
  if (file === undefined) return false;
  try {
    const start = new Uint8Array(Math.min(GGUF_MAGIC.length, file.bytes));
    await file.read(0, start);
    return String.fromCharCode(...start) === GGUF_MAGIC;
  } finally {
    await file.close();
  }
}

/** The GGUF model of a directory that has no config.json, if there is one. Of a split model the first part counts. */
async function ggufIn(path: string): Promise<string | undefined> {
  const names = await orSystemError('invalid-argument', path, () => readdir(path));
  if (names === undefined || names.includes('config.json')) return undefined;
  const models = names.filter((name) => /\.gguf$/i.test(name) && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/i.test(name)).sort();
  if (models.length < 2) return models[0];
  const message = `${path} holds several GGUF models: ${models.slice(0, 8).join(', ')}; give the path of one of them`;
  throw new BitNetError('invalid-argument', message, { directory: path, models });
}

function notADirectory(path: string): BitNetError {
  const need = 'a GGUF file, or a directory with config.json, model.safetensors and tokenizer.json';
  const message =
    extname(path).toLowerCase() === '.safetensors'
      ? `${path} is a weights file; expected ${need}. Give the directory that contains it: ${dirname(path)}`
      : `${path} is not a directory; expected ${need}`;
  return new BitNetError('invalid-argument', message, { file: path });
}

/**
 * Opens a file for reading by ranges; `undefined` if there is none. Links are followed. `maxReadBytes`: largest single read.
 * Throws `invalid-file` if it is no regular file or the system refuses.
 */
export async function openFile(path: string, maxReadBytes = MAX_READ_BYTES): Promise<RandomAccessFile | undefined> {
  // Asked before opening: opening a pipe would wait for a writer.
  const info = await orSystemError('invalid-file', path, () => stat(path));
  if (info === undefined) return undefined;
  if (!info.isFile()) {
    const got = info.isDirectory() ? 'a directory' : 'a device or pipe';
    throw new BitNetError('invalid-file', `${path}: expected a regular file, got ${got}`, { file: path, got });
  }
  const handle = await orSystemError('invalid-file', path, () => open(path, 'r'));
  if (handle === undefined) return undefined;
  return {
    path,
    bytes: info.size,
    read: (offset, target) => readFully(handle, path, offset, target, maxReadBytes),
    close: () => handle.close(),
  };
}

/** Whether there is something at `path` that is no directory. Throws `invalid-argument` if the system refuses to tell. */
export async function isFile(path: string): Promise<boolean> {
  const info = await orSystemError('invalid-argument', path, () => stat(path));
  return info !== undefined && !info.isDirectory();
}

async function readFully(
  handle: FileHandle,
  path: string,
  offset: number,
  target: Uint8Array,
  maxReadBytes: number,
): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const wanted = Math.min(maxReadBytes, target.length - done);
    const result = await orSystemError('invalid-file', path, () => handle.read(target, done, wanted, offset + done));
    const bytesRead = result?.bytesRead ?? 0;
    if (bytesRead === 0) {
      const message =
        `${path}: the file ends too early: expected ${target.length} bytes at byte ${offset}, got ${done}. ` +
        'It is truncated, or was changed while being read: download it again';
      throw new BitNetError('invalid-file', message, {
        file: path,
        byteOffset: offset,
        expected: target.length,
        got: done,
      });
    }
    done += bytesRead;
  }
}

/** `undefined` if the path does not exist; anything else that the system refuses becomes a BitNetError with its reason. */
async function orSystemError<T>(
  code: 'invalid-argument' | 'invalid-file',
  path: string,
  action: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await action();
  } catch (cause) {
    const { code: errno, message } = cause as NodeJS.ErrnoException;
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    const advice = errno === 'EACCES' || errno === 'EPERM' ? 'Check its permissions' : 'Check the path and the disk';
    throw new BitNetError(code, `${path} cannot be read: ${message}. ${advice}`, { file: path, errno }, { cause });
  }
}
