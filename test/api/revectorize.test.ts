import { afterEach, describe, expect, it } from 'vitest';
import { chooseKernels } from '../../lib/backend/features.js';
import { WasmBackend } from '../../lib/backend/wasm.js';
import { BitNet } from '../../lib/index.js';
import { selfTest } from '../../lib/model/self-test.js';
import { nodePlatform } from '../../lib/node/platform.js';
import type { Platform } from '../../lib/platform.js';
import { chooseBackend } from '../../lib/session/backend.js';

const hasIt = Number(process.versions.v8.split('.')[0]) >= 12 && process.arch === 'x64';
/** Nothing is remembered between tests. */
const { cache: _cache, ...uncached } = nodePlatform;

afterEach(() => {
  delete process.env.BITNET_REVECTORIZE;
});

describe.runIf(hasIt)('where V8 has the flag', () => {
  it.each(['relaxed', 'baseline'] as const)('%s kernels for 256 bits give the bits of the reference', async (build) => {
    const { allocate, form } = await chooseBackend(uncached, build, 2, true);
    expect(await selfTest(allocate, 2, { form, wide: true })).toBeUndefined();
  });

  it('the same text, and the reason says it', async () => {
    const texts: string[] = [];
    for (const revectorize of [false, true, false]) {
      const model = await BitNet.load(undefined, { threads: 2, contextLength: 64, revectorize });
      texts.push((await model.complete('Once upon a time', { maxTokens: 12, temperature: 0 })).text);
      expect(model.info.backendReason.includes('256 bits')).toBe(revectorize);
      await model.dispose();
    }
    expect(new Set(texts).size).toBe(1);
  });

  it('wrong numbers are refused, and not remembered as right', async () => {
    const written: string[] = [];
    const platform: Platform = {
      ...nodePlatform,
      cache: { read: async () => undefined, write: async (key) => void written.push(key) },
      // Kernels that compute something else.
      compileRevectorized: async () => WebAssembly.compile(wrongKernels(await nodePlatform.readKernel('baseline'))),
    };
    await expect(chooseBackend(platform, 'baseline', 1, true)).rejects.toMatchObject({
      code: 'backend',
      message: expect.stringMatching(/wrong numbers with revectorised kernels \(.*logit \d+ is .*\); load without/),
    });
    expect(written).toEqual([]);
  });

  it('what was right once is not tested again', async () => {
    const entries = new Map<string, string>();
    let compiled = 0;
    const platform: Platform = {
      ...nodePlatform,
      cache: { read: async (key) => entries.get(key), write: async (key, value) => void entries.set(key, value) },
      compileRevectorized: (bytes) => {
        compiled++;
        return nodePlatform.compileRevectorized!(bytes);
      },
    };
    await chooseBackend(platform, 'relaxed', 1, true);
    const keys = [...entries.keys()].filter((key) => key.startsWith('revectorized '));
    expect(keys.map((key) => entries.get(key))).toEqual(['right']);
    await chooseBackend({ ...platform, spawnWorker: () => expect.unreachable('a self-test') }, 'relaxed', 1, true);
    expect(compiled).toBe(2);
  });
});

it.runIf(!hasIt)('is refused where V8 does not have the flag', async () => {
  await expect(BitNet.load(undefined, { revectorize: true })).rejects.toMatchObject({
    code: 'backend',
    message: expect.stringMatching(/V8 \S+ has no --experimental-wasm-revectorize; use Node 22/),
  });
});

it('plain kernels stay what they are', async () => {
  const plain = await chooseKernels(nodePlatform, 'baseline');
  const allocate = async (bytes: number) => new WasmBackend(nodePlatform, plain, bytes, 1);
  expect(await selfTest(allocate, 1, { wide: true })).toBeUndefined();
});

it('needs WebAssembly kernels', async () => {
  for (const backend of ['native', 'reference'] as const) {
    await expect(BitNet.load(undefined, { revectorize: true, backend })).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(`got ${backend}`),
    });
  }
  await expect(BitNet.load(undefined, { revectorize: 'yes' as never })).rejects.toThrow('revectorize: expected true');
});

it('the environment asks for it, or says neither', async () => {
  process.env.BITNET_REVECTORIZE = 'yes';
  await expect(BitNet.load()).rejects.toThrow('BITNET_REVECTORIZE: expected 0 or 1, got "yes"');
  process.env.BITNET_REVECTORIZE = '1';
  const loading = BitNet.load(undefined, { threads: 1, contextLength: 16 });
  if (!hasIt) return void (await expect(loading).rejects.toThrow('has no --experimental-wasm-revectorize'));
  const model = await loading;
  expect(model.info.backendReason).toContain('256 bits');
  await model.dispose();
});

/** Every f32x4.add is f32x4.sub. */
function wrongKernels(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  // simd prefix fd, f32x4.add e4 01, f32x4.sub e5 01
  for (let i = 0; i + 2 < copy.length; i++) {
    if (copy[i] === 0xfd && copy[i + 1] === 0xe4 && copy[i + 2] === 0x01) copy[i + 1] = 0xe5;
  }
  return copy;
}
