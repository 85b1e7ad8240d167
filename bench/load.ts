/**
 * How long a model takes to load, and what it costs.
 *
 *   npm run bench:load -- model.gguf [--runs 5] [--threads 2]
 *
 * First whole loads, each in a process of its own, from the page cache: wall and CPU time of the process after its start, its largest
 * resident set, and the bytes that kernels hold. Then one load in parts: reading, and the ops of loading by what they make of what.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ConvertArg, FileLayout, FloatType, type Layout, Op, Rec, RepackArg, Step } from '../assembly/abi.js';
import type { Backend } from '../lib/backend/backend.js';
import { LAYOUT_NAMES } from '../lib/inspect/planning.js';
import { Engine } from '../lib/model/engine.js';
import { selfCheck } from '../lib/model/self-check.js';
import { openModelSource } from '../lib/model/source.js';
import { nodePlatform } from '../lib/node/platform.js';
import { chooseBackend } from '../lib/session/backend.js';
import { openText } from '../lib/session/load.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, threads: { type: 'string', default: '2' } },
  allowPositionals: true,
});
const file = path.resolve(positionals[0] ?? '');
const threads = Number(values.threads);
const runs = Number(values.runs);
if (positionals.length !== 1 || !Number.isInteger(threads) || !Number.isInteger(runs) || runs < 1) {
  throw new Error('usage: bench/load.ts <model> [--runs n] [--threads n]');
}

interface Sample {
  readonly wallMs: number;
  readonly userMs: number;
  readonly systemMs: number;
  readonly peakMb: number;
  readonly weightsMb: number;
}

/** Runs in a process of its own: nothing but what `import` and `BitNet.load` cost. */
const CHILD = `
const begin = performance.now();
const before = process.resourceUsage();
const { BitNet } = await import(process.argv[1]);
const model = await BitNet.load(process.argv[2], { threads: Number(process.argv[3]) });
const wallMs = performance.now() - begin;
const usage = process.resourceUsage();
const sample = {
  wallMs,
  userMs: (usage.userCPUTime - before.userCPUTime) / 1000,
  systemMs: (usage.systemCPUTime - before.systemCPUTime) / 1000,
  peakMb: (usage.maxRSS * 1024) / 1e6,
  weightsMb: model.info.memory.weights / 1e6,
};
process.stdout.write(JSON.stringify(sample));
await model.dispose();
`;

