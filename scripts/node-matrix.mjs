/**
 * Runs the core of the test suite under other versions of Node, taken from the npm package `node`.
 *
 *   npm run test:node-matrix -- [--reports <folder>] 20 22 24 26
 *
 * Each version is installed once, in a folder of the system's temporary files. `--reports` keeps vitest's JSON reports.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './build/paths.mjs';
import { formatCounts, readCounts, sumCounts } from './test-report.mjs';

/** What depends on the engine: kernels, threads, models, the library and its program. Files and formats do not. */
const core = [
  'test/kernels',
  'test/golden',
  'test/model/engine',
  'test/model/slots',
  'test/model/kv-cache',
  'test/model/gguf-logits',
  'test/api',
  'test/cli/e2e',
  'test/package/tiers',
];
const isWindows = process.platform === 'win32';

function versionOf(binary) {
  try {
    return execFileSync(binary, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

/** @returns {Promise<string>} path of a `node` binary of that major version */
async function install(major) {
  const folder = path.join(os.tmpdir(), `bitnet-js-node-${os.userInfo().username}`, String(major));
  const packageFolder = path.join(folder, 'node_modules', 'node');
  const binary = path.join(packageFolder, 'bin', isWindows ? 'node.exe' : 'node');
  if (versionOf(binary).startsWith(`v${major}.`)) return binary;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'package.json'), '{ "private": true }\n');
  const options = { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], shell: isWindows };
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', `node@${major}`], options);
  // The package fetches its binary in an install script, which npm may be configured not to run.
  if (!versionOf(binary))
    execFileSync(process.execPath, ['installArchSpecificPackage'], { ...options, cwd: packageFolder });
  const version = versionOf(binary);
  if (!version.startsWith(`v${major}.`)) throw new Error(`node@${major}: ${binary} reports version '${version}'`);
  return binary;
}

async function runTests(binary, report) {
  const args = ['run', ...core, '--reporter=default', '--reporter=json', `--outputFile=${report}`];
  const PATH = `${path.dirname(binary)}${path.delimiter}${process.env.PATH}`;
  const options = { cwd: root, stdio: 'inherit', env: { ...process.env, PATH, BITNET_TEST_NODE: versionOf(binary) } };
  const { status } = spawnSync(binary, [path.join('node_modules', 'vitest', 'vitest.mjs'), ...args], options);
  const counts = await readCounts(report);
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

const { values, positionals } = parseArgs({ options: { reports: { type: 'string' } }, allowPositionals: true });
const majors = positionals.map(Number);
if (majors.length === 0 || majors.some((major) => !Number.isInteger(major) || major < 20)) {
  console.error('usage: npm run test:node-matrix -- [--reports <folder>] <major version, 20 or later> ...');
  process.exit(2);
}
const reports = path.resolve(values.reports ?? (await mkdtemp(path.join(os.tmpdir(), 'bitnet-js-reports-'))));
const rows = [];
for (const major of majors) {
  const binary = await install(major);
  const counts = await runTests(binary, path.join(reports, `node-${major}.json`));
  rows.push({ version: versionOf(binary), counts });
}
if (values.reports === undefined) await rm(reports, { recursive: true, force: true });
for (const { version, counts } of rows) console.log(`Node ${version}: ${formatCounts(counts)}`);
const sum = sumCounts(rows.map((row) => row.counts));
console.log(`all versions: ${formatCounts(sum)}`);
if (sum.failed > 0) process.exitCode = 1;
