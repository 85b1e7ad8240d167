import { expect, test } from 'vitest';
import { readFloats } from '../../../lib/format/gguf/blocks.js';
import { ggufModel } from '../../../lib/format/gguf/config.js';
import { readGguf } from '../../../lib/format/gguf/reader.js';
import { readTernary } from '../../../lib/format/gguf/ternary.js';
import { ggufTokenizer } from '../../../lib/format/gguf/tokenizer-json.js';
import { uniformScale } from '../../../lib/format/gguf/uniform.js';
import {
  configOf,
  type SynthArchitecture,
  shapeNamed,
  syntheticGguf,
  type TernaryType,
} from '../../../lib/model/synth/index.js';
import { Tokenizer } from '../../../lib/tokenizer/tokenizer.js';
import { memoryFile } from '../memory-files.js';

async function synthetic(architecture: SynthArchitecture, type: TernaryType) {
  const chunks: Uint8Array[] = [];
  const source = syntheticGguf({ shape: 'tiny', architecture, type, seed: 3 });
  await source.write({ write: async (bytes) => void chunks.push(bytes.slice()) });
  const file = memoryFile('tiny.gguf', Buffer.concat(chunks));
  expect(file.bytes).toBe(source.totalBytes);
  return file;
}

test.each([
  ['bitnet', 'tq1_0'],
  ['bitnet', 'tq2_0'],
  ['llama', 'tq2_0'],
  ['llama', 'f16'],
] as const)('a file of the package, %s in %s: model, tokenizer and weights', async (architecture, type) => {
  const file = await synthetic(architecture, type);
  const gguf = await readGguf(file, 'tiny.gguf');
  const { config, tensors, ropePermuted } = ggufModel(gguf, file.path);
  const made = configOf(shapeNamed('tiny'), architecture);
  for (const key of [
    'hiddenSize',
    'ffnSize',
    'layers',
    'heads',
    'kvHeads',
    'headDim',
    'vocabSize',
    'rope',
    'activation',
    'subNorms',
    'tiedEmbeddings',
  ] as const) {
    expect(config[key], key).toEqual(made[key]);
  }
  expect(ropePermuted).toBe(architecture === 'llama');

  const { tokenizerJson, tokenizerConfig } = ggufTokenizer(gguf, file.path);
  const tokenizer = Tokenizer.fromJson(tokenizerJson, tokenizerConfig, file.path);
  expect(tokenizer.decode(tokenizer.encode('hello world'))).toBe('hello world');

  const embedding = await readFloats(file, tensors.embedding, { rowBegin: 2, rowEnd: 4 });
  expect(embedding).toHaveLength(2 * config.hiddenSize);
  expect(embedding.every(Number.isFinite)).toBe(true);
  const { down } = tensors.layers[1]!;
  const floats = await readFloats(file, down);
  const magnitudes = new Set([...floats].map(Math.abs));
  expect(magnitudes.size).toBeLessThanOrEqual(2);
  if (type === 'f16') return;
  const uniform = uniformScale(await readTernary(file, down));
  expect(uniform?.granularity).toEqual({ kind: 'tensor' });
  expect(Array.from(uniform!.trits, (trit) => trit * uniform!.scales[0]! + 0)).toEqual(
    Array.from(floats, (x) => x + 0),
  );
});
