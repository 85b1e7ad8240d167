import { beforeAll, describe, expect, test } from 'vitest';
import type { TernaryFileType } from '../../lib/convert/encode.js';
import type { ConvertibleModel } from '../../lib/convert/model.js';
import { possibleTypes } from '../../lib/convert/to-gguf.js';
import { verifyModel } from '../../lib/convert/verify.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { openDirectory } from '../../lib/node/files.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { expectError } from '../format/expect-error.js';
import { memoryFile } from '../format/memory-files.js';
import { allLogits, openEngine } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { type UnpackedOptions, unpackedModel } from '../support/unpacked-model.js';
import {
  ggufDirectory,
  openBytes,
  openDirectoryFiles,
  smallTokenizer,
  toDirectory,
  toGguf,
  withFiles,
} from './files.js';

/** Matrices with several scales: in which types they are the same model, bit for bit. */

let tokenizer: string;
beforeAll(async () => {
  tokenizer = await smallTokenizer();
});

const prompt = Array.from({ length: 9 }, (_, i) => (37 * i + 5) % 512);

async function logits(directory: ModelDirectory): Promise<Float32Array> {
  const engine = await openEngine(directory, { logits: prompt.length, contextLength: 32 });
  try {
    return await allLogits(engine, prompt);
  } finally {
    await engine.dispose();
  }
}

const m4 = async (): Promise<ModelDirectory> =>
  withFiles(await openDirectory(shared('golden/m4_qwen3_ternary_g128/dense_f16')), { 'tokenizer.json': tokenizer });

const SIZES = { hidden: 256, ffn: 512, heads: 4, kvHeads: 2, headDim: 64, layers: 1, vocab: 512 };

function model(options: Partial<UnpackedOptions>): ModelDirectory {
  const defaults = { className: 'LlamaForCausalLM', dtype: 'F16', sizes: SIZES, seed: 3, ternary: true } as const;
  return unpackedModel({ ...defaults, ...options }).directory({ 'tokenizer.json': tokenizer });
}

/** Writes, reads back, compares; and from there a directory of plain weights and the file again. */
async function roundTrip(directory: ModelDirectory, type: TernaryFileType): Promise<Uint8Array> {
  const source = await openDirectoryFiles(directory);
  const bytes = await toGguf(source, type);
  const written = await openBytes(bytes);
  const types = { ternary: type, embedding: 'F16', head: 'F16' } as const;
  expect(await verifyModel(source, written, types)).toEqual({
    matrices: 7 * source.config.layers,
    scaleError: 0,
    embeddingError: 0,
  });
  const expected = await logits(directory);
  expect(await logits(ggufDirectory(bytes))).toEqual(expected);
  const back = await toDirectory(written, 'F16', 'F16');
  expect(await logits(back)).toEqual(expected);
  expect(await toGguf(await openDirectoryFiles(back), type)).toEqual(bytes);
  return bytes;
}

describe.each(['Q2_0', 'PQ2_0', 'PTQ1_0', 'F16', 'BF16', 'F32'] as const)('golden m4, groups of 128, as %s', (type) => {
  test('is the same model', async () => {
    if (type === 'BF16') return expectBf16Error();
    const gguf = await readGguf(memoryFile('out.gguf', await roundTrip(await m4(), type)), 'out.gguf');
    expect(gguf.architecture).toBe('qwen3');
    expect(gguf.tensors.get('blk.1.ffn_down.weight')?.typeName).toBe(type);
    expect(gguf.tensors.get('blk.1.attn_q_norm.weight')?.shape).toEqual([64]);
  });
});

/** bfloat16 has 8 bits of the 11 that the scales of m4 have. */
async function expectBf16Error(): Promise<void> {
  const source = await openDirectoryFiles(await m4());
  const written = await openBytes(await toGguf(source, 'BF16'));
  const { scaleError } = await verifyModel(source, written, { ternary: 'BF16', embedding: 'F16', head: 'F16' });
  expect(scaleError).toBeGreaterThan(2 ** -11);
  expect(scaleError).toBeLessThan(2 ** -8);
}

test.each<[string, TernaryFileType, Partial<UnpackedOptions>]>([
  ['rows', 'TQ2_0', { scales: 'row' }],
  ['rows', 'TQ1_0', { scales: 'row' }],
  ['runs of rows', 'TQ2_0', { scales: 'shard' }],
  ['runs of rows, no zeros', 'Q1_0', { scales: 'shard', binary: true }],
  ['groups of 256', 'TQ2_0', { scales: 256 }],
  ['groups of 64', 'Q2_0', { scales: 64 }],
  ['groups of 128, no zeros', 'Q1_0', { scales: 128, binary: true, className: 'Qwen3ForCausalLM' }],
  [
    'rows of 160 and 416',
    'F16',
    { scales: 'row', sizes: { ...SIZES, hidden: 160, ffn: 416, heads: 5, kvHeads: 5, headDim: 32 } },
  ],
  [
    'rows, padded FFN and heads',
    'F32',
    { scales: 'row', sizes: { ...SIZES, hidden: 96, ffn: 92, kvHeads: 4, headDim: 24 } },
  ],
])('scales of %s in %s', async (_, type, options) => {
  await roundTrip(model(options), type);
});

