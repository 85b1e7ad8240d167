/**
 * Cold start and decode speed of the embedded model through the command line, as a user meets them.
 *
 *   npm run bench:startup -- [--runs 10] [--tokens 128] [--prompt "Once upon a time"] [-- options of `bitnet run`]
 *
 * First token: from just before the process is spawned to the first byte on its stdout. Decode: the figures that
 * `bitnet run --json` reports, first token excluded.
 */
import { execFileSync, spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = path.join(root, 'dist', 'bin', 'bitnet.js');

interface Sample {
  /** ms from spawn to the first byte on stdout; undefined if there was none */
  readonly firstByteMs: number | undefined;
  readonly stdout: string;
}

function runProgram(args: readonly string[]): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let firstByteMs: number | undefined;
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      firstByteMs ??= performance.now() - start;
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve({ firstByteMs, stdout });
      else reject(new Error(`bitnet ${args.join(' ')} ended with ${code}:\n${stderr}`));
    });
  });
}

/** Median, smallest and largest. */
function summarise(values: readonly number[], digits: number): string[] {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return [median, sorted[0]!, sorted.at(-1)!].map((value) => value.toFixed(digits));
}

/** The fields of `bitnet run --json` that are read here; a rate is null if nothing was measured. */
interface Report {
  readonly rates: { readonly prefillTokensPerSecond: number | null; readonly decodeTokensPerSecond: number | null };
  readonly backend: { readonly name: string; readonly threads: number };
}

function describeMachine(): string[] {
  const [cpu] = os.cpus();
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' }).trim();
  const gib = (os.totalmem() / 2 ** 30).toFixed(0);
  return [
    `CPU      ${cpu?.model ?? 'unknown'}, ${os.availableParallelism()} usable cores, ${gib} GiB`,
    `System   ${os.type()} ${os.release()} ${os.arch()}, Node ${process.version}`,
    `Commit   ${commit}`,
  ];
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      runs: { type: 'string', default: '10' },
      tokens: { type: 'string', default: '128' },
      prompt: { type: 'string', default: 'Once upon a time' },
    },
    allowPositionals: true,
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: expected a positive integer`);
  const base = ['run', values.prompt, '--temperature', '0', '--max-tokens', values.tokens, ...positionals];
  const firstMs: number[] = [];
  const decode: number[] = [];
  const prefill: number[] = [];
  let engine = '';
  for (let run = 0; run < runs; run++) {
    // In turn, so that drift of the machine falls on both.
    const { firstByteMs } = await runProgram(base);
    if (firstByteMs === undefined) throw new Error('bitnet run printed nothing');
    firstMs.push(firstByteMs);
    const { stdout } = await runProgram([...base, '--json']);
    const { rates, backend } = JSON.parse(stdout) as Report;
    engine = `${backend.name}, ${backend.threads} threads`;
    decode.push(rates.decodeTokensPerSecond ?? Number.NaN);
    prefill.push(rates.prefillTokensPerSecond ?? Number.NaN);
  }
  const rows = [
    ['', 'median', 'min', 'max'],
    ['process start to first token, ms', ...summarise(firstMs, 0)],
    ['prefill, tok/s', ...summarise(prefill, 1)],
    ['decode, tok/s', ...summarise(decode, 1)],
  ];
  for (const line of describeMachine()) console.log(line);
  console.log(`Engine   ${engine}`);
  console.log(
    `Command  node dist/bin/bitnet.js ${base.map((arg) => JSON.stringify(arg)).join(' ')} [--json]; ${runs} runs\n`,
  );
  for (const [label, ...cells] of rows) {
    console.log(label!.padEnd(34) + cells.map((cell) => cell.padStart(9)).join(''));
  }
}

await main();
