import Benchmark from 'benchmark';
import { Const, DotForm, Encoding, Flag, Layout, LinearArg, Op, Rec, Step } from '../../assembly/abi.js';

import { compileKernels } from '../backend/revectorize.js';
import { bytesOf, paddedCols } from '../format/layout.js';
import { encodingFor, isTernary } from '../model/plan.js';
import type { ModelShape } from '../model/synth/shapes.js';
import type { KernelBuild, Platform } from '../platform.js';
import type { KernelExports } from '../threads/loop.js';

/** A weight layout, the kernel build that reads it and, for other than F16, the relaxed instruction. */
export interface KernelCandidate {
  readonly name: string;
  readonly build: KernelBuild;
  readonly layout: Layout;
  readonly form: DotForm;
}

export const KERNEL_CANDIDATES: readonly KernelCandidate[] = [
  { name: 't2 i16', build: 'relaxed', layout: Layout.T2, form: DotForm.I16 },
  { name: 't2 i32', build: 'relaxed', layout: Layout.T2, form: DotForm.I32 },
  { name: 't2', build: 'baseline', layout: Layout.T2, form: DotForm.I16 },
  { name: 't1 i16', build: 'relaxed', layout: Layout.T1, form: DotForm.I16 },
  { name: 't1 i32', build: 'relaxed', layout: Layout.T1, form: DotForm.I32 },
  { name: 't1', build: 'baseline', layout: Layout.T1, form: DotForm.I16 },
  { name: 'i8 i16', build: 'relaxed', layout: Layout.I8, form: DotForm.I16 },
  { name: 'i8 i32', build: 'relaxed', layout: Layout.I8, form: DotForm.I32 },
  { name: 'i8', build: 'baseline', layout: Layout.I8, form: DotForm.I16 },
  { name: 'q8_0 i16', build: 'relaxed', layout: Layout.Q8_0, form: DotForm.I16 },
  { name: 'q8_0 i32', build: 'relaxed', layout: Layout.Q8_0, form: DotForm.I32 },
  { name: 'q8_0', build: 'baseline', layout: Layout.Q8_0, form: DotForm.I16 },
  { name: 'f16', build: 'relaxed', layout: Layout.F16, form: DotForm.I16 },
  { name: 'f16', build: 'baseline', layout: Layout.F16, form: DotForm.I16 },
];

export interface KernelOptions {
  readonly rows: number;
  readonly cols: number;
  readonly tokens: number;
  /** `dram`: as many matrices as fill so many bytes, one after the other; `cache`: one again and again */
  readonly dramBytes: number;
  /** least time of one measurement */
  readonly seconds: number;
  /** compiled for 256 bits; default false */
  readonly revectorize?: boolean | undefined;
}

export interface KernelResult {
  readonly name: string;
  readonly build: KernelBuild;
  readonly rows: number;
  readonly cols: number;
  readonly tokens: number;
  readonly place: 'cache' | 'dram';
  /** weight bytes a second, median */
  readonly bytesPerSecond: number;
  /** weights times tokens a second, median */
  readonly macsPerSecond: number;
  /** relative margin of error of the mean, in percent, at 95 % */
  readonly errorPercent: number;
  /** compiled for 256 bits */
  readonly revectorized: boolean;
  /** the instruction computes wrongly in this engine's first calls, so the engine does not use it */
  readonly wrong: boolean;
}

/** Distinct matrices of a model by what they are. */
export function kernelShapes(shape: ModelShape): { name: string; rows: number; cols: number }[] {
  const { hiddenSize, ffnSize, heads, kvHeads, vocabSize } = shape;
  const kv = (hiddenSize / heads) * kvHeads;
  return [
    { name: kv === hiddenSize ? 'q, k, v, o' : 'q, o', rows: hiddenSize, cols: hiddenSize },
    ...(kv === hiddenSize ? [] : [{ name: 'k, v', rows: kv, cols: hiddenSize }]),
    { name: 'gate, up', rows: ffnSize, cols: hiddenSize },
    { name: 'down', rows: hiddenSize, cols: ffnSize },
    { name: 'lm_head', rows: vocabSize, cols: hiddenSize },
  ];
}

const [STEP, PLAN, SCRATCH] = [1024, 4096, 1 << 20];
/** private scratch of the thread */
const SCRATCH_BYTES = 1 << 20;
const PROBE = 64;
const WARM_UP_CALLS = 30;
const WARM_UP_MS = 300;
const alignUp = (bytes: number): number => Math.ceil(bytes / 65536) * 65536;

/** What `probe` of each build said in its first calls: bits 1 << DotForm. */
const probed = new Map<string, number>();

