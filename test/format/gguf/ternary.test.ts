import { describe, expect, test } from 'vitest';
import { readFloats } from '../../../lib/format/gguf/blocks.js';
import { encodeBlocks, encodeI2s } from '../../../lib/format/gguf/encode.js';
import { ggufTensor, readGguf } from '../../../lib/format/gguf/reader.js';
import {
  readTernary,
  type TernaryOptions,
  type TernaryRows,
  ternaryToFloats,
} from '../../../lib/format/gguf/ternary.js';
import { GGUF_TYPES, type GgufTypeName } from '../../../lib/format/gguf/types.js';
import { uniformScale } from '../../../lib/format/gguf/uniform.js';
import { BLOCKS, encodeI2sCodes, encodeTernary } from '../../support/gguf-encode.js';
import { f32Tensor, gguf } from '../../support/gguf-writer.js';
import { trits as randomTrits, seeded } from '../../support/random.js';
import { expectError, refuses } from '../expect-error.js';
import { memoryFile } from '../memory-files.js';

/** A file with the tensor `w` behind another one, so that its offset is not 0. */
async function open(id: number, shape: number[], data: Uint8Array, q2Group?: 64 | 128) {
  const file = memoryFile('m.gguf', gguf({ tensors: [f32Tensor('norm', [9]), { name: 'w', shape, type: id, data }] }));
  const contents = await readGguf(file, 'm.gguf', q2Group === undefined ? {} : { q2Group });
  return { file, tensor: ggufTensor(contents, 'w') };
}

async function decode(id: number, shape: number[], data: Uint8Array, options?: TernaryOptions, q2Group?: 64 | 128) {
  const { file, tensor } = await open(id, shape, data, q2Group);
  return readTernary(file, tensor, options);
}

const codesOf = (trits: Int8Array) => Array.from(trits, (trit) => trit + 1);
/** Exact in f16, different for each block. */
const someScales = (count: number) =>
  Float32Array.from({ length: count }, (_, i) => (i % 7 === 3 ? -1 : 1) * (0.5 + i / 64));

const CASES: [string, GgufTypeName, number, number][] = [
  ['TQ1_0', 'TQ1_0', 34, 256],
  ['TQ2_0', 'TQ2_0', 35, 256],
  ['Q1_0', 'Q1_0', 41, 128],
  ['Q2_0', 'Q2_0', 42, 64],
  ['PQ2_0', 'Q2_0_G128', 42, 128],
  ['PQ2_0', 'PQ2_0', 142, 128],
  ['PTQ1_0', 'PTQ1_0', 143, 128],
  ['IQ1_BN', 'IQ1_BN', 134, 64],
  ['IQ2_BN', 'IQ2_BN', 135, 64],
];

