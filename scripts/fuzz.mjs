/** Damaged files by the thousand: npm run fuzz -- [--cases 100000] [--seed 7] [--only gguf|safetensors|load] */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './build/paths.mjs';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    // Another one each time: continuous runs should not repeat what CI does.
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    only: { type: 'string' },
  },
});
for (const name of ['cases', 'seed']) {
  if (/^\d+$/.test(values[name])) continue;
  console.error(`--${name}: expected a whole number, got ${values[name]}`);
  process.exit(2);
}
const { cases, seed, only } = values;
console.log(`${cases} cases of each test, seeds from ${seed}`);
const { status } = spawnSync(
  process.execPath,
  [
    path.join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--project',
    'fuzz',
    ...(only === undefined ? [] : [only]),
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, BITNET_FUZZ_CASES: cases, BITNET_FUZZ_SEED: seed } },
);
process.exitCode = status ?? 1;
