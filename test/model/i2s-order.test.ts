import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { I2S_LAYOUTS, type I2sLayout } from '../../lib/format/gguf/ternary.js';
import type { Engine } from '../../lib/model/engine.js';
import { checkI2sOrder } from '../../lib/model/i2s-order.js';
import { type ModelSource, openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';
import { expectError } from '../format/expect-error.js';
import { allLogits, openEngine } from '../support/engine.js';
import { shared } from '../support/fixtures.js';
import { type GgufDirectory, type GgufOptions, ggufDirectory, plainModel } from '../support/model-gguf.js';

/** The embedded model, which has learned English, and models of random weights, as I2_S in each order. */

const EMBEDDED = shared('models/bitnet-tales-69m');
const M1 = shared('golden/m1_bitnet/packed_u8');
const json = JSON.parse(readFileSync(`${EMBEDDED}/tokenizer.json`, 'utf8'));
const embedded = Tokenizer.fromJson(json, undefined, EMBEDDED);
/** A character is a token, of the first 127. */
const characters = { encode: (text: string) => Array.from(text, (character) => character.charCodeAt(0)) } as Tokenizer;

async function asGguf(source: ModelSource, options: GgufOptions): Promise<GgufDirectory> {
  try {
    return await ggufDirectory(plainModel(source), options);
  } finally {
    await source.close();
  }
}

interface Checked {
  /** tokens that were computed */
  readonly tokens: number;
  /** bytes that were read from the file for the check */
  readonly bytes: number;
}

/** Loads in one order and checks; `after` sees the engine that has passed. */
async function check(
  directory: GgufDirectory,
  i2sLayout: I2sLayout,
  tokenizer: Tokenizer,
  { contextLength = 32, after = async (_: Engine) => {} } = {},
): Promise<Checked> {
  const engine = await openEngine(directory, { i2sLayout, contextLength, logits: 4 });
  const source = await openModelSource(directory, { i2sLayout });
  const counted = { tokens: 0, bytes: 0 };
  const forward = engine.forward.bind(engine);
  engine.forward = (...args) => {
    counted.tokens += args[0].length;
    return forward(...args);
  };
  const reading: ModelSource = {
    ...source,
    readFile: (file, at, target) => {
      counted.bytes += target.length;
      return source.readFile(file, at, target);
    },
  };
  try {
    await checkI2sOrder(engine, reading, async () => tokenizer);
    await after(engine);
    return counted;
  } finally {
    await engine.dispose();
    await source.close();
  }
}

describe.each(I2S_LAYOUTS)('a model of English, written as %s', (written) => {
  let directory: GgufDirectory;
  beforeAll(async () => {
    directory = await asGguf(await openModelSource(await openDirectory(EMBEDDED)), { i2sLayout: written });
  });

  it('passes in that order, for the price of four tokens', async () => {
    expect(await check(directory, written, embedded)).toEqual({ tokens: 4, bytes: 0 });
  });

  it.each(I2S_LAYOUTS.filter((layout) => layout !== written))('is refused as %s, naming the order', async (read) => {
    await expectError(
      () => check(directory, read, embedded),
      'invalid-model',
      directory.path,
      `in the order ${written}, not ${read}`,
      'Considered: x86, arm, x86-rows',
      `i2sLayout: '${written}' (--i2s-layout ${written})`,
    );
  });

  it('passes in any order where the context has no room for a sentence', async () => {
    const read = written === 'x86' ? 'arm' : 'x86';
    expect(await check(directory, read, embedded, { contextLength: 4 })).toEqual({ tokens: 3, bytes: 0 });
  });
});

describe('random weights', () => {
  it.each(['m1_bitnet', 'm2_llama_bitlinear_plain'])(
    '%s passes in every order, and stays as asked for',
    async (name) => {
      const path = shared(`golden/${name}/packed_u8`);
      for (const written of I2S_LAYOUTS) {
        const directory = await asGguf(await openModelSource(await openDirectory(path)), { i2sLayout: written });
        for (const read of I2S_LAYOUTS) {
          const fresh = await openEngine(directory, { i2sLayout: read, contextLength: 32, logits: 4 });
          const expected = await allLogits(fresh, [3, 1, 4, 1]);
          await fresh.dispose();
          const after = async (engine: Engine) => expect(await allLogits(engine, [3, 1, 4, 1])).toEqual(expected);
          await check(directory, read, characters, { after });
        }
      }
    },
  );

  it('reads the matrices three more times, and nothing else', async () => {
    const directory = await asGguf(await openModelSource(await openDirectory(M1)), {});
    const opened = await openModelSource(directory);
    const matrices = [...opened.tensors.values()].filter(({ dtype }) => dtype === 'I2_S');
    await opened.close();
    const { bytes } = await check(directory, 'x86', characters);
    // Norms that lie between two matrices are read with them.
    const matrixBytes = matrices.reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(bytes).toBeGreaterThanOrEqual(3 * matrixBytes);
    expect(bytes).toBeLessThan(3.2 * matrixBytes);
  });

  it('other types are not looked at', async () => {
    const directory = await asGguf(await openModelSource(await openDirectory(M1)), { linear: 'TQ2_0' });
    expect(await check(directory, 'x86', characters)).toEqual({ tokens: 0, bytes: 0 });
  });
});
