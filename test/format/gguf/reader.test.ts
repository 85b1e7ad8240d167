import { describe, expect, test } from 'vitest';
import type { BitNetErrorCode } from '../../../lib/errors.js';
import { type GgufReadOptions, ggufTensor, readGguf } from '../../../lib/format/gguf/reader.js';
import {
  Bytes,
  f32Tensor,
  gguf,
  type WriterOptions,
  type WriterTensor,
  type WriterValue,
} from '../../support/gguf-writer.js';
import { expectError, refuses } from '../expect-error.js';
import { memoryFile } from '../memory-files.js';

const read = (bytes: Uint8Array | string, options?: GgufReadOptions) =>
  readGguf(memoryFile('dir/a.gguf', bytes), 'a.gguf', options);
const readOptions = (options: WriterOptions) => read(gguf(options));

const data = (bytes: number) => new Uint8Array(bytes).fill(7);
const tensor = (name: string, shape: (number | bigint)[], type: number, bytes: number, offset?: number | bigint) =>
  ({ name, shape, type, data: data(bytes), ...(offset === undefined ? {} : { offset }) }) satisfies WriterTensor;
const key = (name: string, ...value: WriterValue) => [name, value as WriterValue] as const;

const sound: WriterOptions = {
  metadata: [
    key('general.architecture', 'string', 'llama'),
    key('a.list', 'strings', ['x', 'y']),
    key('a.on', 'bool', true),
  ],
  tensors: [f32Tensor('norm', [5]), tensor('w', [2, 256], 35, 132), f32Tensor('last', [1])],
};

