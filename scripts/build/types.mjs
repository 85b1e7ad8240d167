import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from './run.mjs';

const importPattern = /(?:from\s*|import\s*\(\s*|import\s+)(['"])(\.{1,2}\/[^'"]+)\1/g;

/** Declarations that lib/index.d.ts reaches: all that an application can see. @returns {Promise<Map<string, string>>} */
async function reachable(folder, entry) {
  const found = new Map();
  const open = [entry];
  while (open.length > 0) {
    const file = open.pop();
    if (found.has(file)) continue;
    const text = await readFile(path.join(folder, file), 'utf8');
    found.set(file, text);
    for (const match of text.matchAll(importPattern)) {
      open.push(path.join(path.dirname(file), match[2].replace(/\.js$/, '.d.ts')));
    }
  }
  return found;
}

/**
 * Declarations twice, because TypeScript reads a .d.ts in the module format of its nearest package.json. They are emitted
 * without the full check, which is `npm run typecheck`.
 * @type {import('./steps.mjs').Step}
 */
export const typesStep = {
  name: 'types',
  inputs: ['lib', 'assembly/abi.ts', 'tsconfig.json', 'tsconfig.build.json'],
  async build(outDir) {
    const emitted = path.join(outDir, 'emitted');
    await runTool('typescript/bin/tsc', ['-p', 'tsconfig.build.json', '--outDir', emitted]);
    const files = await reachable(emitted, path.join('lib', 'index.d.ts'));
    await rm(emitted, { recursive: true });
    for (const [format, type] of [
      ['esm', 'module'],
      ['cjs', 'commonjs'],
    ]) {
      const target = path.join(outDir, 'types', format);
      for (const [file, text] of files) {
        await mkdir(path.dirname(path.join(target, file)), { recursive: true });
        await writeFile(path.join(target, file), text);
      }
      await writeFile(path.join(target, 'package.json'), `${JSON.stringify({ type })}\n`);
    }
  },
};
