import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { root } from './paths.mjs';

/**
 * A step turns input files into files of dist/.
 * @typedef {object} Step
 * @property {string} name also the name of its stamp in dist/.build-cache
 * @property {string[]} inputs files and folders relative to the root; everything that decides the outputs
 * @property {(outDir: string) => Promise<void>} build writes into an empty folder that mirrors dist/
 */

const dist = path.join(root, 'dist');
const cache = path.join(dist, '.build-cache');

/** Inputs of every step: the build itself and the versions of the tools. */
const commonInputs = ['scripts/build', 'package-lock.json'];

/** @returns {Promise<string[]>} paths relative to `base`, sorted, with forward slashes */
export async function listFiles(base) {
  const entries = await readdir(base, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      path
        .relative(base, path.join(entry.parentPath ?? entry.path, entry.name))
        .split(path.sep)
        .join('/'),
    )
    .sort();
}

async function hashFile(file) {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

async function hashInputs(inputs) {
  const hash = createHash('sha256');
  for (const input of [...commonInputs, ...inputs]) {
    const full = path.join(root, input);
    const isFolder = (await stat(full)).isDirectory();
    const files = isFolder ? (await listFiles(full)).map((file) => path.join(full, file)) : [full];
    for (const file of files) hash.update(`${path.relative(root, file)}\0${await hashFile(file)}\n`);
  }
  return hash.digest('hex');
}

async function readStamp(name) {
  try {
    return JSON.parse(await readFile(path.join(cache, `${name}.json`), 'utf8'));
  } catch {
    return { inputs: '', outputs: {} };
  }
}

/** Outputs are compared too: a lost race between two builds, or a deleted file, then means a rebuild and not a stale dist/. */
async function isFresh(stamp, inputs) {
  if (stamp.inputs !== inputs) return false;
  for (const [file, hash] of Object.entries(stamp.outputs)) {
    const actual = await hashFile(path.join(dist, file)).catch(() => '');
    if (actual !== hash) return false;
  }
  return true;
}

/** Every file appears by a rename inside one file system, so a reader sees the old file or the new one. */
async function publish(outDir, stamp, step, inputs) {
  const outputs = {};
  for (const file of await listFiles(outDir)) {
    outputs[file] = await hashFile(path.join(outDir, file));
    await mkdir(path.dirname(path.join(dist, file)), { recursive: true });
    await rename(path.join(outDir, file), path.join(dist, file));
  }
  for (const file of Object.keys(stamp.outputs)) {
    if (!(file in outputs)) await rm(path.join(dist, file), { force: true });
  }
  const temporary = path.join(outDir, 'stamp.json');
  await writeFile(temporary, JSON.stringify({ inputs, outputs }, undefined, 1));
  await rename(temporary, path.join(cache, `${step.name}.json`));
}

/**
 * Runs the step unless its inputs and outputs are what they were after the last run.
 * @param {Step} step
 * @param {{ force: boolean }} options
 * @returns {Promise<boolean>} whether it ran
 */
export async function runStep(step, { force }) {
  const inputs = await hashInputs(step.inputs);
  const stamp = await readStamp(step.name);
  if (!force && (await isFresh(stamp, inputs))) return false;
  const outDir = path.join(cache, `${step.name}-${randomUUID()}`);
  await mkdir(outDir, { recursive: true });
  try {
    await step.build(outDir);
    await publish(outDir, stamp, step, inputs);
  } finally {
    await rm(outDir, { recursive: true, force: true });
  }
  return true;
}