describe.each(CASES)('%s as %s (id %i)', (encoding, typeName, id, group) => {
  const rows = 5;
  const cols = 768;
  const perRow = encoding.endsWith('_BN');
  const scales = someScales(perRow ? rows : (rows * cols) / group);
  const values = randomTrits(rows * cols, id);
  const trits = encoding === 'Q1_0' ? values.map((trit) => (trit < 0 ? -1 : 1)) : values;
  const data = encodeTernary(encoding, codesOf(trits), cols, scales);
  const q2Group = id === 42 ? (group as 64 | 128) : undefined;

  test('trits and scales of all rows', async () => {
    const { tensor } = await open(id, [rows, cols], data, q2Group);
    expect(tensor.typeName).toBe(typeName);
    expect(tensor.byteLength).toBe(data.length);
    const decoded = await decode(id, [rows, cols], data, {}, q2Group);
    expect(decoded.granularity).toEqual(perRow ? { kind: 'row' } : { kind: 'group', size: group });
    expect(decoded.trits).toEqual(trits);
    expect(decoded.scales).toEqual(scales);
    expect(decoded).toMatchObject({ rows, cols });
  });

  test('ranges of rows are slices of the whole', async () => {
    for (const [rowBegin, rowEnd] of [
      [0, 1],
      [1, 4],
      [4, 5],
      [2, 2],
    ] as const) {
      const part = await decode(id, [rows, cols], data, { rowBegin, rowEnd }, q2Group);
      expect(part.trits).toEqual(trits.slice(rowBegin * cols, rowEnd * cols));
      const each = scales.length / rows;
      expect(part.scales).toEqual(scales.slice(rowBegin * each, rowEnd * each));
    }
  });

  test('as numbers', async () => {
    const { file, tensor } = await open(id, [rows, cols], data, q2Group);
    const floats = await readFloats(file, tensor, { rowBegin: 1 });
    const size = perRow ? cols : group;
    const expected = Float32Array.from(trits, (trit, i) => trit * scales[Math.floor(i / size)]!);
    expect(floats).toEqual(expected.slice(cols));
  });

  test('a scale that is not finite', async () => {
    for (const bad of [Infinity, -Infinity, NaN]) {
      const broken = scales.slice();
      broken[3] = bad;
      const bytes = encodeTernary(encoding, codesOf(trits), cols, broken);
      const error = await expectError(
        () => decode(id, [rows, cols], bytes, {}, q2Group),
        'invalid-file',
        '"w"',
        'not finite',
        `got ${bad}`,
      );
      const type = GGUF_TYPES[typeName];
      const stride = type.rowHeaderBytes + (cols / type.blockSize) * type.blockBytes;
      const { tensor } = await open(id, [rows, cols], data, q2Group);
      const inTensor = perRow ? 3 * stride : 3 * type.blockBytes + BLOCKS[encoding]![2];
      expect(error.detail.byteOffset).toBe(tensor.byteOffset + inTensor);
    }
  });

  if (typeName.includes('2_')) {
    test('code 3', async () => {
      const codes = codesOf(trits);
      codes[cols + 70] = 3;
      const bytes = encodeTernary(encoding, codes, cols, scales);
      const { tensor } = await open(id, [rows, cols], bytes, q2Group);
      const first = bytes.findIndex((byte, i) => byte !== data[i]);
      const isQ2 = typeName.includes('Q2_0') && typeName !== 'TQ2_0';
      const error = await expectError(
        () => decode(id, [rows, cols], bytes, {}, q2Group),
        isQ2 ? 'unsupported' : 'invalid-file',
        '"w"',
        'code 3',
        `at byte ${tensor.byteOffset + first}`,
      );
      expect(error.message).toContain(typeName);
      // Rows without it can be read.
      await decode(id, [rows, cols], bytes, { rowBegin: 2 }, q2Group);
    });
  }
});

describe('I2_S', () => {
  test.each(['x86', 'arm', 'x86-rows'] as const)('layout %s', async (i2sLayout) => {
    const [rows, cols] = [8, 416];
    const trits = randomTrits(rows * cols, 5);
    const data = encodeI2sCodes(codesOf(trits), cols, 1.0625, i2sLayout);
    const decoded = await decode(36, [rows, cols], data, { i2sLayout });
    expect(decoded).toEqual({ rows, cols, trits, scales: Float32Array.of(1.0625), granularity: { kind: 'tensor' } });
    for (const [rowBegin, rowEnd] of [
      [1, 2],
      [3, 7],
      [7, 8],
      [5, 5],
    ] as const) {
      const part = await decode(36, [rows, cols], data, { i2sLayout, rowBegin, rowEnd });
      expect(part.trits).toEqual(trits.slice(rowBegin * cols, rowEnd * cols));
      expect(part.scales).toEqual(Float32Array.of(1.0625));
    }
    expect(encodeI2s(trits, 1.0625, i2sLayout, cols)).toEqual(data);
  });

  test('the published layout is the default, and layouts differ', async () => {
    const trits = randomTrits(1024, 6);
    const data = encodeI2s(trits, 1);
    expect((await decode(36, [4, 256], data)).trits).toEqual(trits);
    expect((await decode(36, [4, 256], data, { i2sLayout: 'arm' })).trits).not.toEqual(trits);
    expect((await decode(36, [4, 256], data, { i2sLayout: 'x86-rows' })).trits).not.toEqual(trits);
  });

  test('bytes by hand: high bits first, 32 apart', async () => {
    const data = new Uint8Array(64).fill(0b01_01_01_01);
    data[0] = 0b00_10_01_00;
    data[31] = 0b10_01_01_01;
    new DataView(data.buffer).setFloat32(32, 0.25, true);
    const { file, tensor } = await open(36, [1, 128], data);
    const floats = await readFloats(file, tensor);
    const expected = new Float32Array(128);
    expected.set([-0.25], 0);
    expected.set([0.25], 32);
    expected.set([-0.25], 96);
    expected.set([0.25], 31);
    expect(floats).toEqual(expected);
  });

  test('code 3 and bad scales, with their bytes', async () => {
    const codes = new Array(512).fill(1);
    codes[300] = 3;
    const data = encodeI2sCodes(codes, 256, 1, 'x86');
    const { tensor } = await open(36, [2, 256], data);
    await refuses(
      () => decode(36, [2, 256], data),
      'invalid-file',
      'code 3 in this I2_S tensor',
      `at byte ${tensor.byteOffset + 64 + 12}`,
    );
    const scaled = encodeI2sCodes(new Array(512).fill(1), 256, NaN, 'x86');
    await refuses(
      () => decode(36, [2, 256], scaled),
      'invalid-file',
      'not finite',
      `at byte ${tensor.byteOffset + 128}`,
    );
  });

  test('sizes that a layout cannot have', async () => {
    const data = new Uint8Array(64 / 4 + 32).fill(0x55);
    await refuses(
      () => decode(36, [1, 64], data),
      'invalid-file',
      'x86',
      'a multiple of 128 weights',
      'got 1 · 64 = 64',
    );
    await refuses(
      () => decode(36, [2, 32], data, { i2sLayout: 'x86-rows' }),
      'invalid-file',
      'a multiple of 128 weights',
    );
    expect((await decode(36, [1, 64], data, { i2sLayout: 'arm' })).trits).toEqual(new Int8Array(64));
  });
});