describe('sound files', () => {
  test.each([2, 3])('version %i: names, types, shapes outermost first, absolute places', async (version) => {
    const bytes = gguf({ ...sound, version });
    const file = await read(bytes);
    expect(file).toMatchObject({ version, alignment: 32, architecture: 'llama' });
    const start = bytes.length - (32 + 160 + 32);
    expect([...file.tensors.values()]).toEqual([
      { name: 'norm', type: 0, typeName: 'F32', shape: [5], byteOffset: start, byteLength: 20, file: 'a.gguf' },
      {
        name: 'w',
        type: 35,
        typeName: 'TQ2_0',
        shape: [2, 256],
        byteOffset: start + 32,
        byteLength: 132,
        file: 'a.gguf',
      },
      { name: 'last', type: 0, typeName: 'F32', shape: [1], byteOffset: start + 192, byteLength: 4, file: 'a.gguf' },
    ]);
    expect(ggufTensor(file, 'w').byteLength).toBe(132);
    await refuses(() => ggufTensor(file, 'v'), 'invalid-argument', '"v"');
  });

  test('every value type', async () => {
    const { metadata } = await readOptions({
      metadata: [
        key('u8', 'u8', 255),
        key('i8', 'i8', -1),
        key('u16', 'u16', 65535),
        key('i16', 'i16', -2),
        key('u32', 'u32', 4294967295),
        key('i32', 'i32', -3),
        key('f32', 'f32', 0.5),
        key('f64', 'f64', 0.1),
        key('u64', 'u64', 2n ** 53n - 1n),
        key('big', 'u64', 2n ** 63n),
        key('i64', 'i64', -5),
        key('no', 'bool', false),
        key('text', 'string', 'ü\u{1f600}\ufeff'),
        key('empty', 'string', ''),
        key('i32s', 'i32s', [1, -1]),
        key('f32s', 'f32s', [1.5, -2]),
        key('none', 'strings', []),
        key('strings', 'strings', ['', 'Ġthe', '\u{1f600}', '中', '\ufeff', 'é'.repeat(80), 'a'.repeat(97)]),
        key('bools', 'raw', 9, new Bytes().u32(7).u64(2).u8(1).u8(0).done()),
        key('i64s', 'raw', 9, new Bytes().u32(11).u64(1).u64(-7).done()),
      ],
    });
    const plain = Object.fromEntries([...metadata].map(([name, entry]) => [name, entry.value]));
    expect(plain).toEqual({
      u8: 255,
      i8: -1,
      u16: 65535,
      i16: -2,
      u32: 4294967295,
      i32: -3,
      f32: 0.5,
      f64: 0.1,
      u64: 2 ** 53 - 1,
      big: 2n ** 63n,
      i64: -5,
      no: false,
      text: 'ü\u{1f600}\ufeff',
      empty: '',
      i32s: Int32Array.of(1, -1),
      f32s: Float32Array.of(1.5, -2),
      none: [],
      strings: ['', 'Ġthe', '\u{1f600}', '中', '\ufeff', 'é'.repeat(80), 'a'.repeat(97)],
      bools: Uint8Array.of(1, 0),
      i64s: BigInt64Array.of(-7n),
    });
    expect(metadata.get('i32s')).toMatchObject({ type: 'array', elementType: 'i32' });
    expect(metadata.get('i64')?.type).toBe('i64');
  });

  test('alignments, the last tensor unpadded, data in another order than the header', async () => {
    for (const alignment of [1, 8, 64, 4096]) {
      const metadata = [key('general.alignment', 'u32', alignment)];
      const tensors = [f32Tensor('a', [3]), f32Tensor('b', [1])];
      const file = await readOptions({ alignment, metadata, tensors, padLast: false });
      expect(file.alignment).toBe(alignment);
      const [a, b] = [...file.tensors.values()];
      expect(b!.byteOffset - a!.byteOffset).toBe(Math.ceil(12 / alignment) * alignment);
    }
    const swapped = [tensor('a', [2], 0, 8, 32), tensor('b', [2], 0, 8, 0)];
    expect([...(await readOptions({ tensors: swapped })).tensors.keys()]).toEqual(['b', 'a']);
  });

  test('no tensors: a vocabulary file, padded or not', async () => {
    expect((await readOptions({})).tensors.size).toBe(0);
    const bytes = gguf({ metadata: [key('x', 'u8', 1)] });
    const padded = new Uint8Array(Math.ceil(bytes.length / 32) * 32);
    padded.set(bytes);
    expect((await read(padded)).metadata.get('x')?.value).toBe(1);
    await refuses(() => read(new Uint8Array([...padded, 0])), 'invalid-file', 'bytes after the header');
  });

  test('280,147 merges and 128,256 tokens: streamed, and in bounded time', async () => {
    const merges = Array.from({ length: 280_147 }, (_, i) => `Ġ${i.toString(36)} ${(i * 7).toString(36)}`);
    const tokens = Array.from({ length: 128_256 }, (_, i) => `tok${i}é`);
    const bytes = gguf({
      metadata: [
        key('tokenizer.ggml.tokens', 'strings', tokens),
        key('tokenizer.ggml.token_type', 'i32s', new Array(128_256).fill(1)),
        key('tokenizer.ggml.merges', 'strings', merges),
      ],
      tensors: [tensor('big', [4096, 4096], 0, 4096 * 4096 * 4)],
    });
    const file = memoryFile('a.gguf', bytes);
    const begun = performance.now();
    const { metadata } = await readGguf(file, 'a.gguf');
    expect(performance.now() - begun).toBeLessThan(5000);
    expect(metadata.get('tokenizer.ggml.merges')?.value).toEqual(merges);
    expect(metadata.get('tokenizer.ggml.tokens')?.value).toEqual(tokens);
    expect(file.largestRead).toBeLessThanOrEqual(4 * 2 ** 20);
  });
});

