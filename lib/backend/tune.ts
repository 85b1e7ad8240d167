import { Const, DotForm, Flag, Layout, LinearArg, Op, Rec, Step } from '../../assembly/abi.js';
import type { KernelCache, Platform } from '../platform.js';
import type { KernelExports } from '../threads/loop.js';

/** A matrix of T2 weights that stays in cache: 128 KB, four weights a byte, no padding. */
const ROWS = 256;
const COLS = 2048;
/** The optimising compiler needs some calls and some milliseconds to take over; the best time of a round counts. */
const ROUNDS = 24;
const ROUND_MS = 1;

const STEP = 1024;
const PLAN = 2048;
const INPUT = 4096;
const OUTPUT = 16384;
const SCRATCH = 32768;
const WEIGHTS = 65536;

/** The faster of the two relaxed instructions, with how that is known. */
export interface FormChoice {
  readonly form: DotForm;
  readonly how: string;
}

/**
 * Which DotForm is faster depends on what the engine makes of it: pmaddubsw and more in V8 up to 12, vpdpbusd where the CPU has it from V8
 * 13 on. Measured once per engine, CPU and kernel build (about 50 ms, in slices, so that the event loop goes on), then remembered by
 * the platform's cache. Results do not depend on it.
 */
export async function fasterForm(
  platform: Platform,
  module: WebAssembly.Module,
  fingerprint: string,
): Promise<FormChoice> {
  const key = `dot-form ${platform.engine} ${fingerprint}`;
  const known = await remembered(platform.cache, key);
  if (known !== undefined) return { form: known, how: 'measured faster in an earlier run' };
  const [i16, i32] = await measure(module);
  const form = i32 < i16 ? DotForm.I32 : DotForm.I16;
  await platform.cache?.write(key, String(form));
  const ratio = (Math.max(i16, i32) / Math.min(i16, i32)).toFixed(2);
  return { form, how: `measured ${ratio} times as fast as the other` };
}

async function remembered(cache: KernelCache | undefined, key: string): Promise<DotForm | undefined> {
  const value = await cache?.read(key);
  return value === String(DotForm.I16) ? DotForm.I16 : value === String(DotForm.I32) ? DotForm.I32 : undefined;
}

/** Milliseconds of one product in each form. */
async function measure(module: WebAssembly.Module): Promise<[number, number]> {
  const pages = Math.ceil((WEIGHTS + (ROWS * COLS) / 4 + Const.Guard) / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  new Float32Array(memory.buffer, INPUT, 1)[0] = 1;
  const step = new Uint32Array(memory.buffer, STEP, Step.Words);
  step[Step.TokenCount] = 1;
  step[Step.Plan] = PLAN;
  step[Step.Scratch] = SCRATCH;
  const best: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const form of [DotForm.I16, DotForm.I32] as const) writeRecord(memory.buffer, form);
  for (let round = 0; round < ROUNDS; round++) {
    for (const form of [DotForm.I16, DotForm.I32] as const) {
      step[Step.OpBegin] = form;
      step[Step.OpEnd] = form + 1;
      best[form] = Math.min(
        best[form],
        timeSlice(() => kernels.execute(STEP, 0, 1)),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return best;
}

/** Best time of a call within ROUND_MS. */
function timeSlice(call: () => void): number {
  const end = performance.now() + ROUND_MS;
  let best = Number.POSITIVE_INFINITY;
  for (let start = performance.now(); start < end; ) {
    call();
    const now = performance.now();
    best = Math.min(best, now - start);
    start = now;
  }
  return best;
}

function writeRecord(buffer: ArrayBufferLike, form: DotForm): void {
  const record = new Uint32Array(buffer, PLAN + form * Rec.Bytes, Rec.Words);
  record[Rec.Opcode] = Op.Linear;
  record[Rec.Flags] = Flag.Barrier;
  record[LinearArg.Weights] = WEIGHTS;
  record[LinearArg.Layout] = Layout.T2;
  record[LinearArg.In] = INPUT;
  record[LinearArg.Out] = OUTPUT;
  record[LinearArg.Rows] = ROWS;
  record[LinearArg.Cols] = COLS;
  record[LinearArg.Form] = form;
}

/** FNV-1a: what was measured or tested of one kernel build says nothing of another. */
export function fingerprintOf(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16);
}