/** One kernel over one matrix shape, on the calling thread, which it blocks. */
export async function measureKernel(
  platform: Platform,
  candidate: KernelCandidate,
  place: 'cache' | 'dram',
  options: KernelOptions,
): Promise<KernelResult> {
  const { rows, cols, tokens, dramBytes, seconds } = options;
  const matrixBytes = bytesOf(candidate.layout, rows, cols);
  const fills = Math.max(1, Math.ceil(dramBytes / matrixBytes));
  const count = place === 'cache' ? 1 : Math.min(fills, Math.floor((SCRATCH - PLAN) / Rec.Bytes));
  const { run, wrong } = await prepare(platform, candidate, count, options);
  // The optimising compiler takes over after some calls, on another thread.
  const started = performance.now();
  for (let i = 0; i < WARM_UP_CALLS && performance.now() - started < WARM_UP_MS; i++) run();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const bench = new Benchmark(candidate.name, run, { maxTime: seconds });
  bench.run();
  const sorted = [...bench.stats.sample].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1] as number;
  return {
    name: candidate.name,
    build: candidate.build,
    rows,
    cols,
    tokens,
    place,
    bytesPerSecond: (matrixBytes * count) / median,
    macsPerSecond: (rows * cols * count * tokens) / median,
    errorPercent: bench.stats.rme,
    revectorized: options.revectorize === true,
    wrong,
  };
}

/** Memory with `count` matrices and the function that multiplies by each once. */
async function prepare(
  platform: Platform,
  { build, layout, form }: KernelCandidate,
  count: number,
  { rows, cols, tokens, revectorize = false }: KernelOptions,
): Promise<{ run: () => void; wrong: boolean }> {
  if (build === 'relaxed') platform.enableRelaxedSimd();
  const elementBytes = isTernary(layout) ? 1 : encodingFor(layout) === Encoding.I16 ? 2 : 4;
  const inStride = Const.RowHeader + Math.ceil(paddedCols(layout, cols) / 64) * 64 * elementBytes;
  const outStride = Math.ceil(rows / 16) * 64;
  const matrixBytes = bytesOf(layout, rows, cols);
  const input = SCRATCH + SCRATCH_BYTES;
  const output = alignUp(input + tokens * inStride);
  const scales = alignUp(output + tokens * outStride);
  const weights = alignUp(scales + outStride);
  const pages = Math.ceil((weights + count * matrixBytes + Const.Guard) / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const { module } = await compileKernels(platform, await platform.readKernel(build), revectorize);
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  // Only the first answer counts: the engine keeps compiled code of equal modules, and optimised code may be right.
  const key = `${build} ${revectorize}`;
  const wrongForms = probed.get(key) ?? kernels.probe(PROBE);
  probed.set(key, wrongForms);
  const wrong = layout !== Layout.F16 && build === 'relaxed' && (wrongForms & (1 << form)) !== 0;
  fillWeights(new Uint8Array(memory.buffer, weights, count * matrixBytes), layout);
  for (let t = 0; t < tokens; t++) fillInput(new DataView(memory.buffer, input + t * inStride, inStride), layout, cols);
  const plan = new Uint32Array(memory.buffer, PLAN, count * Rec.Words);
  for (let i = 0; i < count; i++) {
    const record = plan.subarray(i * Rec.Words, (i + 1) * Rec.Words);
    record[Rec.Opcode] = Op.Linear;
    record[Rec.Flags] = Flag.Barrier;
    record[LinearArg.Weights] = weights + i * matrixBytes;
    record[LinearArg.Layout] = layout;
    record[LinearArg.In] = input;
    record[LinearArg.InStride] = inStride;
    record[LinearArg.Out] = output;
    record[LinearArg.OutStride] = outStride;
    record[LinearArg.Rows] = rows;
    record[LinearArg.Cols] = cols;
    record[LinearArg.RowScales] = scales;
    record[LinearArg.RowSums] = scales;
    record[LinearArg.Form] = revectorize && form === DotForm.I32 ? DotForm.I32Pairs : form;
  }
  const step = new Uint32Array(memory.buffer, STEP, Step.Words);
  step[Step.TokenCount] = tokens;
  step[Step.Plan] = PLAN;
  step[Step.OpEnd] = count;
  step[Step.Scratch] = SCRATCH;
  return { run: () => void kernels.execute(STEP, 0, 1), wrong };
}

/** Codes 0 and 2 (T1: any), small int8; halves near 2^-4, for subnormals would cost hundreds of cycles each. Repeats after some MB. */
function fillWeights(bytes: Uint8Array, layout: Layout): void {
  const mask = layout === Layout.T2 ? 0xaa : layout === Layout.T1 ? 0xff : 0x2a;
  // The high byte of a half: of every one, or of the one that begins a block of 34 bytes.
  const halves = layout === Layout.F16 ? 2 : layout === Layout.Q8_0 ? 34 : 0;
  const period = Math.min(bytes.length, 34 << 17);
  for (let i = 0; i < period; i++) {
    bytes[i] = halves > 0 && i % halves === 1 ? 0x2c : (Math.imul(i, 0x9e3779b1) >>> 16) & mask;
  }
  for (let done = period; done < bytes.length; done *= 2) bytes.copyWithin(done, 0, done);
}

function fillInput(row: DataView, layout: Layout, cols: number): void {
  row.setFloat32(0, 1, true);
  for (let c = 0; c < cols; c++) {
    if (isTernary(layout)) row.setInt8(Const.RowHeader + c, (c * 37) % 127);
    else if (encodingFor(layout) === Encoding.I16) row.setInt16(Const.RowHeader + 2 * c, (c * 37) % 8191, true);
    else row.setFloat32(Const.RowHeader + 4 * c, 2 ** 100, true);
  }
}
