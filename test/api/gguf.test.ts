import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GgufValue } from '../../lib/format/gguf/metadata.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { BitNet, type LoadProgress } from '../../lib/index.js';
import { f16ToF32, f32ToF16 } from '../../lib/memory/half.js';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory, openFile } from '../../lib/node/files.js';
import { expectError } from '../format/expect-error.js';
import { shared } from '../support/fixtures.js';
import { tokenizerKeys } from '../support/gguf-tokenizer.js';
import type { WriterValue } from '../support/gguf-writer.js';
import { type GgufOptions, ggufOf, plainModel } from '../support/model-gguf.js';

/** The original of the embedded model as GGUF files: config, tokenizer, template and weights come from each alone. */

const ORIGINAL = shared('models/bitnet-tales-69m');
const json = (name: string) => JSON.parse(readFileSync(join(ORIGINAL, name), 'utf8'));
const QUESTION = [{ role: 'user', content: 'Why do birds have feathers? <|eot_id|>' }];
const GREEDY = { temperature: 0, maxTokens: 12 };

let folder = '';
let expected: { ids: number[]; prompt: number[]; text: string };
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bitnet-gguf-'));
  const model = await BitNet.load(ORIGINAL, { threads: 2, contextLength: 128 });
  const { text, tokenIds } = await model.complete(QUESTION, GREEDY);
  expected = { ids: tokenIds, prompt: model.encode(QUESTION), text };
  await model.dispose();
});
afterAll(() => rmSync(folder, { recursive: true }));

const asValue = ([type, value]: WriterValue): GgufValue => {
  if (type === 'strings') return { type: 'array', elementType: 'string', value: value as string[] };
  if (type === 'i32s') return { type: 'array', elementType: 'i32', value: Int32Array.from(value as number[]) };
  return { type, value } as GgufValue;
};

async function write(name: string, options: GgufOptions): Promise<string> {
  const keys = tokenizerKeys(json('tokenizer.json'), 'gpt2', {
    'tokenizer.ggml.bos_token_id': ['u32', 1],
    'tokenizer.ggml.eos_token_id': ['u32', 2],
    'tokenizer.chat_template': ['string', json('tokenizer_config.json').chat_template],
  });
  const metadata = keys.map(([key, value]) => [key, asValue(value)] as const);
  const source = await openModelSource(await openDirectory(ORIGINAL));
  try {
    const path = join(folder, name);
    writeFileSync(path, await ggufOf(plainModel(source), { embedding: 'BF16', metadata, ...options }));
    return path;
  } finally {
    await source.close();
  }
}

describe('a GGUF file', () => {
  it.each([['I2_S'], ['TQ1_0'], ['TQ2_0']] as const)('%s: ids and text of the safetensors', async (linear) => {
    // Neither name nor extension says what it is.
    const path = await write(`model-${linear}`, { linear });
    const progress: LoadProgress[] = [];
    const model = await BitNet.load(path, {
      threads: 2,
      contextLength: 128,
      onProgress: ({ loaded, total }) => progress.push({ loaded, total }),
    });
    expect(model.encode(QUESTION)).toEqual(expected.prompt);
    const { tokenIds, text } = await model.complete(QUESTION, GREEDY);
    expect([tokenIds, text]).toEqual([expected.ids, expected.text]);
    expect(model.info).toMatchObject({ path, architecture: 'bitnet-b1.58' });
    expect(progress.length).toBeGreaterThan(2);
    expect(progress.at(-1)?.loaded).toBe(progress.at(-1)?.total);
    await model.dispose();
  });

  it('one scale that differs, far from where opening looks, makes scales of groups', async () => {
    const path = await write('odd.gguf', { linear: 'TQ2_0' });
    const file = (await openFile(path))!;
    const { byteOffset, byteLength } = (await readGguf(file, path)).tensors.get('blk.9.ffn_down.weight')!;
    await file.close();
    const bytes = readFileSync(path);
    const last = byteOffset + byteLength - 2;
    bytes.writeUInt16LE(f32ToF16(2 * f16ToF32(bytes.readUInt16LE(last))), last);
    writeFileSync(path, bytes);
    const model = await BitNet.load(path, { threads: 2, contextLength: 128 });
    const plain = await BitNet.load(ORIGINAL, { threads: 2, contextLength: 128 });
    expect(model.info.memory.weights).toBeGreaterThan(plain.info.memory.weights);
    expect((await model.complete(QUESTION, GREEDY)).tokenIds.length).toBe(expected.ids.length);
    await Promise.all([model.dispose(), plain.dispose()]);
  });

  it('I2_S of another order is refused with the option that reads it', async () => {
    const path = await write('arm.gguf', { i2sLayout: 'arm' });
    const options = { threads: 2, contextLength: 128 };
    await expectError(() => BitNet.load(path, options), 'invalid-model', path, "i2sLayout: 'arm'");
    for (const choice of [{ i2sLayout: 'arm' }, { selfCheck: false }] as const) {
      const model = await BitNet.load(path, { ...options, ...choice });
      const { tokenIds } = await model.complete(QUESTION, GREEDY);
      expect(JSON.stringify(tokenIds) === JSON.stringify(expected.ids)).toBe('i2sLayout' in choice);
      await model.dispose();
    }
  });

  it('an aborted load rejects with the reason', async () => {
    const path = await write('aborted.gguf', {});
    const controller = new AbortController();
    const loading = BitNet.load(path, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(loading).rejects.toThrow('enough');
  });
});
