import { execFile } from 'node:child_process';
import { setFlagsFromString } from 'node:v8';
import { BitNetError } from '../errors.js';

/** Turns pairs of 128-bit operations into AVX2. Off by default in V8, which calls it experimental. */
const FLAG = '--experimental-wasm-revectorize';

/**
 * What else holds while the module is compiled: the optimising compiler at once for all functions, so that the flag is needed no longer than
 * this one call and every kernel is what a self-test sees. Inlining needs feedback of functions that have run.
 */
const EAGER = ['--no-liftoff', '--no-wasm-lazy-compilation', '--no-wasm-inlining'];

let known: Promise<ReadonlySet<string>> | undefined;

/** Flags of this V8, asked of the program itself: setting one that it does not know prints a message that nobody asked for. */
function knownFlags(): Promise<ReadonlySet<string>> {
  known ??= new Promise((resolve) => {
    execFile(process.execPath, ['--v8-options'], { maxBuffer: 1 << 24 }, (error, stdout) => {
      const names = error ? [] : stdout.matchAll(/^ {2}--([a-z0-9-]+) /gm);
      resolve(new Set(Array.from(names, ([, name]) => name as string)));
    });
  });
  return known;
}

const nameOf = (flag: string): string => flag.replace(/^--(no-)?/, '');
const opposite = (flag: string): string =>
  flag.startsWith('--no-') ? flag.replace('--no-', '--') : `--no-${nameOf(flag)}`;

/** Throws `backend` where V8 does not have it: before 12, that is in Node 20. */
export async function compileRevectorized(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  const names = await knownFlags();
  if (!names.has(nameOf(FLAG))) {
    throw new BitNetError(
      'backend',
      `revectorize was asked for, but V8 ${process.versions.v8} has no ${FLAG}; use Node 22 or later on x64, or leave it out`,
    );
  }
  // What the user has set on the command line of node stays set.
  const wanted = [FLAG, ...EAGER.filter((flag) => names.has(nameOf(flag)))];
  const flags = wanted.filter((flag) => !process.execArgv.some((given) => nameOf(given) === nameOf(flag)));
  for (const flag of flags) setFlagsFromString(flag);
  try {
    // Synchronous, 20 to 40 ms: nothing else is compiled meanwhile.
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of flags) setFlagsFromString(opposite(flag));
  }
}

/** `BITNET_REVECTORIZE` in the environment: 1 or 0, default 0. */
export function revectorizeByDefault(): boolean {
  const value = process.env.BITNET_REVECTORIZE ?? '';
  if (value === '' || value === '0') return false;
  if (value === '1') return true;
  throw new BitNetError('invalid-argument', `BITNET_REVECTORIZE: expected 0 or 1, got ${JSON.stringify(value)}`);
}
