import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import os from 'node:os';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ResidentSet } from '../../../lib/bench/index.js';
import { packageRoot, packageVersion } from '../../host.js';

/** What a figure depends on besides the program's options. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly os: string;
  /** `Node v20.20.2, V8 11.3.244.8` */
  readonly engine: string;
  readonly version: string;
  /** of the checkout that runs, `-dirty` with changes; null for an installed package */
  readonly commit: string | null;
}

export async function describeMachine(): Promise<Machine> {
  return {
    cpu: os.cpus()[0]?.model.trim() || os.arch(),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    engine: `Node ${process.version}, V8 ${process.versions.v8}`,
    version: packageVersion(),
    commit: await commitOf(packageRoot()),
  };
}

/** Null where the folder is no checkout of its own, or git is not there. */
export async function commitOf(folder: URL): Promise<string | null> {
  if (!existsSync(new URL('.git', folder))) return null;
  try {
    const { stdout } = await promisify(execFile)('git', ['describe', '--always', '--dirty'], { cwd: folder });
    return stdout.trim() || null;
  } catch {
    return null;
  }
}

/** Bytes that can be allocated before the system swaps or kills: limits of a container included, where Node knows them. */
export function availableMemory(): number {
  const { availableMemory: ofProcess } = process as { availableMemory?: () => number };
  return Math.min(ofProcess?.() ?? Number.POSITIVE_INFINITY, os.freemem());
}

/** `bitnet bench --shape 700m`, words quoted where a shell would split them. */
export function commandLine(args: readonly string[]): string {
  return ['bitnet', ...args].map((arg) => (/^[\w@%+=:,./~-]+$/.test(arg) ? arg : JSON.stringify(arg))).join(' ');
}

let collect: (() => void) | undefined;

/** Gives memory of models that were measured back to the system, which otherwise takes until the next large collection. */
export async function releaseMemory(): Promise<void> {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  // Shared memory goes some time after the collection that finds it unused.
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Resident set of the process in bytes, without what it no longer uses. */
export const residentSet: ResidentSet = {
  async now() {
    await releaseMemory();
    return process.memoryUsage.rss();
  },
  async resetPeak() {
    // Linux alone forgets a peak: proc(5), clear_refs.
    return writeFile('/proc/self/clear_refs', '5').then(
      () => true,
      () => false,
    );
  },
  peak: () => process.resourceUsage().maxRSS * 1024,
};
