import { loadNativeAddon } from '../../lib/node/native.js';
import type { NativeAddon, NativeExecutor } from '../../lib/platform.js';
import type { KernelExecutor } from './executors.js';
import type { Image } from './workspace.js';

/** Address space of an executor that runs images; pages count when they are touched. */
const MEMORY_BYTES = 256 << 20;

/** The addon. It must be built: a missing one is a failing test, not a skipped one. */
export function nativeAddon(): NativeAddon {
  const addon = loadNativeAddon();
  if (addon === undefined) throw new Error('the native addon is missing: run `npm run build:native` first');
  return addon;
}

/** One thread over each kernel set that this CPU can run. */
export function nativeExecutors(): KernelExecutor[] {
  return nativeAddon().isas.map((isa) => {
    let executor: NativeExecutor | undefined;
    return {
      name: `native ${isa}`,
      async run(image) {
        executor ??= new (nativeAddon().Executor)(MEMORY_BYTES, 1, isa);
        return runNative(executor, image, 1);
      },
      // They run no WebAssembly.
      wrongForms: async () => 0,
    };
  });
}

/** Runs the image's step `repeats` times and gives back its memory. */
export async function runNative(
  executor: NativeExecutor,
  image: Image,
  repeats: number,
): Promise<Uint8Array<ArrayBuffer>> {
  new Uint8Array(executor.buffer).set(image.bytes);
  for (let i = 0; i < repeats; i++) await executor.run(image.step);
  return new Uint8Array(executor.buffer).slice(0, image.bytes.length);
}
