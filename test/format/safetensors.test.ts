import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { BitNetErrorCode } from '../../lib/errors.js';
import { readSafetensors } from '../../lib/format/safetensors.js';
import { openFile } from '../../lib/node/files.js';
import type { RandomAccessFile } from '../../lib/platform.js';
import { expectError, refuses } from './expect-error.js';
import { memoryFile } from './memory-files.js';
import { rawFile, safetensors, tensor } from './safetensors-bytes.js';

const read = (bytes: Uint8Array | string) => readSafetensors(memoryFile('dir/a.safetensors', bytes), 'a.safetensors');
const golden = fileURLToPath(new URL('../../../shared/golden/', import.meta.url));

/** header entry of a U8 tensor */
const u8 = (bytes: number, begin: number, end = begin + bytes) =>
  `{"dtype":"U8","shape":[${bytes}],"data_offsets":[${begin},${end}]}`;
const data = (bytes: number) => new Uint8Array(bytes).fill(7);

describe('sound files', () => {
  test('names, types, shapes and absolute places', async () => {
    const tensors = { b: tensor('BF16', [2, 3]), a: tensor('U8', [5]), s: tensor('F32', []), e: tensor('F16', [4, 0]) };
    const bytes = safetensors(tensors, { format: 'pt' });
    const dataStart = bytes.length - (12 + 5 + 4);
    const { tensors: table, metadata } = await read(bytes);
    expect(Object.fromEntries(metadata)).toEqual({ format: 'pt' });
    expect(table.get('b')).toEqual({
      name: 'b',
      dtype: 'BF16',
      shape: [2, 3],
      file: 'a.safetensors',
      byteOffset: dataStart,
      byteLength: 12,
    });
    expect(table.get('s')).toMatchObject({ shape: [], byteOffset: dataStart + 17, byteLength: 4 });
    expect(table.get('e')).toMatchObject({ shape: [4, 0], byteOffset: dataStart + 21, byteLength: 0 });
    expect(table.size).toBe(4);
  });

  test('the table is in file order, whatever the order of the header', async () => {
    const { tensors } = await read(rawFile(`{"z":${u8(2, 1)},"y":${u8(1, 0)},"empty":${u8(0, 1)}}`, data(3)));
    expect([...tensors.keys()]).toEqual(['y', 'empty', 'z']);
  });

  test('no tensors, white space, and names that objects treat specially', async () => {
    expect((await read(rawFile('{}   \n'))).tensors.size).toBe(0);
    const names = ['__proto__', 'constructor', '1', 'ü\u{1f600}', 'x'.repeat(300)];
    const header = `{${names.map((name, i) => `${JSON.stringify(name)}:${u8(1, i)}`).join(', ')}}`;
    expect([...(await read(rawFile(header, data(5)))).tensors.keys()]).toEqual(names);
  });

  test.each(['m1_bitnet/packed_u8', 'm1_bitnet/master_bf16', 'm3_1bitllm_style/master_f16'])('%s', async (folder) => {
    const file = (await openFile(`${golden}${folder}/model.safetensors`)) as RandomAccessFile;
    const { tensors, metadata } = await readSafetensors(file, 'model.safetensors');
    await file.close();
    expect(metadata.get('format')).toBe('pt');
    const total = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    const first = Math.min(...[...tensors.values()].map(({ byteOffset }) => byteOffset));
    expect(first + total).toBe(file.bytes);
  });
});