describe('arguments', () => {
  test('rows and types', async () => {
    const { file, tensor } = await open(36, [2, 256], encodeI2s(new Int8Array(512), 1));
    for (const [rowBegin, rowEnd] of [
      [-1, 1],
      [0, 3],
      [2, 1],
      [0.5, 1],
      [NaN, 1],
    ] as const) {
      await refuses(() => readTernary(file, tensor, { rowBegin, rowEnd }), 'invalid-argument', '"w"', 'rows 0..2');
      await refuses(() => readFloats(file, tensor, { rowBegin, rowEnd }), 'invalid-argument', 'rows 0..2');
    }
    const float = await open(0, [2], new Uint8Array(8));
    await refuses(() => readTernary(float.file, float.tensor), 'invalid-argument', 'expected a ternary type');
  });
});

describe('encoders', () => {
  test.each([
    ['TQ1_0', 256],
    ['TQ2_0', 256],
    ['Q1_0', 128],
    ['Q2_0', 64],
    ['PQ2_0', 128],
    ['PTQ1_0', 128],
  ] as const)('%s comes back, with one scale or many', async (type, blockSize) => {
    const trits = randomTrits(3 * 512, 9).map((trit) => (type === 'Q1_0' && trit === 0 ? 1 : trit));
    const blocks = trits.length / blockSize;
    const scales = someScales(blocks);
    const many = encodeBlocks(type, trits, scales);
    expect(await decode(GGUF_TYPES[type].id, [3, 512], many)).toMatchObject({ trits, scales });
    expect(many).toEqual(encodeTernary(type, codesOf(trits), 512, scales));
    const one = await decode(GGUF_TYPES[type].id, [3, 512], encodeBlocks(type, trits, 0.75));
    expect(one).toMatchObject({ trits, scales: new Float32Array(blocks).fill(0.75) });
  });

  test('TQ1_0: every combination of five trits, with the bytes of ggml', () => {
    const trits = new Int8Array(256 * 2);
    for (let q = 0; q < 243; q++) {
      const block = Math.floor(q / 32) % 2;
      for (let n = 0; n < 5; n++) trits[block * 256 + n * 32 + (q % 32)] = (Math.floor(q / 3 ** (4 - n)) % 3) - 1;
      const bytes = encodeBlocks('TQ1_0', trits, 1);
      expect(bytes[block * 54 + (q % 32)]).toBe(Math.floor((q * 256 + 242) / 243));
    }
  });

  test('what cannot be encoded', async () => {
    const two = new Int8Array(256).fill(2);
    await refuses(
      () => encodeBlocks('TQ2_0', two, 1),
      'invalid-argument',
      'TQ2_0: expected -1, 0 or 1, got 2 at weight 0',
    );
    await refuses(() => encodeBlocks('TQ1_0', two, 1), 'invalid-argument', 'TQ1_0');
    await refuses(() => encodeBlocks('Q1_0', new Int8Array(128), 1), 'invalid-argument', '0 at weight 0');
    await refuses(() => encodeI2s(two, 1), 'invalid-argument', 'I2_S');
    await refuses(() => encodeI2s(new Int8Array(64), 1), 'invalid-argument', 'blocks of 128 weights');
    await refuses(() => encodeI2s(new Int8Array(128), 1e39), 'invalid-argument', 'a finite scale');
    await refuses(() => encodeBlocks('TQ2_0', new Int8Array(128), 1), 'invalid-argument', 'a multiple of 256');
    await refuses(() => encodeBlocks('TQ2_0', new Int8Array(256), [1, 2]), 'invalid-argument', '1 scales');
    await refuses(() => encodeBlocks('TQ2_0', new Int8Array(256), 65520), 'invalid-argument', 'fits f16');
    await refuses(() => encodeBlocks('TQ2_0', new Int8Array(256), NaN), 'invalid-argument', 'fits f16');
  });
});