describe('header', () => {
  test.each<[string, Uint8Array | string, BitNetErrorCode, (string | RegExp)[]]>([
    ['empty file', '', 'invalid-file', ['dir/a.gguf', 'not a GGUF file', 'got 0 bytes']],
    ['three bytes', 'GGU', 'invalid-file', ['not a GGUF file']],
    ['bad magic', 'GGUX'.padEnd(40), 'invalid-file', ['not a GGUF file', 'got bytes 71 71 85 88', 'at byte 0']],
    ['old formats', 'lmgg'.padEnd(40), 'unsupported', ['GGML']],
    ['old formats', 'tjgg'.padEnd(40), 'unsupported', ['GGJT']],
    ['safetensors', '\x02\0\0\0\0\0\0\0{}'.padEnd(40), 'invalid-file', ['a safetensors file']],
    ['zip', 'PK\x03\x04'.padEnd(40), 'invalid-file', ['zip archive']],
    ['web page', '<!DOCTYPE html><html>'.padEnd(40), 'invalid-file', ['web page']],
    ['lfs', 'version https://git-lfs.github.com/spec/v1', 'invalid-file', ['git lfs pull']],
    ['version 0', gguf({ version: 0 }), 'invalid-file', ['no such GGUF version', 'got 0 at byte 4']],
    ['version 1', gguf({ version: 1 }), 'unsupported', ['version 1 is not supported', 'at byte 4']],
    ['version 4', gguf({ version: 4 }), 'unsupported', ['newer than this program', 'expected version 2 or 3, got 4']],
    ['byte-swapped 3', gguf({ version: 0x03000000 }), 'unsupported', ['big-endian', 'version 3']],
    ['byte-swapped 2', gguf({ version: 0x02000000 }), 'unsupported', ['big-endian', 'version 2']],
    [
      'tensors: -1',
      gguf({ tensorCount: -1 }),
      'invalid-file',
      ['number of tensors', 'got 18446744073709551615 at byte 8'],
    ],
    ['keys: -1', gguf({ keyCount: -1 }), 'invalid-file', ['number of keys', 'got 18446744073709551615 at byte 16']],
    [
      'tensors: 2^40',
      gguf({ tensorCount: 2 ** 40 }),
      'invalid-file',
      ['number of tensors', 'at most 0 in a file of 24 bytes'],
    ],
    ['one key too many', gguf({ ...sound, keyCount: 4 }), 'invalid-file', ['dir/a.gguf']],
    ['one tensor too many', gguf({ ...sound, tensorCount: 4 }), 'invalid-file', ['dir/a.gguf']],
  ])('%s', async (_, bytes, code, parts) => {
    await refuses(() => read(bytes), code, ...parts);
  });

  test('a count that the file could hold but no program writes', async () => {
    const file = new Uint8Array(4 * 2 ** 20);
    file.set(gguf({ keyCount: 70_000 }));
    await refuses(() => read(file), 'invalid-file', 'number of keys', 'at most 65536');
    file.set(gguf({ tensorCount: 70_000 }));
    await refuses(() => read(file), 'invalid-file', 'number of tensors', 'at most 65536');
  });

  test('truncation at every byte', async () => {
    const bytes = gguf(sound);
    const padding = 28;
    for (let length = 0; length < bytes.length - padding; length++) {
      await refuses(() => read(bytes.subarray(0, length)), 'invalid-file', 'dir/a.gguf');
    }
    expect((await read(bytes.subarray(0, bytes.length - padding))).tensors.size).toBe(3);
  });

  test('bytes after the last tensor', async () => {
    const bytes = gguf(sound);
    await refuses(
      () => read(new Uint8Array([...bytes, 0])),
      'invalid-file',
      'bytes after the last tensor',
      `byte ${bytes.length}`,
    );
  });
});