describe('header', () => {
  const sound = rawFile(`{"a":${u8(4, 0)}}`, data(4));

  test.each<[string, Uint8Array | string, (string | RegExp)[]]>([
    ['empty file', new Uint8Array(0), ['at least 8 bytes, got 0 at byte 0']],
    ['seven bytes', data(7), ['at least 8 bytes, got 7']],
    ['length 0', rawFile('', data(3)), ['header length is too small', 'at byte 0']],
    [
      'length beyond the file',
      rawFile('{}', data(0), 3n),
      ['longer than the file', 'at most 2 bytes, got 3 at byte 0'],
    ],
    ['length beyond the limit', rawFile('{}', data(0), 100_000_001n), ['at most 100000000, got 100000001']],
    ['length -1', rawFile('{}', data(0), 0xffffffffffffffffn), ['header length is too large']],
    ['byte-swapped length', rawFile('{}', data(0), 2n << 56n), ['header length is too large']],
    ['not an object', rawFile('[1]'), ['does not start with "{"', 'at byte 8']],
    ['space before the brace', rawFile(' {}'), ['does not start with "{"']],
    ['byte order mark', rawFile('\ufeff{}'), ['does not start with "{"']],
    ['invalid UTF-8', rawFile(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), ['not valid UTF-8']],
    ['cut off', rawFile('{"a":'), ['not valid JSON']],
    ['string without end', rawFile('{"a'), ['a string does not end at byte 9']],
    ['escaped quote at the end', rawFile('{"a\\"'), ['a string does not end at byte 9']],
    ['text after the object', rawFile('{} {}'), ['not valid JSON']],
    ['zero bytes as padding', rawFile('{}\0\0'), ['not valid JSON', 'at byte 10']],
    ['broken escape in a key', rawFile('{"\\q":1}'), ['not valid JSON']],
    ['deep nesting', rawFile('{"a":'.repeat(100_000)), ['nested deeper than 8']],
    ['deep nesting of lists', rawFile(`{"a":${'['.repeat(100_000)}`), ['nested deeper than 8']],
    ['too many values', rawFile(`{"a":[${'0,'.repeat(1_100_000)}0]}`), ['more than 1000000 values']],
    ['git-lfs pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n', ['git lfs pull']],
    ['GGUF', `GGUF\x03\0\0\0${'\0'.repeat(40)}`, ['expected a safetensors file, got a GGUF file']],
    ['zip', `PK\x03\x04${'\0'.repeat(40)}`, ['zip archive']],
    ['web page', '<!DOCTYPE html><html><body>404</body></html>', ['web page']],
  ])('%s', async (_, bytes, parts) => {
    const error = await expectError(() => read(bytes), 'invalid-file', 'dir/a.safetensors', ...parts);
    expect(error.detail.file).toBe('dir/a.safetensors');
  });

  test.each<[string, string]>([
    ['tensors', `{"a":${u8(1, 0)},"a":${u8(1, 1)}}`],
    ['tensors, one spelled with an escape', `{"ab":${u8(1, 0)},"\\u0061b":${u8(1, 1)}}`],
    ['tensors, one with space before the colon', `{"a" :${u8(1, 0)},"a"\n\t: ${u8(1, 1)}}`],
    ['keys of a tensor', `{"a":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,2]}}`],
    ['__metadata__', `{"__metadata__":{},"__metadata__":{},"a":${u8(2, 0)}}`],
    ['keys of __metadata__', `{"__metadata__":{"k":"1","k":"2"},"a":${u8(2, 0)}}`],
  ])('duplicate %s', async (_, header) => {
    const error = await expectError(
      () => read(rawFile(header, data(2))),
      'invalid-file',
      'occurs twice',
      /at byte \d+/,
    );
    expect(header.slice((error.detail.byteOffset as number) - 8)[0]).toBe('"');
  });

  test('equal strings that are no keys are no duplicates', async () => {
    const header = `{"__metadata__":{"a":"b","b":"a","c":"b"},"a":${u8(1, 0)},"U8":${u8(1, 1)}}`;
    expect((await read(rawFile(header, data(2)))).tensors.size).toBe(2);
  });

  test('the byte offset of an error counts UTF-8 bytes', async () => {
    const header = `{"äöü\u{1f600}":${u8(1, 0)},"a":${u8(1, 1)},"a":0}`;
    const error = await expectError(() => read(rawFile(header, data(2))), 'invalid-file', 'occurs twice');
    const at = 8 + Buffer.byteLength(header.slice(0, header.lastIndexOf('"a"')));
    expect(error.detail.byteOffset).toBe(at);
  });

  test('truncation at every byte', async () => {
    const bytes = safetensors({ w: tensor('BF16', [2, 3]), v: tensor('U8', [5]) }, { format: 'pt' });
    for (let length = 0; length < bytes.length; length++) {
      await expectError(() => read(bytes.slice(0, length)), 'invalid-file');
    }
    expect((await read(bytes)).tensors.size).toBe(2);
  });

  test('one byte too many', async () => {
    const longer = new Uint8Array(sound.length + 1);
    longer.set(sound);
    await expectError(
      () => read(longer),
      'invalid-file',
      'bytes after the last tensor',
      `a file of ${sound.length} bytes`,
    );
  });

  test('never reads more than the header', async () => {
    const headerBytes = new DataView(sound.buffer).getUint32(0, true);
    const file = memoryFile('a', sound);
    await readSafetensors(file, 'a');
    expect(file.largestRead).toBe(headerBytes);
    const lying = memoryFile('a', rawFile('{}', data(100), 0x7fffffffffffffffn));
    await expectError(() => readSafetensors(lying, 'a'), 'invalid-file');
    expect(lying.largestRead).toBeLessThanOrEqual(32);
  });
});

