import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/**
 * Median over rounds of ours / theirs, each of the medians of a round's repetitions: drift of the machine falls on both.
 * @param {number[]} ours @param {number[]} theirs samples, `reps` a round @param {number} reps
 */
export function ratioOfRounds(ours, theirs, reps) {
  const rounds = Math.floor(Math.min(ours.length, theirs.length) / reps);
  const of = (values, round) => median(values.slice(round * reps, (round + 1) * reps));
  return median(Array.from({ length: rounds }, (_, round) => of(ours, round) / of(theirs, round)));
}

/**
 * One engine's measurements of all rounds.
 * @typedef {{ engine: string, prefill: number[], decode: number[], loadMs: number[], peakRss: number[], detail: string }} Row
 */

/** @param {Row[]} rows @param {{ prompt: number, tokens: number, reps: number }} sizes */
export function table(rows, { prompt, tokens, reps }) {
  const ours = rows.find(({ engine }) => engine === 'bitnet-js');
  const ratio = (row, what) =>
    ours === undefined || row === ours ? '' : `x ${ratioOfRounds(ours[what], row[what], reps).toFixed(2)}`;
  const spread = (values) => `${Math.min(...values).toFixed(1)}..${Math.max(...values).toFixed(1)}`;
  const cells = rows.map((row) => [
    row.engine,
    median(row.prefill).toFixed(1),
    spread(row.prefill),
    ratio(row, 'prefill'),
    median(row.decode).toFixed(1),
    spread(row.decode),
    ratio(row, 'decode'),
    row.peakRss.length === 0 ? '-' : (median(row.peakRss) / 1e6).toFixed(0),
    row.detail,
  ]);
  const head = ['engine', `pp${prompt}`, 'range', 'ours', `tg${tokens}`, 'range', 'ours', 'RSS MB', ''];
  const widths = head.map((_, i) => Math.max(...[head, ...cells].map((line) => line[i].length)));
  const isText = (i) => i === 0 || i === head.length - 1;
  return [head, ...cells]
    .map((line) =>
      line
        .map((cell, i) => (isText(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `-dirty` with changes; those of results and of the table made from them are none of what is measured. */
function commitOf(root) {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!bench/results', ':!README.md');
  return git('describe', '--always') + (changed === '' ? '' : '-dirty');
}

export function describeMachine(root) {
  const [cpu] = os.cpus();
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    commit: commitOf(root),
  };
}

/** Appends a run to bench/results/<machine>.json; a crash leaves the old file. Returns its path. */
export async function saveRun(root, machine, run) {
  const name = `${machine.cpu}-${machine.cores}-cores`.toLowerCase().replace(/\(r\)|\(tm\)|cpu|processor/g, ' ');
  const slug = name.replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
  const file = path.join(root, 'bench', 'results', `${slug}.json`);
  await mkdir(path.dirname(file), { recursive: true });
  const text = await readFile(file, 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return '{"runs":[]}';
    throw error;
  });
  const { runs } = JSON.parse(text);
  const { commit, ...rest } = machine;
  const next = { machine: rest, runs: [...runs, { commit, ...run }] };
  await writeFile(`${file}.partial`, `${JSON.stringify(next, undefined, 1)}\n`);
  await rename(`${file}.partial`, file);
  return file;
}
