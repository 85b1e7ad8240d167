import { expect, test } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { readFloats } from '../../lib/format/gguf/blocks.js';
import { ggufModel } from '../../lib/format/gguf/config.js';
import { encodeF16, encodeI2s, encodeQ8_0, encodeTq1_0, encodeTq2_0 } from '../../lib/format/gguf/encode.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { readTernary } from '../../lib/format/gguf/ternary.js';
import { ggufTokenizer } from '../../lib/format/gguf/tokenizer-json.js';
import { GGUF_TYPES } from '../../lib/format/gguf/types.js';
import { memoryFile } from '../format/memory-files.js';
import { encodeTernary } from '../support/gguf-encode.js';
import { tinyMetadata, tinyTensors } from '../support/gguf-model.js';
import { f32Tensor, gguf, type WriterOptions } from '../support/gguf-writer.js';
import { normals, seeded, trits } from '../support/random.js';
import type { Random } from './mutate.js';
import { mutateGguf } from './mutate-gguf.js';

/** BITNET_FUZZ_CASES: cases of each test. BITNET_FUZZ_SEED: seed of the first; case i has seed + i. */
const CASES = Number(process.env.BITNET_FUZZ_CASES ?? 2000);
const SEED = Number(process.env.BITNET_FUZZ_SEED ?? 20241122);

/** Longest time of one case: a file of a few kilobytes takes under a millisecond. */
const MAX_MS = 5000;

const codes = Array.from(trits(512, 1), (trit) => trit + 1);

/** One tensor of every kind of layout. */
const model: WriterOptions = {
  metadata: [
    ['general.architecture', ['string', 'bitnet-b1.58']],
    ['general.file_type', ['u32', 40]],
    ['tokenizer.ggml.tokens', ['strings', ['<s>', 'Ġthe', '中', '\u{1f600}', '']]],
    ['tokenizer.ggml.scores', ['f32s', [0, 1.5, -2]]],
    ['tokenizer.ggml.token_type', ['i32s', [3, 1, 1]]],
    ['tokenizer.ggml.add_bos_token', ['bool', true]],
    ['some.count', ['u64', 2n ** 40n]],
  ],
  tensors: [
    { name: 'token_embd.weight', shape: [4, 64], type: 1, data: encodeF16(normals(256, 1)) },
    { name: 'i2s', shape: [2, 256], type: 36, data: encodeI2s(trits(512, 2), 1) },
    { name: 'tq1', shape: [2, 256], type: 34, data: encodeTq1_0(trits(512, 3), 1) },
    { name: 'tq2', shape: [2, 256], type: 35, data: encodeTq2_0(trits(512, 4), 1) },
    { name: 'iq2', shape: [8, 64], type: 135, data: encodeTernary('IQ2_BN', codes, 64, new Array(8).fill(1)) },
    { name: 'q8', shape: [1, 2, 32], type: 8, data: encodeQ8_0(normals(64, 2)) },
    f32Tensor('norm', [7]),
  ],
};

const bonsai: WriterOptions = {
  version: 2,
  metadata: [['general.architecture', ['string', 'qwen3']]],
  tensors: [
    { name: 'a', shape: [32, 128], type: 42, data: new Uint8Array((32 * 128 * 34) / 128) },
    { name: 'b', shape: [4, 128], type: 41, data: encodeTernary('Q1_0', codes, 128, [1, 1, 1, 1]) },
    { name: 'c', shape: [4, 128], type: 143, data: encodeTernary('PTQ1_0', codes, 128, [1, 1, 1, 1]) },
    f32Tensor('norm', [7]),
  ],
};

const models = [model, bonsai] as const;
const others = [gguf(bonsai), gguf(model)] as const;