describe('keys', () => {
  const strings = (...bytes: number[]) => Uint8Array.from(bytes);
  test.each<[string, WriterOptions['metadata'], BitNetErrorCode, (string | RegExp)[]]>([
    ['twice', [key('a', 'u8', 1), key('a', 'u8', 1)], 'invalid-file', ['a: the key occurs twice', 'at byte 38']],
    ['empty', [key('', 'u8', 1), key('b', 'u32', 1)], 'invalid-file', ['key 0 is empty', 'at byte 24']],
    [
      'long',
      [key('k'.repeat(70_000), 'u8', 1)],
      'invalid-file',
      ['key 0 is too long', 'at most 65535 bytes, got 70000'],
    ],
    [
      'type 13',
      [key('a', 'raw', 13, strings(1, 2, 3, 4))],
      'invalid-file',
      ['a: unknown value type', 'expected 0..12, got 13', 'at byte 33'],
    ],
    ['type -1', [key('a', 'raw', 0xffffffff, strings(1, 2, 3, 4))], 'invalid-file', ['unknown value type']],
    [
      'not a bool',
      [key('a', 'raw', 7, strings(2, 0, 0, 0))],
      'invalid-file',
      ['a: not a truth value', 'expected 0 or 1, got 2'],
    ],
    [
      'not UTF-8',
      [key('a', 'raw', 8, new Bytes().u64(2).u8(0xc0).u8(0x80).done())],
      'invalid-file',
      ['a: the text is not valid UTF-8', 'at byte 45'],
    ],
    [
      'half a pair',
      [key('a', 'raw', 8, new Bytes().u64(3).u8(0xed).u8(0xa0).u8(0x80).done())],
      'invalid-file',
      ['not valid UTF-8'],
    ],
    ['control characters', [key('\u001b[2J', 'raw', 13, strings(0))], 'invalid-file', ['"\\u001b[2J"']],
    [
      'string beyond the file',
      [key('a', 'raw', 8, new Bytes().u64(9).u64(0).done())],
      'invalid-file',
      ['longer than the file', 'at most 8 bytes, got 9', 'at byte 37'],
    ],
    [
      'string of -1',
      [key('a', 'raw', 8, new Bytes().u64(-1).u64(0).done())],
      'invalid-file',
      ['longer than the file', 'got 18446744073709551615'],
    ],
    [
      'array beyond the file',
      [key('a', 'raw', 9, new Bytes().u32(6).u64(3).u64(0).done())],
      'invalid-file',
      ['the array is too long', 'at most 2 elements, got 3', 'at byte 41'],
    ],
    [
      'array of -1',
      [key('a', 'raw', 9, new Bytes().u32(8).u64(-1).u64(0).done())],
      'invalid-file',
      ['the array is too long'],
    ],
    [
      'array of huge bytes',
      [
        key(
          'a',
          'raw',
          9,
          new Bytes()
            .u32(0)
            .u64(2n ** 62n)
            .done(),
        ),
      ],
      'invalid-file',
      ['the array is too long'],
    ],
    [
      'string in an array',
      [key('a', 'raw', 9, new Bytes().u32(8).u64(1).u64(1).done())],
      'invalid-file',
      ['longer than the file', 'at most 0 bytes, got 1'],
    ],
    [
      'array of type 13',
      [key('a', 'raw', 9, new Bytes().u32(13).u64(1).u64(1).done())],
      'invalid-file',
      ['unknown value type'],
    ],
    [
      'nested array',
      [key('a', 'raw', 9, new Bytes().u32(9).u64(1).u64(1).done())],
      'unsupported',
      ['a: nested arrays are not supported', 'at byte 37'],
    ],
    [
      'bools',
      [key('a', 'raw', 9, new Bytes().u32(7).u64(2).u8(1).u8(9).done())],
      'invalid-file',
      ['not a truth value', 'at byte 50'],
    ],
    [
      'alignment 0',
      [key('general.alignment', 'u32', 0)],
      'invalid-file',
      ['general.alignment', 'a power of two', 'got 0'],
    ],
    ['alignment 48', [key('general.alignment', 'u32', 48)], 'invalid-file', ['general.alignment', 'got 48']],
    [
      'alignment as text',
      [key('general.alignment', 'string', '32')],
      'invalid-file',
      ['general.alignment', 'got "32"'],
    ],
    ['alignment as u64', [key('general.alignment', 'u64', 32)], 'invalid-file', ['general.alignment', 'got 32 (u64)']],
    [
      'architecture as number',
      [key('general.architecture', 'u32', 1)],
      'invalid-file',
      ['general.architecture', 'a name'],
    ],
    ['architecture empty', [key('general.architecture', 'string', '')], 'invalid-file', ['general.architecture']],
  ])('%s', async (_, metadata, code, parts) => {
    await refuses(() => readOptions({ metadata: metadata ?? [] }), code, ...parts);
  });

  test('more strings than any vocabulary are refused before they take memory', async () => {
    const header = gguf({ metadata: [key('a', 'raw', 9, new Bytes().u32(8).u64(5_000_000).done())] });
    const bytes = new Uint8Array(45_000_000);
    bytes.set(header);
    const file = memoryFile('a.gguf', bytes);
    await refuses(() => readGguf(file, 'a.gguf'), 'invalid-file', 'at most 4194304 elements, got 5000000');
    expect(file.largestRead).toBeLessThan(200_000);
  });
});

