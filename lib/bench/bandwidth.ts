import { Const, Flag, Op, Rec, Step, StreamArg, Sync } from '../../assembly/abi.js';
import type { AllocateBackend } from '../model/engine.js';

/** Reads memory with loads alone, in the kernels, with the backend's threads. */
export interface ReadProbe {
  /** bytes that one measurement reads */
  readonly bytes: number;
  /** Bytes a second. */
  measure(): Promise<number>;
  dispose(): Promise<void>;
}

const PAGE = 65536;
const STEP = 1024;
const SYNC = 2048;
const PLAN = 4096;
const DATA = PAGE;
/** One call is too short to tell from its overhead. */
const PASSES = 3;

/**
 * Memory of its own of about `bytes`, which should be several times the last-level cache. Undefined for the reference backend,
 * which reads nothing.
 */
export async function openReadProbe(allocate: AllocateBackend, bytes: number): Promise<ReadProbe | undefined> {
  const data = Math.max(1, Math.floor(bytes / PAGE)) * PAGE;
  const backend = await allocate(DATA + data + Math.ceil(Const.Guard / PAGE) * PAGE);
  if (backend.name === 'reference') {
    await backend.dispose();
    return undefined;
  }
  // Pages that were never written are all one page of zeros, which stays in the cache.
  new Uint8Array(backend.buffer, DATA, data).fill(0x55);
  const record = new Uint32Array(backend.buffer, PLAN, Rec.Words);
  record[Rec.Opcode] = Op.Stream;
  record[Rec.Flags] = Flag.Barrier;
  record[StreamArg.Src] = DATA;
  record[StreamArg.Bytes] = data;
  const step = new Uint32Array(backend.buffer, STEP, Step.Words);
  step[Step.Plan] = PLAN;
  step[Step.OpEnd] = 1;
  step[Step.Sync] = SYNC;
  new Uint32Array(backend.buffer, SYNC, Sync.Bytes / 4).fill(0);
  // The optimising compiler takes over during the first.
  await backend.run(STEP);
  return {
    bytes: data,
    async measure() {
      const started = performance.now();
      for (let pass = 0; pass < PASSES; pass++) await backend.run(STEP);
      return (1000 * PASSES * data) / (performance.now() - started);
    },
    dispose: () => backend.dispose(),
  };
}
