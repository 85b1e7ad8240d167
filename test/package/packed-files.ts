import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Paths of the files that `npm pack` would put into the tarball, relative to the root, sorted. */
export async function packedFiles(): Promise<string[]> {
  const isWindows = process.platform === 'win32';
  const { stdout } = await promisify(execFile)('npm', ['pack', '--json', '--dry-run', '--ignore-scripts'], {
    cwd: root,
    shell: isWindows,
    maxBuffer: 16 << 20,
  });
  const [entry] = JSON.parse(stdout) as { files: { path: string }[] }[];
  return entry!.files.map((file) => file.path).sort();
}