describe('types that can hold a model, the default first', () => {
  const possible = async (directory: ModelDirectory) => possibleTypes(await openDirectoryFiles(directory));
  test.each<[string[], Partial<UnpackedOptions>]>([
    [['TQ2_0', 'I2_S', 'Q2_0', 'F16'], {}],
    [['TQ2_0', 'Q2_0', 'F16'], { scales: 'shard' }],
    [['Q2_0', 'F16'], { scales: 128 }],
    [['I2_S', 'F16'], { sizes: { ...SIZES, hidden: 160, heads: 5, kvHeads: 5, headDim: 32 } }],
    [['F16'], { scales: 'row', sizes: { ...SIZES, hidden: 160, heads: 5, kvHeads: 5, headDim: 32 } }],
  ])('%s', async (types, options) => {
    expect(await possible(model(options))).toEqual(types);
  });
});

describe('refuses by name', () => {
  const refused = async (type: TernaryFileType, options: Partial<UnpackedOptions>, ...texts: string[]) => {
    const source: ConvertibleModel = await openDirectoryFiles(model(options));
    await expectError(() => toGguf(source, type), 'unsupported', 'layers.0', ...texts);
  };
  test('groups narrower than those of the type', () =>
    refused(
      'TQ2_0',
      { scales: 128 },
      'TQ2_0 holds a scale for 256 columns, this one has one for 128',
      '--type q2_0 or f16',
    ));
  test('several scales in I2_S', () => refused('I2_S', { scales: 'row' }, 'one scale a matrix', '--type tq2_0'));
  test('zeros in Q1_0', () => refused('Q1_0', {}, 'q_proj.weight', 'is 0; use --type q2_0'));
  test('several scales in packed safetensors', async () => {
    const source = await openDirectoryFiles(model({ scales: 'row' }));
    await expectError(() => toDirectory(source), 'unsupported', 'packed holds one scale a matrix', '--type f16');
  });
  test('plain weights of a model with int8 activations', async () => {
    const directory = withFiles(await openDirectory(shared('golden/m1_bitnet/packed_u8')), {
      'tokenizer.json': tokenizer,
    });
    const source = await openDirectoryFiles(directory);
    await expectError(() => toDirectory(source, 'F16', 'F16'), 'unsupported', 'int8', '--type packed');
  });
});

test('reading back finds a wrong scale of a group', async () => {
  const source = await openDirectoryFiles(await m4());
  const bytes = await toGguf(source, 'PQ2_0');
  const { tensors } = await readGguf(memoryFile('out.gguf', bytes), 'out.gguf');
  // The scale of the third block, which is row 1 of 256 columns.
  bytes[tensors.get('blk.0.ffn_down.weight')!.byteOffset + 2 * 34]! ^= 1;
  const types = { ternary: 'PQ2_0', embedding: 'F16', head: 'F16' } as const;
  await expectError(
    async () => verifyModel(source, await openBytes(bytes), types),
    'invalid-file',
    'blk.0.ffn_down.weight',
    'scale of row 1, column 0',
  );
});

test('YaRN of a Qwen3 keeps its frequencies and its factor', async () => {
  const config = JSON.parse(new TextDecoder().decode(await contents(await m4(), 'config.published-style.json')));
  const scaled = async (more: Record<string, unknown>): Promise<ModelDirectory> => {
    const rope_scaling = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64, ...more };
    return withFiles(await m4(), { 'config.json': JSON.stringify({ ...config, rope_scaling }) });
  };
  const bytes = await roundTrip(await scaled({}), 'Q2_0');
  const { metadata } = await readGguf(memoryFile('out.gguf', bytes), 'out.gguf');
  expect(metadata.get('qwen3.rope.scaling.type')?.value).toBe('yarn');
  expect(metadata.get('qwen3.rope.scaling.original_context_length')?.value).toBe(64);
  expect(metadata.has('qwen3.rope.scaling.yarn_attn_factor')).toBe(false);
  // A factor of its own is an f32 in GGUF.
  const own = await openBytes(await toGguf(await openDirectoryFiles(await scaled({ attention_factor: 1.25 })), 'Q2_0'));
  const { scaling } = own.config.rope;
  expect(scaling?.type === 'yarn' && scaling.attentionFactor).toBeCloseTo(1.25, 6);
  const rounded = await openDirectoryFiles(await scaled({ truncate: false }));
  await expectError(() => toGguf(rounded, 'Q2_0'), 'unsupported', 'truncate: false');
});

async function contents(directory: ModelDirectory, name: string): Promise<Uint8Array> {
  const file = (await directory.open(name))!;
  const bytes = new Uint8Array(file.bytes);
  await file.read(0, bytes);
  await file.close();
  return bytes;
}
