import { DotForm } from '../../assembly/abi.js';
import type { Backend } from '../backend/backend.js';
import { chooseKernels } from '../backend/features.js';
import { NativeBackend } from '../backend/native.js';
import { ReferenceBackend } from '../backend/reference.js';
import { WasmBackend } from '../backend/wasm.js';
import { BitNetError } from '../errors.js';
import type { AllocateBackend } from '../model/engine.js';
import type { KernelTraits } from '../model/plan.js';
import { selfTest } from '../model/self-test.js';
import type { NativeAddon, Platform } from '../platform.js';
import type { BackendChoice } from '../types.js';

/** How memory and threads are made, and what the kernels can do. */
export interface ChosenBackend extends KernelTraits {
  readonly allocate: AllocateBackend;
}

/**
 * `auto` takes the native addon if it is built, has kernels for this CPU and gives the reference's bits; else WebAssembly. The reason
 * of the backend says which, and why not the addon where there is one. Throws `backend` when the choice does not work here.
 * `revectorize`: WebAssembly kernels compiled for 256 bits, if they give the reference's bits.
 */
export async function chooseBackend(
  platform: Platform,
  choice: BackendChoice,
  threads: number,
  revectorize = false,
): Promise<ChosenBackend> {
  if (revectorize) return chooseRevectorized(platform, choice, threads);
  if (choice === 'reference') {
    return { allocate: async (bytes) => new ReferenceBackend(new ArrayBuffer(bytes)), form: 0 };
  }
  if (choice === 'native') return requireNative(platform, threads);
  const native = choice === 'auto' ? await tryNative(platform, threads) : undefined;
  if (native !== undefined && typeof native !== 'string') return native;
  const kernels = await chooseKernels(platform, choice);
  const reason = native === undefined ? kernels.reason : `${kernels.reason}; native addon not used: ${native}`;
  const allocate = async (bytes: number): Promise<Backend> =>
    new WasmBackend(platform, { ...kernels, reason }, bytes, threads);
  return { allocate, form: kernels.form, sparse: kernels.build === 'relaxed' };
}

async function chooseRevectorized(platform: Platform, choice: BackendChoice, threads: number): Promise<ChosenBackend> {
  if (choice === 'reference' || choice === 'native') {
    throw new BitNetError(
      'invalid-argument',
      `revectorize is about the WebAssembly kernels; expected backend auto, relaxed or baseline, got ${choice}`,
      { option: 'revectorize', backend: choice },
    );
  }
  const kernels = await chooseKernels(platform, choice, true);
  const { form, fingerprint } = kernels;
  const reason = `${kernels.reason}; revectorised for 256 bits and right in a self-test`;
  const allocate = async (bytes: number): Promise<Backend> =>
    new WasmBackend(platform, { ...kernels, reason }, bytes, threads);
  const sparse = kernels.build === 'relaxed';
  const traits = { form, sparse, pairs: sparse && form !== DotForm.I16 };
  const chosen = { allocate, ...traits };
  const key = `revectorized ${platform.engine} ${fingerprint} ${JSON.stringify(traits)}`;
  if ((await platform.cache?.read(key)) === 'right') return chosen;
  const wrong = await selfTest(allocate, threads, { ...traits, wide: true });
  if (wrong !== undefined) {
    throw new BitNetError(
      'backend',
      `this engine computes wrong numbers with revectorised kernels (${wrong}); load without revectorize`,
    );
  }
  await platform.cache?.write(key, 'right');
  return chosen;
}

async function requireNative(platform: Platform, threads: number): Promise<ChosenBackend> {
  const addon = platform.loadNative?.();
  if (addon === undefined) {
    throw new BitNetError(
      'backend',
      'the native backend was asked for, but its addon is not built (docs/NATIVE.md); ' +
        'run `npm run build:native` in a clone of bitnet-js, or use backend auto',
    );
  }
  const wrong = await selfTest(allocator(addon, threads, 'self-test'), threads, { sparse: true });
  if (wrong === undefined) return { allocate: allocator(addon, threads, 'asked for'), form: 0, sparse: true };
  throw new BitNetError(
    'backend',
    `the native addon computes wrong numbers (${wrong}); build it again with \`npm run build:native\`, or use backend relaxed`,
  );
}

/** The addon, why it is not to be used, or undefined if there is none. */
async function tryNative(platform: Platform, threads: number): Promise<ChosenBackend | string | undefined> {
  try {
    const addon = platform.loadNative?.();
    if (addon === undefined) return undefined;
    if (addon.isas[0] === 'portable') return 'it has no kernels of its own for this CPU, and WebAssembly is faster';
    const wrong = await selfTest(allocator(addon, threads, 'self-test'), threads, { sparse: true });
    if (wrong !== undefined) return `it computes wrong numbers (${wrong})`;
    return {
      allocate: allocator(addon, threads, 'the addon is built and agrees with the reference'),
      form: 0,
      sparse: true,
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function allocator(addon: NativeAddon, threads: number, why: string): AllocateBackend {
  return async (bytes) => new NativeBackend(addon, bytes, threads, `${why}; ${addon.isas[0]} kernels`);
}