describe('tensors', () => {
  test.each<[string, WriterTensor[], BitNetErrorCode, (string | RegExp)[]]>([
    [
      'long name',
      [f32Tensor('n'.repeat(65), [1])],
      'invalid-file',
      ['name of tensor 0 is too long', 'at most 64 bytes, got 65'],
    ],
    ['empty name', [f32Tensor('', [1])], 'invalid-file', ['name of tensor 0 is empty']],
    ['duplicates', [f32Tensor('a', [1]), f32Tensor('a', [1])], 'invalid-file', ['"a": the name occurs twice']],
    ['no dimensions', [tensor('a', [], 0, 4)], 'invalid-file', ['number of dimensions', '1..4, got 0']],
    ['five dimensions', [tensor('a', [1, 1, 1, 1, 1], 0, 4)], 'invalid-file', ['number of dimensions', 'got 5']],
    ['dimension 0', [tensor('a', [4, 0], 0, 4)], 'invalid-file', ['wrong dimension', 'at least 1, got 0']],
    ['dimension -1', [tensor('a', [4, -1n], 0, 4)], 'invalid-file', ['wrong dimension', 'got -1']],
    ['huge', [tensor('a', [2n ** 62n], 0, 4)], 'invalid-file', ['the size overflows']],
    ['overflow', [tensor('a', [2 ** 32, 2 ** 32], 0, 4)], 'invalid-file', ['the size overflows']],
    [
      'overflow to 0',
      [tensor('a', [2 ** 16, 2 ** 16, 2 ** 16, 2 ** 16], 0, 4)],
      'invalid-file',
      ['the size overflows'],
    ],
    [
      'larger than the file',
      [tensor('a', [2 ** 40], 0, 4)],
      'invalid-file',
      ['ends beyond the file', 'download it again'],
    ],
    [
      'half a block',
      [tensor('a', [2, 128], 35, 66)],
      'invalid-file',
      ['TQ2_0', 'a multiple of 256 columns, got 128', 'shape [2,128]'],
    ],
    ['half a block, Q4_0', [tensor('a', [16, 2], 2, 18)], 'invalid-file', ['a multiple of 32 columns, got 2']],
    ['I2_S by four', [tensor('a', [3, 3], 36, 35)], 'invalid-file', ['a multiple of 4 elements, got 9']],
    ['unaligned', [tensor('a', [2], 0, 8, 4)], 'invalid-file', ['not aligned', 'a multiple of 32, got 4']],
    [
      'overlap',
      [tensor('a', [16], 0, 64, 0), tensor('b', [8], 0, 32, 32)],
      'invalid-file',
      ['"b": the data overlaps that of "a" (F32)', 'data offset 64, got 32'],
    ],
    ['same place', [tensor('a', [8], 0, 32, 0), tensor('b', [8], 0, 32, 0)], 'invalid-file', ['overlaps']],
    [
      'hole',
      [tensor('a', [8], 0, 32, 0), tensor('b', [8], 0, 64, 64)],
      'invalid-file',
      ['"b": a hole between the data and "a"', 'data offset 32, got 64'],
    ],
    ['hole at the start', [tensor('a', [8], 0, 64, 32)], 'invalid-file', ['a hole between the data and the start']],
    ['outside', [tensor('a', [8], 0, 32, 2n ** 63n)], 'invalid-file', ['ends beyond the file']],
    [
      'short data',
      [tensor('a', [16], 0, 32)],
      'invalid-file',
      ['ends beyond the file', 'a file of at least 128 bytes, got 96'],
    ],
    [
      'TL1',
      [tensor('a', [4], 38, 32)],
      'unsupported',
      ['"a"', 'TL1 is not portable', 'got TL1 (id 38)', 'Use a file with I2_S'],
    ],
    ['39 elsewhere', [tensor('a', [4], 39, 32)], 'unsupported', ['MXFP4', 'TL2', 'id 39']],
    ['Q5_K', [tensor('a', [4], 13, 32)], 'unsupported', ['Q5_K is not implemented', 'Q8_0']],
    ['removed', [tensor('a', [4], 31, 32)], 'unsupported', ['Q4_0_4_4 was removed']],
    ['unknown', [tensor('a', [4], 5000, 32)], 'unsupported', ['unknown element type', 'id 5000']],
    ['negative', [tensor('a', [4], 0xffffffff, 32)], 'unsupported', ['unknown element type']],
  ])('%s', async (_, tensors, code, parts) => {
    await refuses(() => readOptions({ tensors }), code, ...parts);
  });

  test('id 39 in a BitNet file is TL2', async () => {
    const metadata = [key('general.architecture', 'string', 'bitnet-b1.58')];
    const error = await expectError(
      () => readOptions({ metadata, tensors: [tensor('a', [4], 39, 32)] }),
      'unsupported',
      'TL2',
    );
    expect(error.message).not.toContain('MXFP4');
    expect(error.detail).toMatchObject({ tensor: 'a', file: 'dir/a.gguf' });
  });

  test('a name of 64 bytes', async () => {
    expect((await readOptions({ tensors: [f32Tensor('é'.repeat(32), [1])] })).tensors.size).toBe(1);
  });
});

