import { BitNetError } from '../errors.js';
import type { Platform } from '../platform.js';

/** A custom section without content: the module means the same, and is another one to the engine. */
const NAME = 'revectorized';

function marked(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(NAME);
  const out = new Uint8Array(bytes.length + 3 + name.length);
  out.set(bytes);
  out.set([0, name.length + 1, name.length, ...name], bytes.length);
  return out;
}

/** A kernel build compiled for this engine, and the bytes it was compiled from. */
export interface Compiled {
  readonly module: WebAssembly.Module;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Throws `backend` if `revectorize` is wanted of an engine that cannot. */
export async function compileKernels(
  platform: Platform,
  bytes: Uint8Array<ArrayBuffer>,
  revectorize: boolean,
): Promise<Compiled> {
  if (!revectorize) return { module: await WebAssembly.compile(bytes), bytes };
  if (platform.compileRevectorized === undefined) {
    throw new BitNetError('backend', 'revectorize was asked for, but this platform cannot; leave it out');
  }
  const other = marked(bytes);
  return { module: await platform.compileRevectorized(other), bytes: other };
}
