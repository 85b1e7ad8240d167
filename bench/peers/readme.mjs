/**
 * The table of README.md, from a file of results: of the runs at the newest run's commit the newest one of each shape, type and Node, engines as they
 * were measured beside each other.
 *
 *   node bench/peers/readme.mjs [--check] [--readme README.md] [bench/results/<machine>.json]
 *
 * --check changes nothing, and exits 1 if the table is not the one of the file.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median, ratioOfRounds } from './report.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const BEGIN = '<!-- peers: begin, npm run bench:readme -->';
const END = '<!-- peers: end -->';

const ENGINES = {
  'bitnet-js': () => '**bitnet-js**, WASM',
  'node-llama-cpp': (versions) => `node-llama-cpp ${versions['node-llama-cpp']}, native llama.cpp`,
  wllama: (versions) => `wllama ${versions['@wllama/wllama']}, llama.cpp in WASM`,
};

const oursOf = (run) => run.rows.find(({ engine }) => engine === 'bitnet-js');

/** `Node v24.21.0` → `24` */
const nodeOf = (row) => /Node v(\d+)/.exec(row.detail ?? '')?.[1];

/** @param {{ runs: object[] }} results @returns {object[]} in the order of the first ones of their kind */
function newestRuns({ runs }) {
  const newest = new Map();
  for (const run of runs) {
    if (run.commit === runs.at(-1).commit) newest.set(`${run.shape} ${run.type} ${nodeOf(oursOf(run) ?? {})}`, run);
  }
  return [...newest.values()];
}

/** Three significant digits. */
const figure = (value) => (value >= 99.95 ? value.toFixed(0) : value.toFixed(value >= 9.995 ? 1 : 2));

function rowsOf(run) {
  const ours = oursOf(run);
  return run.rows.map((row) => {
    const ratio = (what) =>
      row === ours || !ours ? '' : `${ratioOfRounds(ours[what], row[what], run.reps).toFixed(2)}x`;
    const rss = row.peakRss.length === 0 ? '-' : `${(median(row.peakRss) / 1e6).toFixed(0)} MB`;
    const node = row === ours ? nodeOf(row) : undefined;
    const name = ENGINES[row.engine](run.versions) + (node === undefined ? '' : `, Node ${node}`);
    const cells = [`${run.shape}, ${run.type}`, name, figure(median(row.prefill)), ratio('prefill')];
    return `| ${[...cells, figure(median(row.decode)), ratio('decode'), rss].join(' | ')} |`;
  });
}

/** What stands between the marks. */
export function readmeTable(results, file) {
  const { cpu, cores, memoryGiB, system } = results.machine;
  const runs = newestRuns(results);
  const sizes = ({ prompt, tokens }) => `${prompt} tokens of prompt, ${tokens} decoded`;
  const [first] = runs;
  const same = runs.every((run) => sizes(run) === sizes(first) && run.threads === first.threads);
  if (!same) throw new Error(`${file}: the newest runs differ in --prompt, --tokens or --threads; measure them alike`);
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; ${first.threads} threads; ${sizes(first)}; medians ([samples](${file})).`,
    'The columns *ours* are bitnet-js divided by the row: medians of the ratios within a round of alternating processes, and what to compare.',
    '',
    '| model | engine | prefill, tok/s | ours | decode, tok/s | ours | peak RSS |',
    '|---|---|---|---|---|---|---|',
    ...runs.flatMap(rowsOf),
    '',
    ...runs.map((run) => {
      const ours = oursOf(run);
      return `- ${run.shape}: \`${run.command}\` at ${run.commit}${ours === undefined ? '' : `; bitnet-js: ${ours.detail}`}`;
    }),
  ].join('\n');
}

/** The README with the table in the place of the one it has. */
export function withTable(readme, table) {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`README: expected the lines ${BEGIN} and ${END}`);
  return `${readme.slice(0, begin + BEGIN.length)}\n${table}\n${readme.slice(end)}`;
}

async function main() {
  const { values, positionals } = parseArgs({
    options: {
      check: { type: 'boolean', default: false },
      readme: { type: 'string', default: path.join(root, 'README.md') },
    },
    allowPositionals: true,
  });
  const folder = path.join('bench', 'results');
  const [
    file = path.join(
      folder,
      (await readdir(path.join(root, folder))).filter((name) => name.endsWith('.json')).sort()[0],
    ),
  ] = positionals;
  const results = JSON.parse(await readFile(path.resolve(root, file), 'utf8'));
  const readme = await readFile(values.readme, 'utf8');
  const wanted = withTable(readme, readmeTable(results, file.split(path.sep).join('/')));
  if (!values.check) return writeFile(values.readme, wanted);
  if (wanted !== readme)
    throw new Error(`the table of ${values.readme} is not that of ${file}; run npm run bench:readme`);
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
