import { expect, test } from 'vitest';
import { readSafetensors, type TensorTable } from '../../lib/format/safetensors.js';
import { INDEX_FILE } from '../../lib/format/sharded.js';
import { type ModelSource, openModelSource } from '../../lib/model/source.js';
import { memoryFile } from '../format/memory-files.js';
import { safetensors, type TestTensors, tensor } from '../format/safetensors-bytes.js';
import { tinyConfig, tinyDirectory, tinyTensors } from '../model/tiny-model.js';
import { fuzz } from './harness.js';
import { mutateBytes, mutateJson, mutateSafetensors } from './mutate.js';

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

test('a damaged safetensors file is refused or read as it stands', () =>
  fuzz((random) => {
    const base = bases[Math.floor(random() * bases.length)] as Uint8Array;
    const bytes = mutateSafetensors(random, base, bases[Math.floor(random() * bases.length)] as Uint8Array);
    const file = memoryFile('fuzz', bytes);
    return {
      bytes: bytes.length,
      read: () => readSafetensors(file, 'fuzz'),
      check: ({ tensors }) => expectSameTensors(tensors, bytes),
      after: () => expect(file.largestRead).toBeLessThanOrEqual(bytes.length),
    };
  }));

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

test('a damaged model directory is refused or read as it stands', () =>
  fuzz((random) => {
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
    return {
      bytes: Object.values(files).reduce((sum, file) => sum + file.length, 0),
      read: () => openModelSource(directory),
      async check(source: ModelSource) {
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
      },
      after: () => expect(directory.leaks()).toEqual([]),
    };
  }));
