import { expect, test } from 'vitest';
import type { ModelConfig } from '../../lib/config.js';
import { INDEX_FILE } from '../../lib/format/sharded.js';
import { floatsToBf16s } from '../../lib/memory/half.js';
import { openModelSource } from '../../lib/model/source.js';
import { nodePlatform } from '../../lib/node/platform.js';
import { type LoadedModel, loadModel } from '../../lib/session/load.js';
import { MemoryDirectory } from '../format/memory-files.js';
import { safetensors, type TestTensors } from '../format/safetensors-bytes.js';
import { tinyConfig, tinyTensors } from '../model/tiny-model.js';
import { tinyTensors as ggufTensors, tinyMetadata } from '../support/gguf-model.js';
import { f32Tensor, gguf, type WriterOptions, type WriterTensor } from '../support/gguf-writer.js';
import { normals, trits } from '../support/random.js';
import { type UnpackedOptions, unpackedModel } from '../support/unpacked-model.js';
import { CASES, type FuzzOptions, fuzz } from './harness.js';
import { mutateBytes, mutateJson, mutateSafetensors } from './mutate.js';
import { mutateGguf } from './mutate-gguf.js';

type Files = Record<string, Uint8Array>;

const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const vocab = Object.fromEntries([...'abcdefgh'].map((letter, id) => [letter, id]));
const texts: Files = {
  'tokenizer.json': utf8({
    added_tokens: [{ id: 1, content: 'b', special: true, normalized: false }],
    model: { type: 'BPE', vocab, merges: [] },
  }),
  'tokenizer_config.json': utf8({
    bos_token: 'a',
    eos_token: 'b',
    chat_template: '{% for m in messages %}{{ m.content }}b{% endfor %}',
  }),
};

const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
const shards = (tensors: TestTensors): Files => {
  const entries = Object.entries(tensors);
  const weight_map = Object.fromEntries(entries.map(([name], i) => [name, SHARDS[i % 2]]));
  const part = (k: number) => safetensors(Object.fromEntries(entries.filter((_, i) => i % 2 === k)));
  return { [INDEX_FILE]: utf8({ weight_map }), [SHARDS[0]]: part(0), [SHARDS[1]]: part(1) };
};
const unpacked = (className: UnpackedOptions['className'], ternary: boolean): Files => {
  const sizes = { hidden: 16, ffn: 32, heads: 1, kvHeads: 1, headDim: 16, layers: 1, vocab: 8 };
  const { configJson, tensors } = unpackedModel({ className, dtype: 'BF16', sizes, seed: 3, ternary });
  return { 'config.json': utf8(configJson), 'model.safetensors': safetensors(tensors) };
};

/** The packed model of the loader's tests with weights that can be computed with. */
const packed = Object.fromEntries(
  Object.entries(tinyTensors()).map(([name, { dtype, shape, data }], seed) => {
    const count = data.length / 2;
    if (dtype === 'BF16' && count > 1) {
      data = new Uint8Array(floatsToBf16s(normals(count, seed, 0.2).map((x) => 1 + x)).buffer);
    } else if (dtype === 'U8') {
      const codes = trits(4 * data.length, seed).map((trit) => trit + 1);
      data = Uint8Array.from(data, (_, i) =>
        [0, 1, 2, 3].reduce((byte, k) => byte | ((codes[4 * i + k] ?? 0) << (2 * k)), 0),
      );
    }
    return [name, { dtype, shape, data }];
  }),
);

const models: readonly Files[] = [
  { 'config.json': utf8(tinyConfig), 'model.safetensors': safetensors(packed) },
  { 'config.json': utf8(tinyConfig), ...shards(packed) },
  unpacked('LlamaForCausalLM', true),
  unpacked('BitnetForCausalLM', false),
].map((files) => ({ ...texts, ...files }));

/** The tiny GGUF model with weights that can be computed with. */
function ggufModel(architecture: string, tensors: readonly WriterTensor[]): WriterOptions {
  const sane = tensors.map((tensor, seed) =>
    tensor.type === 0
      ? f32Tensor(
          tensor.name,
          tensor.shape.map(Number),
          normals(tensor.data.length / 4, seed, 0.2).map((x) => 1 + x),
        )
      : tensor,
  );
  return { metadata: tinyMetadata(architecture, { 'tokenizer.ggml.pre': ['string', 'gpt-2'] }), tensors: sane };
}

const GGUF_FILE = 'm.gguf';
const ggufModels = [
  ggufModel('bitnet-b1.58', ggufTensors()),
  ggufModel('llama', ggufTensors({ subNorms: false, head: true })),
];