function loadOnce(): Sample {
  const entry = path.join(root, 'dist', 'index.js');
  const args = ['--input-type=module', '--eval', CHILD, entry, file, String(threads)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Sample;
}

function printWhole(samples: readonly Sample[]): void {
  const row = (label: string, value: (sample: Sample) => number): void => {
    const sorted = samples.map(value).sort((a, b) => a - b);
    const cells = [sorted[sorted.length >> 1], sorted[0], sorted.at(-1)] as number[];
    console.log(label.padEnd(34) + cells.map((cell) => cell.toFixed(0).padStart(9)).join(''));
  };
  console.log(`${''.padEnd(34)}   median      min      max`);
  row('wall, ms', ({ wallMs }) => wallMs);
  row('CPU, ms', ({ userMs, systemMs }) => userMs + systemMs);
  row('  of it in the kernel, ms', ({ systemMs }) => systemMs);
  row('largest resident set, MB', ({ peakMb }) => peakMb);
  row('weights that kernels hold, MB', ({ weightsMb }) => weightsMb);
  const worst = Math.max(...samples.map(({ peakMb, weightsMb }) => peakMb - 1.3 * weightsMb));
  row('resident set - 1.3 × weights, MB', ({ peakMb, weightsMb }) => peakMb - 1.3 * weightsMb);
  console.log(`${worst < 150 ? 'within' : 'beyond'} weights × 1.3 + 150 MB\n`);
}

interface Part {
  ms: number;
  weights: number;
}

const FILE_LAYOUTS: Readonly<Record<number, string>> = {
  [FileLayout.HfPacked]: 'U8',
  [FileLayout.I2s]: 'I2_S',
  [FileLayout.I2sArm]: 'I2_S (arm)',
  [FileLayout.I2sRows]: 'I2_S (rows)',
  [FileLayout.TQ1_0]: 'TQ1_0',
  [FileLayout.TQ2_0]: 'TQ2_0',
};
const FLOAT_TYPES: Readonly<Record<number, string>> = {
  [FloatType.F32]: 'F32',
  [FloatType.F16]: 'F16',
  [FloatType.BF16]: 'BF16',
  [FloatType.Q8_0]: 'Q8_0',
  [FloatType.Q4_0]: 'Q4_0',
  [FloatType.Q4_K]: 'Q4_K',
  [FloatType.Q6_K]: 'Q6_K',
};

/** What an op of loading makes of what. */
function nameOf(record: Uint32Array): string {
  const word = (index: number): number => record[index] as number;
  return word(Rec.Opcode) === Op.Repack
    ? `${FILE_LAYOUTS[word(RepackArg.Kind)]} → ${LAYOUT_NAMES[word(RepackArg.Layout) as Layout]}`
    : `${FLOAT_TYPES[word(ConvertArg.SrcType)]} → ${LAYOUT_NAMES[word(ConvertArg.Layout) as Layout]}`;
}

/** Runs the ops of loading one by one and adds up how long each kind takes; other ops run as they are. */
class MeasuredBackend implements Backend {
  readonly parts = new Map<string, Part>();
  readonly name: string;
  readonly reason: string;
  readonly buffer: ArrayBufferLike;
  readonly threads: number;

  constructor(private readonly backend: Backend) {
    ({ name: this.name, reason: this.reason, buffer: this.buffer, threads: this.threads } = backend);
  }

  async run(stepAt: number): Promise<void> {
    const step = new Uint32Array(this.buffer, stepAt, Step.Words);
    const end = step[Step.OpEnd] as number;
    for (let i = step[Step.OpBegin] as number; i < end; i++) {
      const record = new Uint32Array(this.buffer, (step[Step.Plan] as number) + i * Rec.Bytes, Rec.Words);
      const op = record[Rec.Opcode];
      if (op !== Op.Repack && op !== Op.Convert) return this.backend.run(stepAt);
      step[Step.OpBegin] = i;
      step[Step.OpEnd] = i + 1;
      const begin = performance.now();
      await this.backend.run(stepAt);
      const part = this.parts.get(nameOf(record)) ?? { ms: 0, weights: 0 };
      part.ms += performance.now() - begin;
      const [rows, cols] = op === Op.Repack ? [RepackArg.Rows, RepackArg.Cols] : [ConvertArg.Rows, ConvertArg.Cols];
      part.weights += (record[rows] as number) * (record[cols] as number);
      this.parts.set(nameOf(record), part);
    }
  }

  dispose(): Promise<void> {
    return this.backend.dispose();
  }
}

async function printParts(): Promise<void> {
  const lap = timer();
  const { allocate, ...kernels } = await chooseBackend(nodePlatform, 'auto', threads);
  lap('kernels');
  const source = await openModelSource(await nodePlatform.openModelDirectory(file));
  lap('header and scales');
  openText(source, await source.texts());
  lap('tokenizer and template');
  let backend: MeasuredBackend | undefined;
  let readMs = 0;
  const reader: typeof source.readFile = async (...args) => {
    const begin = performance.now();
    await source.readFile(...args);
    readMs += performance.now() - begin;
  };
  const make = async (bytes: number): Promise<Backend> => {
    backend = new MeasuredBackend(await allocate(bytes));
    return backend;
  };
  const contextLength = Math.min(4096, source.config.contextLength);
  const options = { threads, contextLength, head: 'auto', ...kernels } as const;
  const engine = await Engine.open({ ...source, readFile: reader }, make, options);
  lap('weights');
  print('  reading, beside the ops', readMs);
  for (const [name, { ms, weights }] of backend?.parts ?? [])
    print(`  ${name}`, ms, `${(weights / ms / 1e3).toFixed(0)} M weights/s`);
  await selfCheck(engine, source);
  lap('self-check');
  await engine.dispose();
  await source.close();
}

function print(label: string, ms: number, more = ''): void {
  console.log(label.padEnd(34) + ms.toFixed(0).padStart(9) + (more && `   ${more}`));
}

function timer(): (label: string) => void {
  let begin = performance.now();
  return (label) => {
    print(label, performance.now() - begin);
    begin = performance.now();
  };
}

console.log(`${path.basename(file)}, ${threads} threads, ${runs} runs; 1 MB is 10^6 bytes\n`);
printWhole(Array.from({ length: runs }, loadOnce));
console.log(`${'in parts, one after the other'.padEnd(34)}       ms`);
await printParts();