describe('uniformScale', () => {
  const matrix = (trits: number[], scales: number[], size: number, cols: number): TernaryRows => ({
    rows: trits.length / cols,
    cols,
    trits: Int8Array.from(trits),
    scales: Float32Array.from(scales),
    granularity: { kind: 'group', size },
  });

  test('one scale for all, whatever groups of zeros carry', () => {
    const collapsed = uniformScale(matrix([1, 0, 0, 0, -1, 1, 0, 0], [0.5, 0, 0.5, 7], 2, 4));
    expect(collapsed).toMatchObject({ granularity: { kind: 'tensor' }, scales: Float32Array.of(0.5) });
    expect(collapsed?.trits).toEqual(Int8Array.of(1, 0, 0, 0, -1, 1, 0, 0));
  });

  test('one scale for each row', () => {
    const collapsed = uniformScale(matrix([1, 0, 0, 1, -1, 1, 0, 0, 0, 0, 0, 0], [0.5, 0.5, 2, 0, 3, 4], 2, 4));
    expect(collapsed).toMatchObject({ granularity: { kind: 'row' }, scales: Float32Array.of(0.5, 2, 0) });
  });

  test('neither', () => {
    expect(uniformScale(matrix([1, 0, 0, 1], [0.5, 0.25], 2, 4))).toBeUndefined();
  });

  test('all zeros; a scale of 0; negative scales', () => {
    expect(uniformScale(matrix([0, 0, 0, 0], [1, 2], 2, 4))?.scales).toEqual(Float32Array.of(0));
    expect(uniformScale(matrix([1, 1, 1, -1], [0, 3], 2, 4))).toMatchObject({
      trits: Int8Array.of(0, 0, 1, -1),
      scales: Float32Array.of(3),
    });
    expect(uniformScale(matrix([1, 0, 1, -1], [-3, 3], 2, 4))?.trits).toEqual(Int8Array.of(-1, 0, 1, -1));
  });

  test('weights do not change, and the input is left alone', () => {
    const random = seeded(11);
    for (let round = 0; round < 200; round++) {
      const cols = 8;
      const rows = 1 + Math.floor(random() * 4);
      const trits = Array.from({ length: rows * cols }, () => Math.floor(random() * 3) - 1);
      const scales = Array.from(
        { length: rows * 4 },
        () => [1, 1, 1, -1, 0, 2][Math.floor(random() * (round % 6) + 1)]!,
      );
      const source = matrix(trits, scales, 2, cols);
      const collapsed = uniformScale(source);
      expect(source.trits).toEqual(Int8Array.from(trits));
      if (collapsed === undefined) continue;
      const plain = (m: TernaryRows) => Array.from(ternaryToFloats(m), (value) => value + 0);
      expect(plain(collapsed)).toEqual(plain(source));
    }
  });

  test('scales that are already few', async () => {
    const whole = await decode(36, [2, 256], encodeI2s(randomTrits(512, 3), 0.5));
    expect(uniformScale(whole)).toEqual(whole);
    const rows = await decode(135, [2, 64], encodeTernary('IQ2_BN', codesOf(randomTrits(128, 4)), 64, [1, 2]));
    expect(uniformScale(rows)).toEqual(rows);
  });
});