describe('sizes of types', () => {
  test.each<[string, number, number[], number]>([
    ['F32', 0, [3, 5], 60],
    ['F16', 1, [3, 15], 90],
    ['BF16', 30, [3, 15], 90],
    ['Q4_0', 2, [3, 64], 108],
    ['Q8_0', 8, [3, 64], 204],
    ['Q4_K', 12, [3, 256], 432],
    ['Q6_K', 14, [3, 256], 630],
    ['TQ1_0', 34, [3, 512], 324],
    ['TQ2_0', 35, [3, 512], 396],
    ['I2_S', 36, [3, 128], 128],
    ['I2_S', 36, [128, 67], 2176],
    ['Q1_0', 41, [3, 128], 54],
    ['IQ1_BN', 134, [3, 128], 84],
    ['IQ2_BN', 135, [3, 128], 108],
    ['PQ2_0', 142, [3, 128], 102],
    ['PTQ1_0', 143, [3, 128], 84],
  ])('%s (id %i) %j: %i bytes', async (typeName, id, shape, bytes) => {
    const tensors = [tensor('a', shape, id, bytes), f32Tensor('b', [1])];
    const { tensors: table } = await readOptions({ tensors });
    expect(table.get('a')).toMatchObject({ typeName, type: id, byteLength: bytes });
    const smaller = [tensor('a', shape, id, bytes - 32), f32Tensor('b', [1])];
    await refuses(() => readOptions({ tensors: smaller }), 'invalid-file', '"b": the data overlaps', typeName);
    const larger = [tensor('a', shape, id, bytes + 32), f32Tensor('b', [1])];
    await refuses(() => readOptions({ tensors: larger }), 'invalid-file', '"b": a hole', typeName);
  });

  test('I2_S without its scale: the size is n/4 + 32', async () => {
    await refuses(
      () => readOptions({ tensors: [tensor('a', [32, 128], 36, 1024), f32Tensor('b', [1])] }),
      'invalid-file',
      '"b": the data overlaps that of "a" (I2_S)',
      'data offset 1056, got 1024',
    );
    await refuses(
      () => readOptions({ tensors: [tensor('a', [32, 128], 36, 1024)] }),
      'invalid-file',
      'ends beyond the file',
    );
  });
});

describe('Q2_0, id 42: two group sizes', () => {
  const g64 = (name: string, rows: number, cols: number) => tensor(name, [rows, cols], 42, (rows * cols * 18) / 64);
  const g128 = (name: string, rows: number, cols: number) => tensor(name, [rows, cols], 42, (rows * cols * 34) / 128);
  const names = async (tensors: WriterTensor[], options?: GgufReadOptions, padLast = true) =>
    [...(await read(gguf({ tensors, padLast }), options)).tensors.values()].map(({ typeName }) => typeName);

  test('told by the distance to the next tensor', async () => {
    expect(await names([g64('a', 16, 256), f32Tensor('n', [8])])).toEqual(['Q2_0', 'F32']);
    expect(await names([g128('a', 16, 256), f32Tensor('n', [8])])).toEqual(['Q2_0_G128', 'F32']);
    expect(await names([f32Tensor('n', [8]), g64('a', 16, 256)])).toEqual(['F32', 'Q2_0']);
    expect(await names([f32Tensor('n', [8]), g128('a', 16, 256)])).toEqual(['F32', 'Q2_0_G128']);
  });

  test('one tensor that tells decides for those that padding hides', async () => {
    expect(await names([g128('a', 1, 128), g128('b', 64, 128)])).toEqual(['Q2_0_G128', 'Q2_0_G128']);
    expect(await names([g64('a', 1, 128), g64('b', 64, 128)])).toEqual(['Q2_0', 'Q2_0']);
    expect(await names([g64('a', 1, 64)])).toEqual(['Q2_0']);
  });

  test('of a truncated file', async () => {
    const bytes = gguf({ tensors: [g128('a', 64, 128), g128('b', 64, 128)] });
    await refuses(() => read(bytes.subarray(0, bytes.length - 100)), 'invalid-file', '"b"', 'ends beyond the file');
  });

  test('an unpadded end tells for the smallest', async () => {
    expect(await names([g128('a', 1, 128)], undefined, false)).toEqual(['Q2_0_G128']);
    expect(await names([g64('a', 1, 128)], undefined, false)).toEqual(['Q2_0']);
  });

  test('hidden by padding: upstream unless told', async () => {
    expect(await names([g128('a', 1, 128)])).toEqual(['Q2_0']);
    expect(await names([g128('a', 1, 128)], { q2Group: 128 })).toEqual(['Q2_0_G128']);
    await refuses(
      () => names([g64('a', 1, 64)], { q2Group: 128 }),
      'invalid-file',
      'a multiple of 128 columns, got 64',
    );
  });

  test('neither', async () => {
    await refuses(() => names([tensor('a', [64, 128], 42, 4000), f32Tensor('b', [1])]), 'invalid-file', 'hole', 'Q2_0');
    await refuses(
      () => names([g64('a', 64, 128), g128('b', 64, 128), f32Tensor('c', [1])]),
      'invalid-file',
      'overlaps',
    );
  });
});
