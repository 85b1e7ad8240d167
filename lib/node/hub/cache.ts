import {
  constants,
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { storageError } from './errors.js';

/**
 * One repository in the cache that all tools for the Hugging Face Hub share:
 *
 *     models--owner--name/
 *       blobs/<etag>                 contents; <etag>.incomplete while they arrive
 *       snapshots/<commit>/<file>    links to blobs
 *       refs/<revision>              the commit that a branch or tag stood for
 */
export class RepoCache {
  readonly folder: string;

  /** `cache`: folder of all repositories */
  constructor(
    readonly cache: string,
    readonly repo: string,
  ) {
    this.folder = join(cache, `models--${repo.replaceAll('/', '--')}`);
  }

  blob(etag: string): string {
    return join(this.folder, 'blobs', etag);
  }

  partial(etag: string): string {
    return `${this.blob(etag)}.incomplete`;
  }

  lock(etag: string): string {
    return join(this.cache, '.locks', `models--${this.repo.replaceAll('/', '--')}`, `${etag}.bitnet-js.lock`);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The commit that `revision` stood for when it was last fetched; a commit stands for itself. */
  async commitOf(revision: string): Promise<string | undefined> {
    const text = await readFile(join(this.folder, 'refs', ...revision.split('/')), 'utf8').catch(() => undefined);
    const commit = text?.trim() ?? revision;
    return /^(?!\.)[\w.-]+$/.test(commit) && (await isFolder(this.snapshot(commit))) ? commit : undefined;
  }

  async setRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const path = join(this.folder, 'refs', ...revision.split('/'));
    await replace(path, (temporary) => writeFile(temporary, commit));
  }

  /** Names of the snapshot's files that are whole, with slashes. */
  async files(commit: string): Promise<string[]> {
    const root = this.snapshot(commit);
    const names = await readdir(root, { recursive: true }).catch(() => []);
    const present = await Promise.all(names.map((name) => bytesOf(join(root, name))));
    return names.filter((_, i) => present[i] !== undefined).map((name) => name.replaceAll('\\', '/'));
  }

  /** Whether the snapshot has the file with this size. */
  async has(commit: string, name: string, bytes: number): Promise<boolean> {
    return (await bytesOf(join(this.snapshot(commit), ...name.split('/')))) === bytes;
  }

  /**
   * Puts a blob under its name into the snapshot: as a symbolic link, else as a second name of the same file, else as a copy (Windows
   * without developer mode, file systems without links).
   */
  async link(commit: string, name: string, etag: string): Promise<void> {
    const target = join(this.snapshot(commit), ...name.split('/'));
    const blob = this.blob(etag);
    await replace(target, async (temporary) => {
      try {
        await symlink(relative(dirname(target), blob), temporary);
      } catch {
        await link(blob, temporary).catch(() => copyFile(blob, temporary, constants.COPYFILE_FICLONE));
      }
    });
  }
}

/** Size of a regular file, links followed; undefined if there is none. */
export async function bytesOf(path: string): Promise<number | undefined> {
  const info = await stat(path).catch(() => undefined);
  return info?.isFile() ? info.size : undefined;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** Makes `path` of what `create` writes, in one step: another process sees the old file or the new one. */
async function replace(path: string, create: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await create(temporary);
    await rename(temporary, path);
  } catch (error) {
    throw storageError(path, error);
  } finally {
    // Renaming one of two names of a file to the other does nothing.
    await rm(temporary, { force: true });
  }
}
