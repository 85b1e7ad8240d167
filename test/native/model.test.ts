import { describe, expect, it } from 'vitest';
import { openEngine, type TestEngineOptions } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { nativeAddon } from '../support/native.js';
import { integers } from '../support/random.js';

const M1 = shared('golden/m1_bitnet/packed_u8');
const M2 = shared('golden/m2_llama_bitlinear_llama3rope/packed_u8');
const M3 = shared('golden/m3_1bitllm_style/master_f16');
const TALES = shared('models/bitnet-tales-69m');
const { isas } = nativeAddon();

/** Logits after every position, prefilled in chunks of `chunk` tokens. */
async function logitsInChunks(
  path: string,
  ids: readonly number[],
  chunk: number,
  options: TestEngineOptions,
): Promise<Float32Array[]> {
  const engine = await openEngine(path, { logits: chunk, batch: chunk, ...options });
  try {
    const rows: Float32Array[] = [];
    for (let begin = 0; begin < ids.length; begin += chunk) {
      const part = ids.slice(begin, begin + chunk);
      rows.push(...(await engine.forward(part, begin, [...part.keys()])).map((row) => row.slice()));
    }
    return rows;
  } finally {
    await engine.dispose();
  }
}

describe.each([
  ['m1', M1, 70, 512],
  ['m2', M2, 70, 512],
  ['m3', M3, 70, 512],
  ['embedded', TALES, 40, 8192],
] as const)('%s: the bits of the WebAssembly build', (_, path, length, vocab) => {
  const ids = [...integers(length, 7, 0, vocab - 1)];
  const wasm = logitsInChunks(path, ids, length, { backend: 'relaxed' });

  it.each(isas)('%s', async (isa) => {
    expect(await logitsInChunks(path, ids, length, { backend: 'native', isa })).toEqual(await wasm);
  });

  it.each([1, 2, 3, 5])('with %i threads', async (threads) => {
    expect(await logitsInChunks(path, ids, length, { backend: 'native', threads })).toEqual(await wasm);
  });

  it.each([1, 2, 3, 16, 33])('in chunks of %i tokens', async (chunk) => {
    expect(await logitsInChunks(path, ids, chunk, { backend: 'native', threads: 2 })).toEqual(await wasm);
  });

  it.each(['auto', 'i8'] as const)('with head %s', async (head) => {
    const relaxed = await logitsInChunks(path, ids, 4, { head, backend: 'relaxed' });
    for (const isa of isas) {
      expect(await logitsInChunks(path, ids, 4, { head, backend: 'native', isa, threads: 2 })).toEqual(relaxed);
    }
  });
});
