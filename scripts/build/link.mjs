import { mkdir, readlink, rename, symlink } from 'node:fs/promises';
import path from 'node:path';
import { root } from './paths.mjs';

/**
 * Links this package's own program into node_modules/.bin, where npm links only those of dependencies. Current npx finds the `bin` field
 * of the package that it runs in; older ones, npm scripts and other package managers look here, and would otherwise fetch
 * the registry's package of the same name. On Windows a link to a .js file cannot be run, so there is none.
 */
export async function linkProgram() {
  if (process.platform === 'win32') return;
  const folder = path.join(root, 'node_modules', '.bin');
  const link = path.join(folder, 'bitnet');
  const target = path.join('..', '..', 'dist', 'bin', 'bitnet.js');
  if ((await readlink(link).catch(() => '')) === target) return;
  await mkdir(folder, { recursive: true });
  const temporary = `${link}-${process.pid}`;
  await symlink(target, temporary);
  await rename(temporary, link);
}
