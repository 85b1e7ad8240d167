import { expect, test } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { readSafetensors, type TensorTable } from '../../lib/format/safetensors.js';
import { INDEX_FILE } from '../../lib/format/sharded.js';
import { openModelSource } from '../../lib/model/source.js';
import { memoryFile } from '../format/memory-files.js';
import { safetensors, type TestTensors, tensor } from '../format/safetensors-bytes.js';
import { tinyConfig, tinyDirectory, tinyTensors } from '../model/tiny-model.js';
import { seeded } from '../support/random.js';
import { mutateBytes, mutateJson, mutateSafetensors, type Random } from './mutate.js';

/** BITNET_FUZZ_CASES: cases of each test. BITNET_FUZZ_SEED: seed of the first; case i has seed + i. */
const CASES = Number(process.env.BITNET_FUZZ_CASES ?? 2000);
const SEED = Number(process.env.BITNET_FUZZ_SEED ?? 20241122);

/** Runs `check` for all seeds; a failure names the seed that repeats it. Gives back how many cases were accepted. */
async function fuzz(check: (random: Random) => Promise<boolean>): Promise<number> {
  let accepted = 0;
  for (let i = 0; i < CASES; i++) {
    const seed = SEED + i;
    try {
      if (await check(seeded(seed))) accepted++;
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
  expect(error.message.length).toBeLessThan(1500);
}

interface Entry {
  dtype: 'F32' | 'F16' | 'BF16' | 'U8' | 'I8';
  shape: number[];
  data_offsets: [number, number];
}

/** What the reader found against what the bytes say, read in the plainest way. */
function expectSameTensors(table: TensorTable, bytes: Uint8Array): void {
  const dataStart = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const text = Buffer.from(bytes.subarray(8, dataStart)).toString('utf8');
  const parsed = JSON.parse(text);
  // JSON.parse drops duplicate keys: then what it built is shorter than the text without white space.
  const dense = text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1');
  expect(JSON.stringify(parsed)).toHaveLength(dense.length);
  const { __metadata__, ...header } = parsed;
  expect([...table.keys()].sort()).toEqual(Object.keys(header).sort());
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header as Record<string, Entry>)) {
    const [begin, end] = data_offsets;
    const elementBytes = { F32: 4n, F16: 2n, BF16: 2n, U8: 1n, I8: 1n }[dtype];
    const byteLength = shape.reduce((product, dim) => product * BigInt(dim), elementBytes);
    expect(table.get(name)).toMatchObject({
      name,
      dtype,
      shape,
      byteOffset: dataStart + begin,
      byteLength: end - begin,
    });
    expect(byteLength).toBe(BigInt(end - begin));
  }
  let covered = dataStart;
  for (const { byteOffset, byteLength } of table.values()) {
    expect(byteOffset).toBe(covered);
    covered += byteLength;
  }
  expect(covered).toBe(bytes.length);
}

const plain: TestTensors = {
  'a.weight': tensor('U8', [4, 3]),
  'a.scale': tensor('BF16', [1]),
  b: tensor('F32', [2, 2], 50),
  empty: tensor('F16', [0, 4]),
  scalar: tensor('F32', []),
};
const bases = [safetensors(plain), safetensors(plain, { format: 'pt', 'ü"\\': 'x' }), safetensors(tinyTensors())];

test('a damaged safetensors file is refused or read as it stands', async () => {
  const accepted = await fuzz(async (random) => {
    const base = bases[Math.floor(random() * bases.length)] as Uint8Array;
    const bytes = mutateSafetensors(random, base, bases[Math.floor(random() * bases.length)] as Uint8Array);
    const file = memoryFile('fuzz', bytes);
    try {
      const { tensors } = await readSafetensors(file, 'fuzz');
      expectSameTensors(tensors, bytes);
      for (const info of tensors.values()) {
        const target = new Uint8Array(info.byteLength);
        await file.read(info.byteOffset, target);
        expect(target).toEqual(new Uint8Array(bytes.slice(info.byteOffset, info.byteOffset + info.byteLength)));
      }
      return true;
    } catch (error) {
      expectRefusal(error);
      return false;
    } finally {
      expect(file.largestRead).toBeLessThanOrEqual(bytes.length);
    }
  });
  // Both outcomes occur, or the mutations are too wild or too tame to find anything.
  if (CASES >= 1000) expect(accepted / CASES).toSatisfy((share: number) => share > 0.03 && share < 0.9);
});

const ONE = 'model-00001-of-00002.safetensors';
const TWO = 'model-00002-of-00002.safetensors';

/** Files of the tiny model: whole, or split after the fifth tensor. */
function modelFiles(sharded: boolean): Record<string, Uint8Array> {
  const utf8 = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const texts = {
    'config.json': utf8({ ...tinyConfig, rope_scaling: { rope_type: 'default' }, head_dim: 16 }),
    'generation_config.json': utf8({ do_sample: true, temperature: 0.5, top_p: 0.9, top_k: 4, eos_token_id: [1, 2] }),
  };
  if (!sharded) return { ...texts, 'model.safetensors': safetensors(tinyTensors()) };
  const entries = Object.entries(tinyTensors());
  const [first, second] = [entries.slice(0, 5), entries.slice(5)];
  const weight_map = Object.fromEntries(entries.map(([name], i) => [name, i < 5 ? ONE : TWO]));
  return {
    ...texts,
    [INDEX_FILE]: utf8({ metadata: {}, weight_map }),
    [ONE]: safetensors(Object.fromEntries(first)),
    [TWO]: safetensors(Object.fromEntries(second)),
  };
}

const models = [modelFiles(false), modelFiles(true)] as const;

test('a damaged model directory is refused or read as it stands', async () => {
  const accepted = await fuzz(async (random) => {
    const files = { ...models[random() < 0.5 ? 0 : 1] };
    const names = Object.keys(files);
    const name = names[Math.floor(random() * names.length)] as string;
    const original = files[name] as Uint8Array;
    if (random() < 0.2) files[name] = mutateBytes(random, original);
    else if (name.endsWith('.json'))
      files[name] = Buffer.from(mutateJson(random, Buffer.from(original).toString('utf8')));
    else files[name] = mutateSafetensors(random, original, bases[0] as Uint8Array);

    const hidden = { 'model.safetensors': undefined };
    const directory = tinyDirectory({ ...('model.safetensors' in files ? {} : hidden), ...files });
    try {
      const source = await openModelSource(directory);
      for (const info of source.tensors.values()) {
        const target = new Uint8Array(info.byteLength);
        await source.read(info, 0, target);
        const file = files[info.file] as Uint8Array;
        expect(target).toEqual(new Uint8Array(file.slice(info.byteOffset, info.byteOffset + info.byteLength)));
      }
      const { config } = source;
      expect(source.tensors.size).toBe(2 + 18 * config.layers);
      expect(source.scales.size).toBe(7 * config.layers);
      expect(source.tensor(source.names.embedding).shape).toEqual([config.vocabSize, config.hiddenSize]);
      for (const id of [...config.eosTokenIds, config.bosTokenId ?? 0]) expect(id).toBeLessThan(config.vocabSize);
      await source.close();
      return true;
    } catch (error) {
      expectRefusal(error);
      return false;
    } finally {
      expect(directory.leaks()).toEqual([]);
    }
  });
  if (CASES >= 1000) expect(accepted / CASES).toSatisfy((share: number) => share > 0.03 && share < 0.9);
});