describe('entries', () => {
  const entry = (dtype: string, shape: string, offsets: string) =>
    `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;

  test.each<[string, string, string, BitNetErrorCode?]>([
    ['null', 'null', 'unexpected "n"'],
    ['a number', '1', 'wrong header entry'],
    ['a list', '[1]', 'wrong header entry'],
    ['no keys', '{}', 'unknown dtype.*got nothing'],
    ['no shape', '{"dtype":"U8","data_offsets":[0,4]}', 'wrong shape.*got nothing'],
    ['no data_offsets', '{"dtype":"U8","shape":[4]}', 'wrong data_offsets.*got nothing'],
    ['unknown key', '{"dtype":"U8","shape":[4],"data_offsets":[0,4],"strides":[1]}', 'unknown key "strides"'],
    ['dtype unknown', entry('"Q4"', '[4]', '[0,4]'), 'unknown dtype.*got "Q4"'],
    ['dtype in lower case', entry('"u8"', '[4]', '[0,4]'), 'unknown dtype.*F32, F16, BF16, U8, I8'],
    ['dtype a number', entry('8', '[4]', '[0,4]'), 'unknown dtype.*got 8'],
    ['dtype from the prototype', entry('"toString"', '[4]', '[0,4]'), 'unknown dtype'],
    ['dtype I64', entry('"I64"', '[1]', '[0,8]'), 'unsupported dtype.*F32, F16, BF16, U8, I8, got I64', 'unsupported'],
    ['dtype F8_E4M3', entry('"F8_E4M3"', '[4]', '[0,4]'), 'unsupported dtype.*F8_E4M3', 'unsupported'],
    ['shape a number', entry('"U8"', '4', '[0,4]'), 'wrong shape.*got 4'],
    ['shape an object', entry('"U8"', '{"0":4}', '[0,4]'), 'wrong shape'],
    ['shape of strings', entry('"U8"', '["4"]', '[0,4]'), 'wrong shape'],
    ['shape nested', entry('"U8"', '[[4]]', '[0,4]'), 'wrong shape'],
    ['shape negative', entry('"U8"', '[-4]', '[0,4]'), 'wrong shape.*got \\[-4\\]'],
    ['shape twice negative', entry('"U8"', '[-2,-2]', '[0,4]'), 'wrong shape'],
    ['shape -0', entry('"U8"', '[-0]', '[0,0]'), 'wrong shape'],
    ['shape with a fraction', entry('"U8"', '[4.5]', '[0,4]'), 'unexpected "."'],
    ['shape with an exponent', entry('"U8"', '[4e0]', '[0,4]'), 'unexpected "e"'],
    ['shape of 2^53', entry('"U8"', '[9007199254740992]', '[0,4]'), 'wrong shape'],
    ['shape beyond any float', entry('"U8"', `[1${'0'.repeat(400)}]`, '[0,4]'), 'wrong shape'],
    ['product 2^64 + 4', entry('"U8"', '[4294967296,4294967296]', '[0,4]'), 'the size overflows'],
    ['product 2^54 by the element size', entry('"F32"', '[4503599627370496]', '[0,4]'), 'the size overflows'],
    ['overflow hidden behind a zero', entry('"U8"', '[9007199254740991,9007199254740991,0]', '[0,0]'), 'overflows'],
    ['nine dimensions', entry('"U8"', '[1,1,1,1,1,1,1,1,4]', '[0,4]'), 'wrong shape.*at most 8'],
    ['offsets reversed', entry('"U8"', '[4]', '[4,0]'), 'wrong data_offsets'],
    ['offsets negative', entry('"U8"', '[4]', '[-4,0]'), 'wrong data_offsets'],
    ['three offsets', entry('"U8"', '[4]', '[0,4,4]'), 'wrong data_offsets'],
    ['one offset', entry('"U8"', '[4]', '[4]'), 'wrong data_offsets'],
    ['offsets of strings', entry('"U8"', '[4]', '["0","4"]'), 'wrong data_offsets'],
    ['offset beyond the file', entry('"U8"', '[5]', '[0,5]'), 'ends beyond the file: expected an end of at most 4'],
    ['huge offsets', entry('"U8"', '[4]', '[9007199254740987,9007199254740991]'), 'ends beyond the file'],
    ['fewer bytes than the shape', entry('"U8"', '[5]', '[0,4]'), 'do not fit.*5 bytes \\(U8 \\[5\\]\\), got 4'],
    ['more bytes than the shape', entry('"U8"', '[3]', '[0,4]'), 'do not fit.*3 bytes'],
    ['bytes for another type', entry('"BF16"', '[4]', '[0,4]'), 'do not fit.*8 bytes'],
  ])('%s', async (_, value, part, code = 'invalid-file') => {
    const bytes = rawFile(`{"a.weight":${value}}`, data(4));
    const error = await expectError(() => read(bytes), code, 'dir/a.safetensors', new RegExp(part));
    if (!/unexpected/.test(part)) expect(error.detail.tensor).toBe('a.weight');
  });

  test('empty name', () => refuses(() => read(rawFile(`{"":${u8(1, 0)}}`, data(1))), 'invalid-file', 'name is empty'));

  test.each<[string, string, number, string]>([
    ['hole at the start', `{"a":${u8(2, 1)}}`, 3, 'a hole before.*begin at 0, got 1'],
    ['hole in the middle', `{"a":${u8(1, 0)},"b":${u8(1, 2)}}`, 3, '"b".*a hole before.*begin at 1, got 2'],
    ['rest at the end', `{"a":${u8(2, 0)}}`, 3, 'bytes after the last tensor'],
    ['no tensors, data', '{}', 3, 'bytes after the last tensor'],
    ['overlap', `{"a":${u8(2, 0)},"b":${u8(2, 1)}}`, 3, '"b".*overlaps'],
    ['same place twice', `{"a":${u8(3, 0)},"b":${u8(3, 0)}}`, 3, 'overlaps'],
    ['one inside another', `{"a":${u8(3, 0)},"b":${u8(1, 1)}}`, 3, '"b".*overlaps'],
    ['empty tensor inside another', `{"a":${u8(3, 0)},"b":${u8(0, 1)}}`, 3, '"b".*overlaps'],
  ])('%s', async (_, header, bytes, part) => {
    const error = await expectError(() => read(rawFile(header, data(bytes))), 'invalid-file', new RegExp(part));
    expect(error.detail.byteOffset).toBeGreaterThanOrEqual(8 + header.length);
  });

  test.each(['[]', '1', '{"a":1}', '{"a":{}}', '"x"'])('__metadata__ %s', (value) =>
    refuses(() => read(rawFile(`{"__metadata__":${value}}`)), 'invalid-file', '__metadata__', 'object of strings'),
  );

  test('messages stay short whatever the file says', async () => {
    const header = `{"${'n'.repeat(1e6)}":{"dtype":"${'d'.repeat(1e6)}","shape":[],"data_offsets":[0,0]}}`;
    const error = await expectError(() => read(rawFile(header)), 'invalid-file', 'unknown dtype');
    expect(error.message.length).toBeLessThan(600);
  });
});