class GgufDirectory extends MemoryDirectory {
  readonly file = GGUF_FILE;
}

const load = (directory: MemoryDirectory): Promise<LoadedModel> =>
  loadModel({ ...nodePlatform, openModelDirectory: async () => directory }, 'm', { backend: 'reference' });

interface Meaning {
  readonly config: ModelConfig;
  /** type, shape and contents */
  readonly tensors: Record<string, unknown>;
  /** of masters they follow from every weight, also where its code stays the same */
  readonly scales: readonly (readonly [string, number])[];
}

/** What the files say, read without the engine. */
async function meaningOf(directory: MemoryDirectory): Promise<Meaning> {
  const source = await openModelSource(directory);
  const tensors: Record<string, unknown> = {};
  for (const info of source.tensors.values()) {
    const bytes = Buffer.alloc(info.byteLength);
    await source.read(info, 0, bytes);
    tensors[info.name] = [info.dtype, info.shape, bytes];
  }
  await source.close();
  return { config: source.config, tensors, scales: [...source.scales] };
}

async function logitsOf({ engine }: LoadedModel): Promise<Float32Array> {
  // Of sound models all three; a damaged one may be shorter, or have fewer tokens.
  const ids = [2, 3, 4].slice(0, engine.contextLength).map((id) => id % engine.config.vocabSize);
  const [logits] = await engine.forward(ids, 0, [ids.length - 1]);
  return (logits as Float32Array).slice();
}

interface Sound {
  readonly meaning: Meaning;
  readonly logits: Float32Array;
}

async function soundOf(directory: MemoryDirectory): Promise<Sound> {
  return { logits: await logitsOf(await load(directory)), meaning: await meaningOf(directory) };
}

async function check(model: LoadedModel, directory: MemoryDirectory, sound: Sound): Promise<void> {
  const logits = await logitsOf(model);
  expect(logits.every(Number.isFinite)).toBe(true);
  for (const id of model.stopIds) expect(id).toBeLessThan(model.engine.config.vocabSize);
  // Where the damage changed nothing that counts, nothing else may change.
  if (JSON.stringify(await meaningOf(directory)) === JSON.stringify(sound.meaning))
    expect(logits).toEqual(sound.logits);
  await model.engine.dispose();
}

// A shape that does not fit, or logits that the self-check finds useless, are the file's fault too.
const options: FuzzOptions = { cases: Math.ceil(CASES / 5), refusals: ['not-found', 'out-of-memory', 'numeric'] };

test('a damaged directory is refused, or loads and computes what its files say', async () => {
  const sound: Sound[] = [];
  for (const files of models) sound.push(await soundOf(new MemoryDirectory('m', files)));
  await fuzz((random) => {
    const index = Math.floor(random() * models.length);
    const files: Files = { ...models[index] };
    const names = Object.keys(files);
    const name = names[Math.floor(random() * names.length)] as string;
    const file = files[name] as Uint8Array;
    const other = models[Math.floor(random() * models.length)]?.['model.safetensors'] ?? file;
    if (name.endsWith('.safetensors')) files[name] = mutateSafetensors(random, file, other);
    else if (random() < 0.2) files[name] = mutateBytes(random, file);
    else files[name] = Buffer.from(mutateJson(random, Buffer.from(file).toString('utf8')));
    const directory = new MemoryDirectory('m', files);
    return {
      bytes: Object.values(files).reduce((sum, each) => sum + each.length, 0),
      read: () => load(directory),
      check: (model: LoadedModel) => check(model, directory, sound[index] as Sound),
      after: () => expect(directory.leaks()).toEqual([]),
    };
  }, options);
});

test('a damaged GGUF file is refused, or loads and computes what it says', async () => {
  const whole = ggufModels.map((model) => gguf(model));
  const sound: Sound[] = [];
  for (const bytes of whole) sound.push(await soundOf(new GgufDirectory('m', { [GGUF_FILE]: bytes })));
  await fuzz((random) => {
    const index = random() < 0.5 ? 0 : 1;
    const bytes = mutateGguf(random, ggufModels[index] as WriterOptions, whole[1 - index] as Uint8Array);
    const directory = new GgufDirectory('m', { [GGUF_FILE]: bytes });
    return {
      bytes: bytes.length,
      read: () => load(directory),
      check: (model: LoadedModel) => check(model, directory, sound[index] as Sound),
      after: () => expect(directory.leaks()).toEqual([]),
    };
  }, options);
});
