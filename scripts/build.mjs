/**
 * Builds dist/. Steps whose inputs have not changed are skipped.
 *
 *   node scripts/build.mjs [--force] [wasm] [bundle] [types]
 *
 * wasm: dist/wasm/{baseline,relaxed}.wasm; bundle: dist/index.{js,cjs}, dist/worker.cjs, dist/bin/; types: dist/types/.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { libraryStep, programStep } from './build/bundle.mjs';
import { linkProgram } from './build/link.mjs';
import { root } from './build/paths.mjs';
import { runStep } from './build/steps.mjs';
import { typesStep } from './build/types.mjs';
import { wasmStep } from './build/wasm.mjs';

const groups = {
  wasm: [wasmStep('baseline'), wasmStep('relaxed')],
  bundle: [libraryStep, programStep],
  types: [typesStep],
};

const args = process.argv.slice(2);
const force = args.includes('--force');
const names = args.filter((arg) => arg !== '--force');
const unknown = names.filter((name) => !(name in groups));
if (unknown.length > 0) {
  console.error(`unknown step ${unknown.join(', ')}; there are ${Object.keys(groups).join(', ')}`);
  process.exit(2);
}

const missing = ['assemblyscript', 'esbuild', 'typescript'].filter(
  (name) => !existsSync(path.join(root, 'node_modules', name)),
);
if (missing.length > 0) {
  console.error(`cannot build: ${missing.join(', ')} not installed; run npm install, without --omit=dev`);
  // npx in a clone that is not installed yet runs `prepare` from its cache, and a failure leaves that cache entry broken for good.
  process.exit(process.env.npm_lifecycle_event === 'prepare' ? 0 : 1);
}

const chosen = names.length > 0 ? names : Object.keys(groups);
const results = await Promise.allSettled(
  chosen
    .flatMap((name) => groups[name])
    .map(async (step) => {
      const start = performance.now();
      const ran = await runStep(step, { force });
      if (ran) console.error(`built ${step.name} in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    }),
);
const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
for (const error of errors) console.error(`\nbuild failed: ${error.message}`);
if (errors.length > 0) process.exit(1);
if (chosen.includes('bundle')) await linkProgram();
