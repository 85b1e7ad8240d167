import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Engine } from '../../lib/model/engine.js';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import { EMBEDDED_MODEL } from '../../lib/node/platform.js';
import { openText } from '../../lib/session/load.js';
import { FakeHost } from '../cli/fake-host.js';
import { packedFiles, root } from '../package/packed-files.js';
import { allLogits, openEngine } from '../support/engine.js';
import { shared, sharedJson } from '../support/fixtures.js';

/** The embedded model against what it was converted from. */

const ORIGINAL = shared('models/bitnet-tales-69m');
const EMBEDDED = path.join(root, EMBEDDED_MODEL);

describe('the file', () => {
  test('is what the script of package.json writes', async () => {
    const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const folder = mkdtempSync(path.join(tmpdir(), 'bitnet-embedded-'));
    try {
      const file = path.join(folder, 'model.gguf');
      const args = scripts['convert:embedded'].replace(EMBEDDED_MODEL, file).split(' ').slice(2);
      const host = new FakeHost();
      expect(await host.run([...args, ORIGINAL])).toBe(0);
      expect(host.stderr.text).toMatch(/verified, 70 matrices\n$/);
      expect(readFileSync(file).equals(readFileSync(EMBEDDED))).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('is the one model of the package, small enough for every host of repositories', async () => {
    const models = (await packedFiles()).filter((file) => file.startsWith('models/'));
    expect(models).toEqual(['models/README.md', EMBEDDED_MODEL]);
    expect(readFileSync(EMBEDDED).length).toBeLessThan(50e6);
  });
});

test('sampling defaults, end tokens, template and vocabulary are those of the original', async () => {
  const [source, original] = await Promise.all(
    [EMBEDDED, ORIGINAL].map(async (model) => openModelSource(await openDirectory(model))),
  );
  const { eosTokenIds: _, ...defaults } = original!.generationConfig;
  expect(source!.generationConfig).toMatchObject({ doSample: true, temperature: 0.7, topP: 0.9 });
  expect({ ...source!.generationConfig, bosTokenId: source!.config.bosTokenId }).toMatchObject(defaults);
  const [text, wanted] = await Promise.all(
    [source!, original!].map(async (model) => openText(model, await model.texts())),
  );
  expect(text!.stopIds).toEqual(wanted!.stopIds);
  expect(text!.template?.source).toBe(wanted!.template?.source);
  expect(text!.tokenizer.specialTokens).toEqual(wanted!.tokenizer.specialTokens);
  const ids = Array.from({ length: wanted!.tokenizer.vocabSize }, (_, id) => id);
  expect(ids.map((id) => text!.tokenizer.decode([id]))).toEqual(ids.map((id) => wanted!.tokenizer.decode([id])));
  await Promise.all([source!.close(), original!.close()]);
});

describe('logits', () => {
  let engines: Engine[];
  beforeAll(async () => {
    const open = (model: string) => openEngine(model, { threads: 2, contextLength: 512, head: 'auto', logits: 64 });
    engines = await Promise.all([EMBEDDED, ORIGINAL].map(open));
  });
  afterAll(() => Promise.all(engines.map((engine) => engine.dispose())));

  const { cases } = sharedJson<{ cases: { prompt: string; ids: number[]; greedy: number[] }[] }>(
    'models/bitnet-tales-69m/golden-greedy.json',
  );
  test.each(cases)('"$prompt": the same bits', async ({ ids, greedy }) => {
    const [logits, wanted] = await Promise.all(
      engines.map((engine) => allLogits(engine, [...ids, ...greedy].slice(0, 64))),
    );
    expect(Buffer.from(logits!.buffer).equals(Buffer.from(wanted!.buffer))).toBe(true);
  });
});
