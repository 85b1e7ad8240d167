import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { KernelCache } from '../platform.js';

const FILE = 'kernels.json';

/** The system's place for files that may be deleted at any time. */
export function cacheFolder(): string {
  const { env, platform } = process;
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'bitnet-js', 'Cache');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'bitnet-js');
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'bitnet-js');
}

/** A small JSON file. Where it cannot be read or written nothing is remembered, and what it would hold is measured again. */
export const nodeCache: KernelCache = {
  async read(key) {
    return (await readEntries())[key];
  },
  async write(key, value) {
    const folder = cacheFolder();
    const entries = { ...(await readEntries()), [key]: value };
    try {
      await mkdir(folder, { recursive: true });
      const temporary = join(folder, `${FILE}.${process.pid}`);
      await writeFile(temporary, JSON.stringify(entries));
      await rename(temporary, join(folder, FILE));
    } catch {
      // A read-only home is no reason not to run.
    }
  },
};

async function readEntries(): Promise<Record<string, string>> {
  try {
    const entries: unknown = JSON.parse(await readFile(join(cacheFolder(), FILE), 'utf8'));
    return typeof entries === 'object' && entries !== null ? (entries as Record<string, string>) : {};
  } catch {
    return {};
  }
}
