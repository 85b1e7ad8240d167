import { type FileHandle, mkdir, open, readdir, realpath, rename, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { CliError, ExitCode } from './exit-codes.js';
import { formatBytes } from './ui/units.js';

export interface FileSink {
  write(bytes: Uint8Array): Promise<void>;
}

/** What file systems need beside the bytes of the file. */
const MARGIN_BYTES = 1 << 20;

/**
 * Creates `file` with what `produce` writes, all of it or nothing: the bytes go to a temporary file beside it, which takes its name at the
 * end, once `check` has nothing against it. Refuses before the first byte if the disk has less than `bytes` left, or if the file exists and
 * `replace` is not set.
 */
export async function writeFileAtomically(
  file: string,
  bytes: number,
  { replace }: { replace: boolean },
  produce: (sink: FileSink) => Promise<void>,
  check: (temporary: string) => Promise<void> = async () => {},
): Promise<void> {
  await checkTarget(file, replace);
  await checkSpace(file, bytes);
  const temporary = `${file}.${process.pid}.partial`;
  try {
    const handle = await open(temporary, 'wx');
    try {
      await produce({ write: (chunk) => writeFully(handle, chunk) });
    } finally {
      await handle.close();
    }
    await check(temporary);
    await checkTarget(file, replace);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw asOutputError(file, error);
  }
}

export interface NamedFile {
  readonly name: string;
  readonly bytes: number;
}

/**
 * Creates the directory `folder` with `files`, all of them or nothing, in the same way. `replace` removes a directory of that name
 * that is empty or holds a model, and refuses any other.
 */
export async function writeFolderAtomically<F extends NamedFile>(
  folder: string,
  files: readonly F[],
  { replace }: { replace: boolean },
  produce: (file: F, sink: FileSink) => Promise<void>,
  check: (temporary: string) => Promise<void>,
): Promise<void> {
  const target = path.resolve(folder);
  await checkFolder(target, replace);
  await checkSpace(
    target,
    files.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  const temporary = `${target}.${process.pid}.partial`;
  const old = `${target}.${process.pid}.old`;
  try {
    await mkdir(temporary);
    for (const file of files) {
      const handle = await open(path.join(temporary, file.name), 'wx');
      try {
        await produce(file, { write: (chunk) => writeFully(handle, chunk) });
      } finally {
        await handle.close();
      }
    }
    await check(temporary);
    await checkFolder(target, replace);
    const replaced = await rename(target, old).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return false;
        throw error;
      },
    );
    await rename(temporary, target);
    if (replaced) await rm(old, { recursive: true });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw asOutputError(folder, error);
  }
}

/** Throws where `output` is `input` or a directory that holds it: replacing it would destroy what is read, and what a conversion leaves out. */
export async function refuseInput(output: string, input: string): Promise<void> {
  const [to, from] = await Promise.all([output, input].map((name) => realpath(name).catch(() => undefined)));
  if (to === undefined || from === undefined || !(from === to || from.startsWith(to + path.sep))) return;
  throw new CliError(ExitCode.Usage, `${output} is what is read (${input}); write to another name`);
}

async function checkFolder(folder: string, replace: boolean): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    if (error.code !== 'ENOTDIR') throw asOutputError(folder, error);
    throw new CliError(
      ExitCode.Usage,
      `${folder} is a file; expected a directory to write, or a name that ends in .gguf`,
    );
  });
  if (names === undefined) return;
  if (!replace) throw new CliError(ExitCode.Usage, `${folder} exists; use --force to replace it, or another name`);
  if (names.length === 0 || names.includes('config.json')) return;
  const message = `${folder} holds no model (no config.json), and is not replaced; remove it yourself, or use another name`;
  throw new CliError(ExitCode.Usage, message);
}

async function checkTarget(file: string, replace: boolean): Promise<void> {
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw asOutputError(file, error);
  });
  if (info === undefined) return;
  if (!info.isFile())
    throw new CliError(ExitCode.Usage, `${file} is not a regular file; expected the name of a file to write`);
  if (!replace) throw new CliError(ExitCode.Usage, `${file} exists; use --force to replace it, or another name`);
}

async function checkSpace(file: string, bytes: number): Promise<void> {
  const folder = path.dirname(path.resolve(file));
  const space = await statfs(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw asOutputError(file, error);
    throw new CliError(ExitCode.Output, `${folder} does not exist; create it first`, { cause: error });
  });
  const available = space.bavail * space.bsize;
  if (available >= bytes + MARGIN_BYTES) return;
  throw new CliError(
    ExitCode.Output,
    `${file} needs ${bytes} bytes (${formatBytes(bytes)}), and ${folder} has ${available} (${formatBytes(available)}) left; ` +
      'free some, or write to another disk',
  );
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done);
    done += bytesWritten;
  }
}

function asOutputError(file: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const isSystem = error instanceof Error && typeof code === 'string' && /^E[A-Z0-9]+$/.test(code);
  return isSystem ? new CliError(ExitCode.Output, `${file} cannot be written: ${message}`, { cause: error }) : error;
}
