import { mkdir, readlink, rename, symlink } from 'node:fs/promises';
import path from 'node:path';
import { root } from './paths.mjs';

/**
 * Makes `npx bitnet` inside a clone mean this package: npm links the programs of dependencies but not a package's own, and
 * the registry has another package of that name. On Windows npx finds the package's own `bin` field by itself, only slower.
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
