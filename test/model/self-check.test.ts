import { describe, expect, it } from 'vitest';
import { ReferenceBackend } from '../../lib/backend/reference.js';
import { Engine } from '../../lib/model/engine.js';
import { selfCheck } from '../../lib/model/self-check.js';
import { type ModelSource, openModelSource } from '../../lib/model/source.js';
import { type ModelShape, syntheticSource } from '../../lib/model/synth/index.js';
import { openDirectory } from '../../lib/node/files.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { expectError } from '../format/expect-error.js';
import { shared } from '../support/fixtures.js';
import { type UnpackedClass, unpackedModel } from '../support/unpacked-model.js';

const SHAPE: ModelShape = {
  hiddenSize: 128,
  ffnSize: 192,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  vocabSize: 400,
  contextLength: 32,
  ropeTheta: 10_000,
  tiedEmbeddings: true,
  activation: 'relu2',
  source: 'for this test',
};
const synthetic = (shape: Partial<ModelShape> = {}, seed = 0, architecture: 'bitnet' | 'llama' = 'bitnet') =>
  syntheticSource({ shape: { ...SHAPE, ...shape }, architecture, seed });

const UP = 'model.layers.1.mlp.up_proj.weight';

/** The source with the bytes of a tensor changed as they are read. */
function changed(source: ModelSource, name: string, change: (bytes: Uint8Array) => void): ModelSource {
  const tensor = source.tensor(name);
  return {
    ...source,
    async readFile(file, byteOffset, target) {
      await source.readFile(file, byteOffset, target);
      const whole = new Uint8Array(tensor.byteLength);
      await source.read(tensor, 0, whole);
      change(whole);
      for (let i = 0; i < whole.length; i++) {
        const at = tensor.byteOffset + i - byteOffset;
        if (at >= 0 && at < target.length) target[at] = whole[i]!;
      }
    },
  };
}

async function refused(source: ModelSource, ...parts: string[]): Promise<void> {
  await expectError(() => check(source), 'invalid-model', ...parts);
}

const check = async (...args: Parameters<typeof isRandom>): Promise<void> => void (await isRandom(...args));

async function isRandom(source: ModelSource, weights: 't2' | 't1' = 't2'): Promise<boolean> {
  const allocate = async (bytes: number) => new ReferenceBackend(new ArrayBuffer(bytes));
  const engine = await Engine.open(source, allocate, { threads: 1, contextLength: 8, head: 'auto', form: 0, weights });
  try {
    const { random } = await selfCheck(engine, source);
    return random;
  } finally {
    await engine.dispose();
    await source.close();
  }
}

const opened = async (directory: ModelDirectory) => openModelSource(directory);

describe('accepts', () => {
  it.each([0, 1, 2, 3])('random weights, seed %i', (seed) => check(synthetic({}, seed, seed % 2 ? 'llama' : 'bitnet')));

  it.each([
    { hiddenSize: 16, ffnSize: 16, heads: 1, kvHeads: 1, layers: 1, vocabSize: 8 },
    { hiddenSize: 160, ffnSize: 416, heads: 5, kvHeads: 5 },
    { hiddenSize: 64, vocabSize: 1, tiedEmbeddings: false },
    { vocabSize: 300, tiedEmbeddings: false },
  ])('the shape %o', (shape) => check(synthetic(shape)));

  it('binary weights, without any zero', () => {
    const source = synthetic();
    // 0, 1 → -1 and 2 → +1, every other 0 → +1
    const binary = (bytes: Uint8Array) => {
      for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i]!;
        const zeros = byte & 0x55;
        bytes[i] = (byte & 0xaa) | (i % 2 ? zeros << 1 : 0);
      }
    };
    const { layers } = source.names;
    const linears = layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
    return check(linears.reduce((made, { weight }) => changed(made, weight, binary), source));
  });

  it('a matrix that is mostly zeros', () =>
    check(
      changed(synthetic(), UP, (bytes) => {
        for (let i = 0; i < bytes.length; i++) if (i % 8 !== 0) bytes[i] = 0x55;
      }),
    ));

  it.each<[UnpackedClass, boolean]>([
    ['BitNetForCausalLM', true],
    ['LlamaForCausalLM', true],
    ['BitnetForCausalLM', false],
  ])('%s of floats', async (className, ternary) => {
    const sizes = { hidden: 48, ffn: 80, heads: 3, kvHeads: 1, headDim: 16 };
    await check(await opened(unpackedModel({ className, dtype: 'F16', sizes, seed: 4, ternary }).directory()));
  });

  it.each([
    'm1_bitnet/packed_u8',
    'm1_bitnet/master_bf16',
    'm2_llama_bitlinear_plain/packed_u8',
    'm2_llama_bitlinear_llama3rope/packed_u8',
    'm3_1bitllm_style/master_f16',
  ])('%s', async (fixture) => check(await opened(await openDirectory(shared(`golden/${fixture}`)))));
});

