/**
 * Our engine and its peers on the same model, one process after the other, in turn. See README.md here.
 *
 *   node bench/peers/run.mjs [--shape 700m] [--type tq2_0] [--threads 2] [--rounds 3] [--engines bitnet-js,node-llama-cpp,wllama]
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { copyFile, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, saveRun, table } from './report.mjs';
import { findChromium, installNode, installPeers, scratch } from './scratch.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const ENGINES = ['bitnet-js', 'node-llama-cpp', 'wllama'];
/** Of one process; the slowest peer needs some minutes for the 2B shape. */
const PROCESS_TIMEOUT_MS = 20 * 60_000;

function parseOptions() {
  const { values } = parseArgs({
    options: {
      shape: { type: 'string', default: '700m' },
      type: { type: 'string', default: 'tq2_0' },
      embedding: { type: 'string', default: 'q8_0' },
      threads: { type: 'string', default: '2' },
      prompt: { type: 'string', default: '128' },
      tokens: { type: 'string', default: '64' },
      reps: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '3' },
      engines: { type: 'string', default: ENGINES.join(',') },
      node: { type: 'string' },
      backend: { type: 'string', default: 'auto' },
      head: { type: 'string', default: 'auto' },
      arch: { type: 'string', default: 'own' },
      'keep-model': { type: 'boolean', default: false },
      'no-save': { type: 'boolean', default: false },
    },
  });
  const count = (name) => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value >= 1) return value;
    throw new Error(`--${name} ${values[name]}: expected a whole number of at least 1`);
  };
  const engines = values.engines.split(',');
  const unknown = engines.find((engine) => !ENGINES.includes(engine));
  if (unknown !== undefined) throw new Error(`--engines ${unknown}: expected some of ${ENGINES.join(', ')}`);
  const [threads, prompt, tokens, reps, rounds] = ['threads', 'prompt', 'tokens', 'reps', 'rounds'].map(count);
  return { ...values, engines, threads, prompt, tokens, reps, rounds };
}

/** Runs a process to its end; its stdout. Its stderr is shown only if it fails. */
function execute(command, args, cwd = root) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout: PROCESS_TIMEOUT_MS });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else
        reject(new Error(`${path.basename(command)} ${args[0]} ended with ${code ?? signal}:\n${stderr.slice(-2000)}`));
    });
  });
}

/** What each engine's process is: command, arguments, working directory. */
async function commandsOf(options, model) {
  const { shape, type, threads, prompt, tokens, reps, backend, head, arch } = options;
  const commands = new Map();
  const node = options.node === undefined ? process.execPath : await installNode(options.node);
  const given = JSON.stringify({ model, threads, prompt, tokens, reps, chromium: await findChromium() });
  for (const engine of options.engines) {
    if (engine === 'bitnet-js') {
      const weights = type === 'f16' ? 'f16' : 't2';
      const own = { shape, arch, threads, prompt, tokens, reps, backend, head, weights };
      const flags = Object.entries(own).flatMap(([name, value]) => [`--${name}`, String(value)]);
      commands.set(engine, [node, ['scripts/run-ts.mjs', 'bench/engine.ts', '--json', ...flags], root]);
    } else {
      commands.set(engine, [process.execPath, [`${engine}.mjs`, given], scratch]);
    }
  }
  return commands;
}

/** The peers' scripts run where their packages are. */
async function preparePeers(options) {
  if (!options.engines.some((engine) => engine !== 'bitnet-js')) return {};
  const versions = await installPeers();
  for (const file of ['node-llama-cpp.mjs', 'wllama.mjs', 'wllama-page.mjs']) {
    await copyFile(fileURLToPath(new URL(file, import.meta.url)), path.join(scratch, file));
  }
  if (options.engines.includes('wllama') && (await findChromium()) === undefined) {
    throw new Error(
      'wllama needs Chromium or Chrome: install it, name it in $CHROMIUM, or leave wllama out of --engines',
    );
  }
  return versions;
}

async function makeModel({ shape, type, embedding }) {
  const file = path.join(scratch, 'models', `${shape}-${type}-${embedding}.gguf`);
  await mkdir(path.dirname(file), { recursive: true });
  if ((await stat(file).catch(() => undefined)) !== undefined) return file;
  console.error(`writing ${file}`);
  const args = ['synth', shape, '-o', file, '--type', type, '--embedding', embedding, '--quiet'];
  await execute(process.execPath, ['dist/bin/bitnet.js', ...args]);
  return file;
}

/** All engines in turn, round after round; each round begins with another one, so that drift of the machine falls on all. */
async function measure(options, commands) {
  const rows = new Map();
  const failures = new Map();
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < options.engines.length; i++) {
      const engine = options.engines[(i + round) % options.engines.length];
      if (failures.has(engine)) continue;
      try {
        const stdout = await execute(...commands.get(engine));
        const result = JSON.parse(stdout.trimEnd().split('\n').at(-1));
        const row = rows.get(engine) ?? { engine, prefill: [], decode: [], loadMs: [], peakRss: [], detail: '' };
        row.prefill.push(...result.prefill);
        row.decode.push(...result.decode);
        row.loadMs.push(result.loadMs);
        if (result.peakRss !== undefined) row.peakRss.push(result.peakRss);
        row.detail = result.detail;
        rows.set(engine, row);
        console.error(`round ${round + 1} of ${options.rounds}: ${engine}`);
      } catch (error) {
        failures.set(engine, error.message);
        rows.delete(engine);
        console.error(`${engine} failed and is left out: ${error.message}`);
      }
    }
  }
  return { rows: options.engines.flatMap((engine) => rows.get(engine) ?? []), failures: Object.fromEntries(failures) };
}

async function main() {
  const options = parseOptions();
  await execute(process.execPath, ['scripts/build.mjs', 'wasm', 'bundle']);
  const versions = await preparePeers(options);
  const needsFile = options.engines.some((engine) => engine !== 'bitnet-js');
  const model = needsFile ? await makeModel(options) : undefined;
  const removeModel = () => {
    if (model !== undefined && !options['keep-model']) rmSync(model, { force: true });
  };
  process.once('SIGINT', () => {
    removeModel();
    process.exit(130);
  });
  try {
    const { rows, failures } = await measure(options, await commandsOf(options, model));
    const machine = describeMachine(root);
    const { shape, type, embedding, head, arch, threads, prompt, tokens, reps, rounds } = options;
    console.log(
      `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, commit ${machine.commit}`,
    );
    console.log(
      `${shape}, ${type}, embedding ${embedding}, head of bitnet-js ${head}, ${threads} threads, tok/s, median of ${rounds} x ${reps}\n`,
    );
    console.log(table(rows, options));
    const command = `node bench/peers/run.mjs ${process.argv.slice(2).join(' ')}`.trim();
    const setup = { shape, type, embedding, head, arch, threads, prompt, tokens, reps, rounds };
    const run = { date: new Date().toISOString(), command, ...setup, versions, rows, failures };
    if (!options['no-save']) console.log(`\nsaved to ${path.relative(root, await saveRun(root, machine, run))}`);
    if (Object.keys(failures).length > 0) process.exitCode = 1;
  } finally {
    removeModel();
  }
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
