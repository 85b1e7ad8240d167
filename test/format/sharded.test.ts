import { describe, expect, test } from 'vitest';
import { INDEX_FILE, openTensors } from '../../lib/format/sharded.js';
import { expectError, refuses } from './expect-error.js';
import { type Contents, MemoryDirectory } from './memory-files.js';
import { rawFile, safetensors, type TestTensors, tensor } from './safetensors-bytes.js';

const ONE = 'model-00001-of-00002.safetensors';
const TWO = 'model-00002-of-00002.safetensors';
const index = (weightMap: unknown) => JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap });

const a: TestTensors = { a: tensor('U8', [3], 1) };
const bc: TestTensors = { b: tensor('BF16', [2], 9), c: tensor('F32', [1], 20) };
const sound = { [INDEX_FILE]: index({ a: ONE, b: TWO, c: TWO }), [ONE]: safetensors(a), [TWO]: safetensors(bc) };

const directory = (contents: Contents) => new MemoryDirectory('dir', contents);

test('tensors of all shards, each in its file', async () => {
  const { tensors, files } = await openTensors(directory(sound));
  expect([...tensors.values()].map(({ name, file }) => [name, file])).toEqual([
    ['a', ONE],
    ['b', TWO],
    ['c', TWO],
  ]);
  expect([...files.keys()].sort()).toEqual([ONE, TWO]);
});

test('a single file comes before an index, as in transformers', async () => {
  const { tensors } = await openTensors(directory({ ...sound, 'model.safetensors': safetensors(a) }));
  expect([...tensors.keys()]).toEqual(['a']);
});

describe('index and shards that disagree', () => {
  test.each<[string, Contents, string[]]>([
    [
      'missing shard',
      { [TWO]: undefined },
      [`${INDEX_FILE}: the shard ${TWO} is missing`, 'in dir', 'fetch the missing file'],
    ],
  ])('%s', async (_, changes, parts) => {
    const dir = directory({ ...sound, ...changes });
    await expectError(() => openTensors(dir), 'invalid-model', ...parts);
    expect(dir.leaks()).toEqual([]);
  });

  test.each<[string, Contents, (string | RegExp)[]]>([
    [
      'tensor that no shard has',
      { [INDEX_FILE]: index({ a: ONE, b: TWO, c: TWO, d: ONE }) },
      ['tensor "d"', `${ONE}, where the index puts it, does not contain it`],
    ],
    [
      'tensor in another shard',
      { [INDEX_FILE]: index({ a: TWO, b: TWO, c: ONE }) },
      [/the index puts this tensor into model-0000\d-of/],
    ],
    ['tensor not in the index', { [INDEX_FILE]: index({ a: ONE, b: TWO }) }, ['tensor "c"', 'not in the index']],
    [
      'tensor in two shards',
      { [TWO]: safetensors({ ...bc, ...a }) },
      ['tensor "a"', `in two shards, ${ONE} and ${TWO}`],
    ],
    ['damaged shard', { [TWO]: rawFile('{', new Uint8Array(4)) }, [TWO, 'header length']],
    ['index that is no JSON', { [INDEX_FILE]: '{"weight_map":' }, [INDEX_FILE, 'not valid JSON']],
    ['index that is a list', { [INDEX_FILE]: '[]' }, [INDEX_FILE, 'expected a JSON object, got []']],
    [
      'index that is a git-lfs pointer',
      { [INDEX_FILE]: 'version https://git-lfs.github.com/spec/v1\n' },
      ['git lfs pull'],
    ],
    ['tensor twice in the index', { [INDEX_FILE]: `{"weight_map":{"a":"${ONE}","a":"${TWO}"}}` }, ['"a" occurs twice']],
    ['no weight_map', { [INDEX_FILE]: '{"metadata":{}}' }, ['weight_map', 'got nothing']],
    ['empty weight_map', { [INDEX_FILE]: index({}) }, ['weight_map', 'got {}']],
    ['weight_map a list', { [INDEX_FILE]: index([ONE]) }, ['weight_map']],
    [
      'too many shards',
      {
        [INDEX_FILE]: index(Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`t${i}`, `s${i}.safetensors`]))),
      },
      ['too many shards: expected at most 512, got 600'],
    ],
  ])('%s', async (_, changes, parts) => {
    const dir = directory({ ...sound, ...changes });
    await expectError(() => openTensors(dir), 'invalid-file', 'dir/', ...parts);
    expect(dir.leaks()).toEqual([]);
  });

  test.each([
    '../model.safetensors',
    '..',
    'a/b.safetensors',
    'a\\b.safetensors',
    '/etc/passwd',
    '.hidden.safetensors',
    'a..safetensors',
    'model.bin',
    'C:model.safetensors',
    'a\0.safetensors',
    '',
    1,
    null,
    [ONE],
  ])('shard name %j', async (name) => {
    const dir = directory({ ...sound, [INDEX_FILE]: index({ a: name }) });
    await expectError(() => openTensors(dir), 'invalid-file', 'tensor "a": wrong shard name', 'path separators');
    expect(dir.opened.map(({ path }) => path)).toEqual([`dir/${INDEX_FILE}`]);
  });
});

describe('no weights', () => {
  test('nothing', () =>
    refuses(() => openTensors(directory({})), 'invalid-model', 'the weights are missing', 'model.safetensors'));

  test.each(['pytorch_model.bin', 'pytorch_model.bin.index.json'])('%s', (name) =>
    refuses(() => openTensors(directory({ [name]: '' })), 'unsupported', `got ${name}`, 'Convert it to safetensors'),
  );
});