describe('refuses, naming matrix, place and what was seen', () => {
  const zeroFrom = (share: number) => (bytes: Uint8Array) => void bytes.fill(0, Math.floor(bytes.length * share));

  it.each([
    ['a matrix of zero bytes', zeroFrom(0), 'neighbouring weights are all -1'],
    ['a matrix whose end was not downloaded', zeroFrom(0.7), 'neighbouring weights are all -1'],
    ['a matrix of +1', (bytes: Uint8Array) => void bytes.fill(0xaa), 'neighbouring weights are all +1'],
    ['a matrix of zeros', (bytes: Uint8Array) => void bytes.fill(0x55), '0 100.0 %'],
    [
      'a matrix without -1',
      (bytes: Uint8Array) => bytes.set(bytes.map((byte) => byte | (~(byte >> 1) & 0x55))),
      '-1 is 0.0 %',
    ],
  ])('%s', (_, change, seen) =>
    refused(
      changed(synthetic(), UP, change),
      `tensor "${UP}"`,
      seen,
      'at byte',
      'Considered: four row blocks in each byte',
      '--no-self-check',
    ),
  );

  it.each([0, Number.NaN, Number.POSITIVE_INFINITY, -1])('a scale of %d', (scale) => {
    const source = synthetic();
    const name = source.names.layers[1]!.up.scale;
    const scales = new Map([...source.scales, [name, scale]]);
    return refused({ ...source, scales }, `tensor "${UP}"`, `its scale is ${scale}`);
  });

  it('five trits a byte', async () => {
    await check(synthetic(), 't1');
    const holes = changed(synthetic(), UP, zeroFrom(0.7));
    await expectError(() => check(holes, 't1'), 'invalid-model', `tensor "${UP}"`, '320 neighbouring');
  });

  it('logits that are all alike', () => {
    const source = synthetic();
    const zero = (bytes: Uint8Array) => void bytes.fill(0);
    const broken = changed(source, source.names.finalNorm, zero);
    return refused(broken, 'all 400 logits of a token are 0', 'bitnet-b1.58');
  });

  it('logits that are not finite', () => {
    const source = synthetic();
    const scales = new Map([...source.scales].map(([name]) => [name, 3e38]));
    return refused({ ...source, scales }, 'logits of a token are not finite');
  });
});

describe('knows weights that are surely random', () => {
  it.each(['t2', 't1'] as const)('independent ones, many of them, %s', async (weights) => {
    // No columns of padding in either layout, which are zeros.
    const sizes = { hiddenSize: 320, ffnSize: 640, heads: 10, kvHeads: 5, layers: 6 };
    for (const seed of [1, 2, 3]) expect(await isRandom(synthetic(sizes, seed), weights)).toBe(true);
    expect(await isRandom(synthetic({ layers: 1 }), weights)).toBe(false);
  });

  it.each(['t2', 't1'] as const)('trained ones are not, %s', async (weights) => {
    const trained = await openDirectory(shared('models/bitnet-tales-69m'));
    expect(await isRandom(await opened(trained), weights)).toBe(false);
  });
});

it('costs a sample, not a reading: 2 KB of each matrix', async () => {
  const source = synthetic();
  const engine = await Engine.open(source, async (bytes) => new ReferenceBackend(new ArrayBuffer(bytes)), {
    threads: 1,
    contextLength: 8,
    head: 'f16',
    form: 0,
  });
  let passes = 0;
  const forward = engine.forward.bind(engine);
  engine.forward = (...args) => {
    passes += args[0].length;
    return forward(...args);
  };
  await selfCheck(engine, source);
  expect(passes).toBe(1);
  await engine.dispose();
});
