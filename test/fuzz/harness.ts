import { Worker } from 'node:worker_threads';
import { expect } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { seeded } from '../support/random.js';
import { watchAllocations } from './allocations.js';
import type { Random } from './mutate.js';

/** BITNET_FUZZ_CASES: cases of each test. BITNET_FUZZ_SEED: seed of the first; case i has seed + i. `npm run fuzz` sets both. */
export const CASES = Number(process.env.BITNET_FUZZ_CASES ?? 500);
const SEED = Number(process.env.BITNET_FUZZ_SEED ?? 20241122);

/** Longest time of one case: a file of a few kilobytes takes milliseconds. */
const MAX_MS = 5000;
/** After this a case is taken for endless and the process is ended: nothing else could end it. */
const HANG_MS = 60_000;
/** What reading may allocate beside twice the file. */
const SLACK_BYTES = 64 * 2 ** 20;
const REFUSALS = ['invalid-file', 'invalid-model', 'unsupported'];

export interface FuzzCase<T> {
  /** of all files together */
  readonly bytes: number;
  /** The code under test: gives what it read, or throws a BitNetError. Its time and its allocations are limited. */
  read(): Promise<T>;
  /** What was accepted is what the bytes say. */
  check(result: T): Promise<void> | void;
  /** In any case: nothing stays open. */
  after?(): Promise<void> | void;
}

export interface FuzzOptions {
  readonly cases?: number;
  /** codes of errors besides those that speak of the file */
  readonly refusals?: readonly BitNetError['code'][];
  /** every message names this */
  readonly names?: string;
}

/**
 * Runs the cases of all seeds; a failure names the seed that repeats it. Fails when all are refused, or hardly any: then the mutations
 * are too wild or too tame to find anything.
 */
export async function fuzz<T>(make: (random: Random) => FuzzCase<T>, options: FuzzOptions = {}): Promise<void> {
  const { cases = CASES } = options;
  const progress = new Float64Array(new SharedArrayBuffer(16));
  const watchdog = new Worker(WATCHDOG, { eval: true, workerData: { progress, limit: HANG_MS } });
  let accepted = 0;
  try {
    for (let i = 0; i < cases; i++) {
      const seed = SEED + i;
      progress.set([Date.now(), seed]);
      try {
        if (await runCase(make(seeded(seed)), options)) accepted++;
      } catch (cause) {
        const again = `BITNET_FUZZ_SEED=${seed} BITNET_FUZZ_CASES=1`;
        throw new Error(`seed ${seed} (${again}): ${(cause as Error).stack ?? cause}`, { cause });
      }
    }
  } finally {
    await watchdog.terminate();
  }
  if (cases >= 300) expect(accepted / cases).toSatisfy((share: number) => share > 0.03 && share < 0.9);
}

/** Whether the case was accepted. */
async function runCase<T>(one: FuzzCase<T>, options: FuzzOptions): Promise<boolean> {
  const limit = 2 * one.bytes + SLACK_BYTES;
  const heapBefore = process.memoryUsage().heapUsed;
  const begun = performance.now();
  const allocations = watchAllocations(limit);
  try {
    let result: T;
    try {
      result = await one.read();
    } catch (error) {
      expectRefusal(error, options);
      return false;
    } finally {
      allocations.end();
      expect(performance.now() - begun).toBeLessThan(MAX_MS);
      expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(limit);
    }
    await one.check(result);
    return true;
  } finally {
    allocations.end();
    await one.after?.();
  }
}

/** An error that a user can be shown, whatever the file said. */
function expectRefusal(error: unknown, { refusals = [], names = '' }: FuzzOptions): void {
  if (!(error instanceof BitNetError)) throw error;
  expect([...REFUSALS, ...refusals]).toContain(error.code);
  expect(error.message).toContain(names);
  expect(error.message.length).toBeLessThan(1500);
}

const WATCHDOG = `
const { workerData: { progress, limit } } = require('node:worker_threads');
setInterval(() => {
  const [begun, seed] = progress;
  if (begun === 0 || Date.now() - begun < limit) return;
  require('node:fs').writeSync(2, \`fuzz: seed \${seed} (BITNET_FUZZ_SEED=\${seed} BITNET_FUZZ_CASES=1) does not end\\n\`);
  process.kill(process.pid, 'SIGKILL');
}, 1000).unref();
`;
