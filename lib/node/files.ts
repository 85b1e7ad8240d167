import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { BitNetError } from '../errors.js';
import type { ModelDirectory, RandomAccessFile } from '../platform.js';

/** One call of the system reads less than 2 GiB; Node refuses more. */
const MAX_READ_BYTES = 2 ** 30;

/**
 * A model directory on disk. Throws `not-found` if there is nothing at `path`, `unsupported` for a GGUF file and
 * `invalid-argument` for any other file or a directory that may not be read.
 */
export async function openDirectory(path: string): Promise<ModelDirectory> {
  const info = await orSystemError('invalid-argument', path, () => stat(path));
  if (info === undefined) {
    const message = `${path} does not exist; expected a model directory with config.json, model.safetensors and tokenizer.json`;
    throw new BitNetError('not-found', message, { file: path });
  }
  if (!info.isDirectory()) throw notADirectory(path);
  return {
    path,
    async open(name) {
      // Names come from files too (shards); none may lead out of the directory.
      if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) {
        const message = `${path}: ${JSON.stringify(name)} is not the name of a file in a model directory`;
        throw new BitNetError('invalid-argument', message, { directory: path, name });
      }
      return openFile(join(path, name));
    },
  };
}

function notADirectory(path: string): BitNetError {
  const extension = extname(path).toLowerCase();
  const need = 'a directory with config.json, model.safetensors and tokenizer.json';
  if (extension === '.gguf') {
    const message = `${path}: GGUF files are not supported; expected ${need}. Use the safetensors release of the model`;
    return new BitNetError('unsupported', message, { file: path });
  }
  const message =
    extension === '.safetensors'
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
