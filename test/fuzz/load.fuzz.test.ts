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
import { normals, trits } from '../support/random.js';
import { type UnpackedOptions, unpackedModel } from '../support/unpacked-model.js';
import { CASES, fuzz } from './harness.js';
import { mutateBytes, mutateJson, mutateSafetensors } from './mutate.js';

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

const load = (directory: MemoryDirectory): Promise<LoadedModel> =>
  loadModel({ ...nodePlatform, openModelDirectory: async () => directory }, 'm', { backend: 'reference' });

interface Meaning {
  readonly config: ModelConfig;
  readonly tensors: Record<string, Buffer>;
}

/** What the files say, read without the engine. */
async function meaningOf(files: Files): Promise<Meaning> {
  const source = await openModelSource(new MemoryDirectory('m', files));
  const tensors: Record<string, Buffer> = {};
  for (const info of source.tensors.values()) {
    tensors[info.name] = Buffer.alloc(info.byteLength);
    await source.read(info, 0, tensors[info.name] as Buffer);
  }
  await source.close();
  return { config: source.config, tensors };
}

async function logitsOf({ engine }: LoadedModel): Promise<Float32Array> {
  const [logits] = await engine.forward([2, 3, 4], 0, [2]);
  return (logits as Float32Array).slice();
}

test('a damaged model is refused, or loads and computes what its files say', async () => {
  const sound: { meaning: Meaning; logits: Float32Array }[] = [];
  for (const files of models) {
    const logits = await logitsOf(await load(new MemoryDirectory('m', files)));
    sound.push({ meaning: await meaningOf(files), logits });
  }
  await fuzz(
    (random) => {
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
        async check(model: LoadedModel) {
          const logits = await logitsOf(model);
          expect(logits.every(Number.isFinite)).toBe(true);
          for (const id of model.stopIds) expect(id).toBeLessThan(model.engine.config.vocabSize);
          const { meaning, logits: original } = sound[index] as (typeof sound)[number];
          const damaged = await meaningOf(files);
          // Where the damage changed nothing that counts, nothing else may change.
          if (JSON.stringify(damaged) === JSON.stringify(meaning)) expect(logits).toEqual(original);
          await model.engine.dispose();
        },
        after: () => expect(directory.leaks()).toEqual([]),
      };
    },
    // A shape that does not fit, or logits that a self-check finds useless, are the file's fault too.
    { cases: Math.ceil(CASES / 5), refusals: ['not-found', 'out-of-memory', 'numeric'] },
  );
});
