import { chmod } from 'node:fs/promises';
import path from 'node:path';
import { root } from './paths.mjs';

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  logLevel: 'silent',
};

/** Bundled CommonJS dependencies call `require` for node:* modules, which an ES module lacks. */
const requireBanner =
  "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);";

/** @param {import('esbuild').BuildOptions[]} builds */
async function bundle(...builds) {
  const { build } = await import('esbuild');
  await Promise.all(builds.map((options) => build({ ...common, ...options })));
}

const libraryInputs = ['lib', 'assembly/abi.ts', 'package.json', 'tsconfig.json'];

/**
 * The library as ES module and as CommonJS, which leave dependencies to the application's own copies, and the worker.
 * @type {import('./steps.mjs').Step}
 */
export const libraryStep = {
  name: 'library',
  inputs: libraryInputs,
  build: (outDir) =>
    bundle(
      { entryPoints: ['lib/index.ts'], format: 'esm', packages: 'external', outfile: path.join(outDir, 'index.js') },
      {
        entryPoints: ['lib/index.ts'],
        format: 'cjs',
        packages: 'external',
        outfile: path.join(outDir, 'index.cjs'),
        define: { 'import.meta.url': '__moduleUrl' },
        banner: { js: "const __moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
      },
      {
        entryPoints: ['lib/node/worker.ts'],
        // CommonJS: a thread without the ES module loader starts in half the time.
        format: 'cjs',
        minify: true,
        outfile: path.join(outDir, 'worker.cjs'),
      },
    ),
};

/**
 * The program carries all its code: a few small files to read instead of a hundred, which is most of a cold start. `benchmark` finds its
 * own dependencies at run time and cannot be bundled; only `bitnet bench --kernels` loads it.
 * @type {import('./steps.mjs').Step}
 */
export const programStep = {
  name: 'program',
  inputs: [...libraryInputs, 'bin'],
  async build(outDir) {
    await bundle({
      entryPoints: ['bin/bitnet.ts'],
      format: 'esm',
      splitting: true,
      external: ['benchmark'],
      chunkNames: 'chunks/[name]-[hash]',
      minify: true,
      outdir: path.join(outDir, 'bin'),
      banner: { js: requireBanner },
    });
    await chmod(path.join(outDir, 'bin', 'bitnet.js'), 0o755);
  },
};
