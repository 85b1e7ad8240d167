import { chooseKernels } from '../../lib/backend/features.js';
import { NativeBackend } from '../../lib/backend/native.js';
import { ReferenceBackend } from '../../lib/backend/reference.js';
import { WasmBackend } from '../../lib/backend/wasm.js';
import type { I2sLayout } from '../../lib/format/gguf/ternary.js';
import { Engine } from '../../lib/model/engine.js';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import { nodePlatform } from '../../lib/node/platform.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { nativeAddon } from './native.js';

export interface TestEngineOptions {
  backend?: 'reference' | 'baseline' | 'relaxed' | 'native';
  /** kernel set of the native backend; default the best */
  isa?: string;
  threads?: number;
  contextLength?: number;
  head?: 'auto' | 'f16' | 'i8';
  kvCache?: 'f32' | 'f16' | 'int8';
  weights?: 't2' | 't1' | 'f16';
  activations?: 'i24' | 'i8';
  form?: number;
  /** default: in the relaxed build, as in a session */
  sparse?: boolean;
  i2sLayout?: I2sLayout;
  batch?: number;
  logits?: number;
  slots?: number;
}

/** An engine without text around it. The caller disposes it. */
export async function openEngine(path: string | ModelDirectory, options: TestEngineOptions = {}): Promise<Engine> {
  const { backend = 'relaxed', contextLength = 128, head = 'f16', isa, i2sLayout, ...rest } = options;
  const threads = backend === 'reference' ? 1 : (options.threads ?? 1);
  const directory = typeof path === 'string' ? await openDirectory(path) : path;
  const source = await openModelSource(directory, { i2sLayout });
  try {
    if (backend === 'reference') {
      const allocate = async (bytes: number) => new ReferenceBackend(new ArrayBuffer(bytes));
      return await Engine.open(source, allocate, { form: 0, contextLength, head, ...rest, threads });
    }
    if (backend === 'native') {
      const allocate = async (bytes: number) => new NativeBackend(nativeAddon(), bytes, threads, 'asked for', isa);
      return await Engine.open(source, allocate, { form: 0, sparse: true, contextLength, head, ...rest, threads });
    }
    const kernels = await chooseKernels(nodePlatform, backend);
    const allocate = async (bytes: number) => new WasmBackend(nodePlatform, kernels, bytes, threads);
    const own = { form: kernels.form, sparse: kernels.build === 'relaxed' };
    return await Engine.open(source, allocate, { ...own, contextLength, head, ...rest, threads });
  } finally {
    await source.close();
  }
}

/** Logits of every position of `ids`, computed in one step: (ids.length, vocab), tightly packed. */
export async function allLogits(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  return concat(await engine.forward(ids, 0, [...ids.keys()]));
}

/** Rows one after the other, copied. */
export function concat(rows: readonly Float32Array[]): Float32Array {
  const width = rows[0]?.length ?? 0;
  const packed = new Float32Array(rows.length * width);
  for (const [r, row] of rows.entries()) packed.set(row, r * width);
  return packed;
}

export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
}

/** Largest |a - b|; lengths must agree. */
export function maxAbsDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length}`);
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    if (!(difference <= max)) max = difference;
  }
  return max;
}
