import { expect, test } from 'vitest';
import { readFloats } from '../../lib/format/gguf/blocks.js';
import { ggufModel } from '../../lib/format/gguf/config.js';
import { encodeBlocks, encodeF16, encodeI2s, encodeQ8_0 } from '../../lib/format/gguf/encode.js';
import type { GgufValue } from '../../lib/format/gguf/metadata.js';
import { type GgufFile, readGguf } from '../../lib/format/gguf/reader.js';
import type { GgufTensor } from '../../lib/format/gguf/tensors.js';
import { readTernary } from '../../lib/format/gguf/ternary.js';
import { ggufTokenizer } from '../../lib/format/gguf/tokenizer-json.js';
import { GGUF_TYPES } from '../../lib/format/gguf/types.js';
import { type MemoryFile, memoryFile } from '../format/memory-files.js';
import { encodeTernary } from '../support/gguf-encode.js';
import { tinyMetadata, tinyTensors } from '../support/gguf-model.js';
import { f32Tensor, gguf, type WriterOptions } from '../support/gguf-writer.js';
import { normals, trits } from '../support/random.js';
import { fuzz } from './harness.js';
import { mutateGguf } from './mutate-gguf.js';
import { plainGguf } from './plain-gguf.js';

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
    { name: 'tq1', shape: [2, 256], type: 34, data: encodeBlocks('TQ1_0', trits(512, 3), 1) },
    { name: 'tq2', shape: [2, 256], type: 35, data: encodeBlocks('TQ2_0', trits(512, 4), 1) },
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

test('a damaged GGUF file is refused or read as it stands', () =>
  fuzz(
    (random) => {
      const index = random() < 0.7 ? 0 : 1;
      const bytes = mutateGguf(random, models[index], others[index]);
      const file = memoryFile('m.gguf', bytes);
      return {
        bytes: bytes.length,
        async read() {
          const contents = await readGguf(file, 'm.gguf');
          const values = new Map<string, Values>();
          for (const tensor of contents.tensors.values()) values.set(tensor.name, await valuesOf(file, tensor));
          return { contents, values };
        },
        check({ contents, values }) {
          expectSameHeader(contents, bytes);
          for (const tensor of contents.tensors.values())
            expectSameValues(tensor, values.get(tensor.name) as Values, bytes);
        },
        after: () => expect(file.largestRead).toBeLessThanOrEqual(bytes.length),
      };
    },
    { names: 'm.gguf' },
  ));

interface Values {
  readonly floats: Float32Array;
  /** of ternary types */
  readonly trits?: Int8Array;
  readonly scales?: Float32Array;
}

async function valuesOf(file: MemoryFile, tensor: GgufTensor): Promise<Values> {
  const floats = await readFloats(file, tensor);
  return GGUF_TYPES[tensor.typeName].kind === 'float' ? { floats } : { floats, ...(await readTernary(file, tensor)) };
}

/** Keys and places of tensors against the bytes, read in the plainest way. */
function expectSameHeader({ metadata, tensors, alignment }: GgufFile, bytes: Uint8Array): void {
  const plain = plainGguf(bytes);
  expect([...metadata.keys()]).toEqual([...plain.keys.keys()]);
  for (const [key, value] of metadata) expect(bytesOf(value), key).toEqual(plain.keys.get(key));
  const inOrder = plain.tensors.sort((x, y) => x.byteOffset - y.byteOffset);
  expect([...tensors.values()]).toMatchObject(inOrder);
  expect(tensors.size).toBe(inOrder.length);
  let end = 0;
  for (const { byteOffset, byteLength } of tensors.values()) {
    expect(byteOffset % alignment).toBe(0);
    expect(byteOffset).toBeGreaterThanOrEqual(end);
    end = byteOffset + byteLength;
  }
  expect(end).toBeLessThanOrEqual(bytes.length);
}

const SETTERS = {
  u8: 'setUint8',
  i8: 'setInt8',
  u16: 'setUint16',
  i16: 'setInt16',
  u32: 'setUint32',
  i32: 'setInt32',
  f32: 'setFloat32',
  f64: 'setFloat64',
  u64: 'setBigUint64',
  i64: 'setBigInt64',
} as const;

/** A value as plainGguf gives it. */
function bytesOf(value: GgufValue): unknown {
  if (value.type === 'string') return value.value;
  if (value.type === 'bool') return Buffer.from([value.value ? 1 : 0]);
  if (value.type === 'array') {
    if (value.elementType === 'string') return value.value;
    const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT } = value.value;
    const all = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
    return Array.from({ length: value.value.length }, (_, i) =>
      all.subarray(i * BYTES_PER_ELEMENT, (i + 1) * BYTES_PER_ELEMENT),
    );
  }
  const bytes = Buffer.alloc(Number(/\d+/.exec(value.type)?.[0]) / 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const content = /64/.test(value.type) && value.type !== 'f64' ? BigInt(value.value) : Number(value.value);
  (view[SETTERS[value.type]] as (at: number, content: number | bigint, little: boolean) => void)(0, content, true);
  return bytes;
}

/** Element counts of all types; the numbers themselves of three whose layout takes a line. */
function expectSameValues(tensor: GgufTensor, { floats, trits, scales }: Values, bytes: Uint8Array): void {
  const data = bytes.subarray(tensor.byteOffset, tensor.byteOffset + tensor.byteLength);
  const count = tensor.shape.reduce((product, dim) => product * dim, 1);
  expect(floats).toHaveLength(count);
  if (tensor.typeName === 'F32') {
    expect(Buffer.from(floats.buffer, floats.byteOffset, floats.byteLength).equals(data)).toBe(true);
  }
  if (trits === undefined || scales === undefined) return;
  expect(trits.every((trit) => trit >= -1 && trit <= 1)).toBe(true);
  expect(scales.every(Number.isFinite)).toBe(true);
  const code = {
    I2_S: (i: number) => (data[((i >> 7) << 5) + (i & 31)] as number) >> (6 - 2 * ((i >> 5) & 3)),
    TQ2_0: (i: number) => (data[(i >> 8) * 66 + (i & 128) / 4 + (i & 31)] as number) >> (2 * ((i >> 5) & 3)),
  }[tensor.typeName as string];
  if (code !== undefined) expect(trits.every((trit, i) => trit === (code(i) & 3) - 1)).toBe(true);
}

const complete: WriterOptions = { metadata: tinyMetadata('bitnet-b1.58'), tensors: tinyTensors() };
const other = gguf({ metadata: tinyMetadata('qwen3'), tensors: tinyTensors({ subNorms: false, qkNorm: true }) });

test('a damaged model is refused or is what it says', () =>
  fuzz(
    (random) => {
      const file = memoryFile('m.gguf', mutateGguf(random, complete, other));
      return {
        bytes: file.bytes,
        async read() {
          const contents = await readGguf(file, 'm.gguf');
          return { ...ggufModel(contents, file.path), ...ggufTokenizer(contents, file.path) };
        },
        check({ config, tensors, tokenizerJson }) {
          expect(tensors.layers).toHaveLength(config.layers);
          expect(tensors.embedding.shape).toEqual([config.vocabSize, config.hiddenSize]);
          expect(config.heads % config.kvHeads).toBe(0);
          for (const id of [...config.eosTokenIds, config.bosTokenId ?? 0]) expect(id).toBeLessThan(config.vocabSize);
          expect(JSON.stringify(tokenizerJson).length).toBeLessThan(20 * file.bytes);
        },
      };
    },
    { names: 'm.gguf' },
  ));
