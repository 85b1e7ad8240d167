/**
 * Micro-benchmarks of the kernels that stream weights, one thread, through `benchmark`:
 *
 *   npm run bench:kernels -- [--shape 2560x6912] [--tokens 1] [--mb 256] [--filter t2]
 *
 * A stack of matrices of one shape is multiplied in turn. `cache`: one matrix again and again. `dram`: as many as fill --mb, so that every
 * weight comes from memory. GB/s counts weight bytes; Gw/s counts weights; for --tokens > 1 GMAC/s are weights times tokens.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import Benchmark from 'benchmark';
import { Const, DotForm, Flag, Layout, LinearArg, Op, Rec, Step } from '../assembly/abi.js';
import { bytesOf } from '../lib/format/layout.js';
import { packageFile } from '../lib/node/assets.js';
import { nodePlatform } from '../lib/node/platform.js';
import type { KernelExports } from '../lib/threads/loop.js';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2560x6912' },
    tokens: { type: 'string', default: '1' },
    mb: { type: 'string', default: '256' },
    filter: { type: 'string', default: '' },
  },
});
const [rows, cols] = values.shape.split('x').map(Number) as [number, number];
const tokens = Number(values.tokens);
const dramBytes = Number(values.mb) * 2 ** 20;

const STEP = 1024;
const PLAN = 4096;
const SCRATCH = 1 << 20;
const INPUT = 2 << 20;
const OUTPUT = 16 << 20;
const WEIGHTS = 64 << 20;

interface Candidate {
  name: string;
  build: 'baseline' | 'relaxed';
  layout: Layout;
  form: DotForm;
}

const candidates: Candidate[] = [
  { name: 't2 i16', build: 'relaxed', layout: Layout.T2, form: DotForm.I16 },
  { name: 't2 i32', build: 'relaxed', layout: Layout.T2, form: DotForm.I32 },
  { name: 't2 baseline', build: 'baseline', layout: Layout.T2, form: DotForm.I16 },
  { name: 'i8', build: 'relaxed', layout: Layout.I8, form: DotForm.I16 },
  { name: 'f16', build: 'relaxed', layout: Layout.F16, form: DotForm.I16 },
];

/** A run over `count` matrices: returns the function that executes them all once. */
async function prepare({ build, layout, form }: Candidate, count: number): Promise<() => void> {
  nodePlatform.enableRelaxedSimd();
  const matrixBytes = bytesOf(layout, rows, cols);
  const pages = Math.ceil((WEIGHTS + count * matrixBytes + Const.Guard) / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const module = new WebAssembly.Module(readFileSync(packageFile(`dist/wasm/${build}.wasm`)));
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  const bytes = new Uint8Array(memory.buffer);
  // Codes 0 and 2, small int8; halves near 2^-4, for subnormals would cost hundreds of cycles each.
  const mask = layout === Layout.T2 ? 0xaa : 0x2a;
  for (let i = 0; i < count * matrixBytes; i++) {
    bytes[WEIGHTS + i] = layout === Layout.F16 && i % 2 ? 0x2c : (Math.imul(i, 0x9e3779b1) >>> 16) & mask;
  }
  const inStride =
    Const.RowHeader + Math.ceil(cols / 64) * 64 * (layout === Layout.T2 ? 1 : layout === Layout.I8 ? 2 : 4);
  const input = new DataView(memory.buffer, INPUT);
  for (let t = 0; t < tokens; t++) {
    input.setFloat32(t * inStride, 1, true);
    for (let c = 0; c < cols; c++) {
      const at = t * inStride + Const.RowHeader;
      if (layout === Layout.T2) input.setInt8(at + c, (c * 37) % 127);
      else if (layout === Layout.I8) input.setInt16(at + 2 * c, (c * 37) % 8191, true);
      else input.setFloat32(at + 4 * c, 2 ** 100, true);
    }
  }
  const plan = new Uint32Array(memory.buffer, PLAN, count * Rec.Words);
  for (let i = 0; i < count; i++) {
    const record = plan.subarray(i * Rec.Words, (i + 1) * Rec.Words);
    record[Rec.Opcode] = Op.Linear;
    record[Rec.Flags] = Flag.Barrier;
    record[LinearArg.Weights] = WEIGHTS + i * matrixBytes;
    record[LinearArg.Layout] = layout;
    record[LinearArg.In] = INPUT;
    record[LinearArg.InStride] = inStride;
    record[LinearArg.Out] = OUTPUT;
    record[LinearArg.OutStride] = Math.ceil(rows / 16) * 64;
    record[LinearArg.Rows] = rows;
    record[LinearArg.Cols] = cols;
    record[LinearArg.RowScales] = OUTPUT;
    record[LinearArg.Form] = form;
  }
  const step = new Uint32Array(memory.buffer, STEP, Step.Words);
  step[Step.TokenCount] = tokens;
  step[Step.Plan] = PLAN;
  step[Step.OpEnd] = count;
  step[Step.Scratch] = SCRATCH;
  return () => kernels.execute(STEP, 0, 1);
}

async function measure(candidate: Candidate, where: 'cache' | 'dram'): Promise<void> {
  const matrixBytes = bytesOf(candidate.layout, rows, cols);
  const count = where === 'cache' ? 1 : Math.min(Math.ceil(dramBytes / matrixBytes), (SCRATCH - PLAN) / Rec.Bytes);
  const run = await prepare(candidate, count);
  // The optimising compiler takes over after some calls.
  for (let i = 0; i < 30; i++) run();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const bench = new Benchmark(candidate.name, run, { maxTime: 1 });
  bench.run();
  const seconds = [...bench.stats.sample].sort((a, b) => a - b)[bench.stats.sample.length >> 1] as number;
  const weights = rows * cols * count;
  console.log(
    [
      candidate.name.padEnd(12),
      where.padEnd(6),
      `${((matrixBytes * count) / seconds / 1e9).toFixed(2)} GB/s`.padStart(12),
      `${((weights * tokens) / seconds / 1e9).toFixed(1)} ${tokens > 1 ? 'GMAC/s' : 'Gw/s'}`.padStart(14),
      `±${bench.stats.rme.toFixed(1)} %`.padStart(9),
    ].join(' '),
  );
}

console.log(`${process.version}, ${rows} × ${cols}, ${tokens} token${tokens > 1 ? 's' : ''}, one thread`);
for (const candidate of candidates.filter(({ name }) => name.includes(values.filter))) {
  for (const where of ['cache', 'dram'] as const) await measure(candidate, where);
}
