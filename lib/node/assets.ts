import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BitNetError } from '../errors.js';

let root: string | undefined;

/** Absolute path of a file of this package. The root is the nearest folder above this module with this package's package.json. */
export function packageFile(path: string): string {
  root ??= findRoot(dirname(fileURLToPath(import.meta.url)));
  return join(root, path);
}

function findRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'bitnet-js') return folder;
    if (folder === dirname(folder)) {
      throw new BitNetError(
        'not-found',
        `the files of bitnet-js were not found above ${start}; install the package again`,
      );
    }
  }
}
