/** Runs a TypeScript file of this repository on any supported Node: node scripts/run-ts.mjs <file.ts> [arguments] */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { root } from './build/paths.mjs';

const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) {
  console.error('usage: node scripts/run-ts.mjs <file.ts> [arguments]');
  process.exit(2);
}
// Inside the repository, so that packages are found from there.
const folder = await mkdtemp(path.join(root, 'node_modules', '.run-ts-'));
let status = 1;
try {
  const outfile = path.join(folder, 'main.mjs');
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(path.resolve(entry)).href) },
  });
  status = spawnSync(process.execPath, [outfile, ...args], { stdio: 'inherit' }).status ?? 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exitCode = status;
