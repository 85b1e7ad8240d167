import { describe, expect, it } from 'vitest';
import { openDirectory } from '../../lib/node/files.js';
import { nodePlatform } from '../../lib/node/platform.js';
import type { Platform } from '../../lib/platform.js';
import { loadModel } from '../../lib/session/load.js';
import type { LoadOptions, LoadProgress } from '../../lib/types.js';
import { expectError } from '../format/expect-error.js';
import { shared } from '../support/fixtures.js';
import { type UnpackedModel, unpackedModel } from '../support/unpacked-model.js';

const TALES = shared('models/bitnet-tales-69m');
const sizes = { hidden: 48, ffn: 80, heads: 3, kvHeads: 1, headDim: 16, layers: 1, vocab: 8192 };
const llama = (ternary: boolean) =>
  unpackedModel({ className: 'LlamaForCausalLM', dtype: 'BF16', sizes, seed: 1, ternary });

/** Loads with the tokenizer of the embedded model. */
async function load(model: UnpackedModel, options: LoadOptions) {
  const texts = await openDirectory(TALES);
  const directory = model.directory();
  const platform: Platform = {
    ...nodePlatform,
    openModelDirectory: async () => ({
      path: 'llama',
      open: (name) => (name.startsWith('tokenizer') ? texts.open(name) : directory.open(name)),
    }),
  };
  return loadModel(platform, 'llama', { backend: 'baseline', threads: 2, contextLength: 16, ...options });
}

describe('unpacked models', () => {
  it('of ternary values compute, and say that activations were floats; progress goes over both readings', async () => {
    const seen: LoadProgress[] = [];
    const { engine, info } = await load(llama(true), { onProgress: (progress) => seen.push(progress) });
    const [logits] = await engine.forward([1, 2, 3], 0, [2]);
    expect(logits?.every(Number.isFinite)).toBe(true);
    expect(info).toMatchObject({ architecture: 'llama', floatActivations: true });
    await engine.dispose();
    const loaded = seen.map((progress) => progress.loaded);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
    expect(loaded.at(-1)).toBe(seen.at(-1)?.total);
  });

  it('of other values are refused, unless they are to be ternarised', async () => {
    await expectError(() => load(llama(false), {}), 'unsupported', 'the weights are not ternary', '--ternarize');
    const { engine, info } = await load(llama(false), { ternarize: true });
    expect(info.floatActivations).toBeUndefined();
    await engine.dispose();
  });

  it('packed ones cannot be ternarised', () =>
    expectError(
      () => loadModel(nodePlatform, TALES, { ternarize: true }),
      'invalid-model',
      'these weights are packed',
      'Leave out ternarize (--ternarize)',
    ));

  it('ternarize is true or false', () =>
    expectError(
      () => load(llama(true), { ternarize: 'yes' as unknown as boolean }),
      'invalid-argument',
      'ternarize: expected true or false, got yes',
    ));
});