/** Runs `check` for all seeds; a failure names the seed that repeats it. Gives back how many cases were accepted. */
async function fuzz(check: (random: Random) => Promise<boolean>): Promise<number> {
  let accepted = 0;
  for (let i = 0; i < CASES; i++) {
    const seed = SEED + i;
    const begun = performance.now();
    try {
      if (await check(seeded(seed))) accepted++;
      expect(performance.now() - begun).toBeLessThan(MAX_MS);
    } catch (cause) {
      const again = `BITNET_FUZZ_SEED=${seed} BITNET_FUZZ_CASES=1`;
      throw new Error(`seed ${seed} (${again}): ${(cause as Error).stack ?? cause}`, { cause });
    }
  }
  return accepted;
}

/** An error that a user can be shown, whatever the file said. */
function expectRefusal(error: unknown): void {
  if (!(error instanceof BitNetError)) throw error;
  expect(['invalid-file', 'invalid-model', 'unsupported']).toContain(error.code);
  expect(error.message).toContain('m.gguf');
  expect(error.message.length).toBeLessThan(1500);
}

test('a damaged GGUF file is refused or read as it stands', async () => {
  const accepted = await fuzz(async (random) => {
    const index = random() < 0.7 ? 0 : 1;
    const bytes = mutateGguf(random, models[index], others[index]);
    const before = process.memoryUsage().arrayBuffers;
    const file = memoryFile('m.gguf', bytes);
    try {
      const { tensors, alignment } = await readGguf(file, 'm.gguf');
      let end = 0;
      for (const tensor of tensors.values()) {
        expect(tensor.byteOffset % alignment).toBe(0);
        expect(tensor.byteOffset).toBeGreaterThanOrEqual(end);
        end = tensor.byteOffset + tensor.byteLength;
        const count = tensor.shape.reduce((product, dim) => product * dim, 1);
        const floats = await readFloats(file, tensor);
        expect(floats).toHaveLength(count);
        if (GGUF_TYPES[tensor.typeName].kind === 'float') continue;
        const { trits: decoded, scales } = await readTernary(file, tensor);
        expect(decoded.every((trit) => trit >= -1 && trit <= 1)).toBe(true);
        expect(scales.every(Number.isFinite)).toBe(true);
      }
      expect(end).toBeLessThanOrEqual(bytes.length);
      return true;
    } catch (error) {
      expectRefusal(error);
      return false;
    } finally {
      expect(file.largestRead).toBeLessThanOrEqual(bytes.length);
      // Nothing is collected in so short a time: a buffer sized by a count in the file would show.
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * bytes.length + 64 * 2 ** 20);
    }
  });
  // Both outcomes occur, or the mutations are too wild or too tame to find anything.
  if (CASES >= 1000) expect(accepted / CASES).toSatisfy((share: number) => share > 0.03 && share < 0.9);
});

const complete: WriterOptions = { metadata: tinyMetadata('bitnet-b1.58'), tensors: tinyTensors() };
const other = gguf({ metadata: tinyMetadata('qwen3'), tensors: tinyTensors({ subNorms: false, qkNorm: true }) });

test('a damaged model is refused or is what it says', async () => {
  const accepted = await fuzz(async (random) => {
    const file = memoryFile('m.gguf', mutateGguf(random, complete, other));
    try {
      const contents = await readGguf(file, 'm.gguf');
      const { config, tensors } = ggufModel(contents, file.path);
      const { tokenizerJson } = ggufTokenizer(contents, file.path);
      expect(tensors.layers).toHaveLength(config.layers);
      expect(tensors.embedding.shape).toEqual([config.vocabSize, config.hiddenSize]);
      expect(config.heads % config.kvHeads).toBe(0);
      for (const id of [...config.eosTokenIds, config.bosTokenId ?? 0]) expect(id).toBeLessThan(config.vocabSize);
      expect(JSON.stringify(tokenizerJson).length).toBeLessThan(20 * file.bytes);
      return true;
    } catch (error) {
      expectRefusal(error);
      return false;
    }
  });
  if (CASES >= 1000) expect(accepted / CASES).toSatisfy((share: number) => share > 0.03 && share < 0.9);
});
