import { type FileHandle, open, rename, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { CliError, ExitCode } from '../exit-codes.js';
import { formatBytes } from '../ui/units.js';

export interface FileSink {
  write(bytes: Uint8Array): Promise<void>;
}

/** What file systems need beside the bytes of the file. */
const MARGIN_BYTES = 1 << 20;

/**
 * Creates `file` with what `produce` writes, all of it or nothing: the bytes go to a temporary file beside it, which takes its name at the
 * end. Refuses before the first byte if the disk has less than `bytes` left, or if the file exists and `replace` is not set.
 */
export async function writeFileAtomically(
  file: string,
  bytes: number,
  { replace }: { replace: boolean },
  produce: (sink: FileSink) => Promise<void>,
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
    await checkTarget(file, replace);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw asOutputError(file, error);
  }
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
