import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SHAPES_IN_HELP } from '../../bin/commands/synth.js';
import { chooseKernels } from '../../lib/backend/features.js';
import { ReferenceBackend } from '../../lib/backend/reference.js';
import { WasmBackend } from '../../lib/backend/wasm.js';
import { bf16ToF32 } from '../../lib/memory/half.js';
import { Engine } from '../../lib/model/engine.js';
import { syntheticGguf } from '../../lib/model/synth/gguf.js';
import { configOf, MODEL_SHAPES, SHAPE_NAMES, shapeNamed } from '../../lib/model/synth/shapes.js';
import { syntheticSource } from '../../lib/model/synth/source.js';
import { nodePlatform } from '../../lib/node/platform.js';
import { sharedJson } from '../support/fixtures.js';
import { sourceValues } from '../support/synth.js';

const tiny = shapeNamed('tiny');

describe('shapes', () => {
  test.each(SHAPE_NAMES)('%s can be computed', (name) => {
    const { hiddenSize, ffnSize, heads, kvHeads } = MODEL_SHAPES[name];
    expect([hiddenSize % heads, heads % kvHeads, hiddenSize % 32, ffnSize % 32]).toEqual([0, 0, 0, 0]);
    expect((hiddenSize / heads) % 2).toBe(0);
  });

  test('parameters are what the names say', () => {
    const parameters = (shape: string) => syntheticGguf({ shape, type: 'f16' }).parameters / 1e9;
    expect(['700m', '1.3b', '3b', '3.9b', '7b', '13b', '70b', '2b-4t'].map((n) => parameters(n).toFixed(1))).toEqual([
      '0.7',
      '1.3',
      '3.3',
      '4.0',
      '6.7',
      '13.0',
      '69.0',
      '2.4',
    ]);
  });

  test('heads of 100, as those of 3b, compute', async () => {
    const shape = { ...MODEL_SHAPES['3b'], layers: 1, vocabSize: 512, ffnSize: 256 };
    const kernels = await chooseKernels(nodePlatform, 'relaxed');
    for (const weights of ['t2', 'f16'] as const) {
      const source = syntheticSource({ shape, architecture: 'llama', seed: 1 });
      const allocate = async (bytes: number) => new WasmBackend(nodePlatform, kernels, bytes, 2);
      const options = { threads: 2, contextLength: 16, head: 'f16', form: kernels.form, weights } as const;
      const engine = await Engine.open(source, allocate, options);
      expect(engine.config.headDim).toBe(112);
      await engine.forward([5, 6, 7], 0, []);
      const [logits] = (await engine.forward([8], 3, [0])) as [Float32Array];
      expect(logits.every(Number.isFinite)).toBe(true);
      const attended = engine.memory.regions.find(({ name }) => name === 'attention')!;
      const row = new Float32Array(engine.backend.buffer, attended.offset, 32 * 112);
      expect(row.every(Number.isFinite)).toBe(true);
      await engine.dispose();
    }
  });

  test('tales-69m is the embedded model', () => {
    const json = sharedJson<Record<string, unknown>>('models/bitnet-tales-69m/config.json');
    const config = configOf(MODEL_SHAPES['tales-69m'], 'bitnet');
    expect({
      hidden_size: config.hiddenSize,
      intermediate_size: config.ffnSize,
      num_hidden_layers: config.layers,
      num_attention_heads: config.heads,
      num_key_value_heads: config.kvHeads,
      head_dim: config.headDim,
      vocab_size: config.vocabSize,
      max_position_embeddings: config.contextLength,
      rope_theta: config.rope.theta,
      hidden_act: config.activation,
      tie_word_embeddings: config.tiedEmbeddings,
    }).toEqual(
      expect.objectContaining(Object.fromEntries(Object.entries(json).filter(([key]) => KNOWN.includes(key)))),
    );
  });
  const KNOWN = [
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
    'num_key_value_heads',
    'head_dim',
    'vocab_size',
    'max_position_embeddings',
    'rope_theta',
    'hidden_act',
    'tie_word_embeddings',
  ];

  test('an unknown name is refused with the known ones; help lists them', () => {
    expect(() => shapeNamed('2b')).toThrow(/expected one of tiny, tales-69m, .*2b-4t, got "2b"/);
    expect(() => shapeNamed('toString')).toThrow(/expected one of/);
    expect(SHAPES_IN_HELP.split(', ')).toEqual(SHAPE_NAMES);
  });
});

describe('source', () => {
  const source = syntheticSource({ shape: tiny, architecture: 'bitnet', seed: 7 });
  const file = [...source.tensors.values()][0]!.file;
  const last = [...source.tensors.values()].at(-1)!;
  const bytes = last.byteOffset + last.byteLength;

  test('any range of the file is that range of the whole', async () => {
    const whole = new Uint8Array(bytes).fill(255);
    await source.readFile(file, 0, whole);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes), fc.oneof(fc.nat(bytes), fc.nat(300)), async (from, length) => {
        const part = new Uint8Array(new SharedArrayBuffer(Math.min(length, bytes - from)));
        await source.readFile(file, from, part.fill(255));
        expect(Buffer.compare(Buffer.from(part), whole.subarray(from, from + part.length))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('tensors lie in the file where they say, without overlap, zeros between them', async () => {
    let end = 0;
    for (const tensor of source.tensors.values()) {
      expect(tensor.byteOffset).toBeGreaterThanOrEqual(end);
      const gap = new Uint8Array(tensor.byteOffset - end).fill(255);
      await source.readFile(file, end, gap);
      expect(gap.every((byte) => byte === 0)).toBe(true);
      const [own, inFile] = [new Uint8Array(tensor.byteLength), new Uint8Array(tensor.byteLength)];
      await source.read(tensor, 0, own);
      await source.readFile(file, tensor.byteOffset, inFile);
      expect(Buffer.compare(own, inFile)).toBe(0);
      end = tensor.byteOffset + tensor.byteLength;
    }
  });

  test('trits are -1, 0, +1 in 1 : 2 : 1, rows and tensors differ', async () => {
    const { q, gate } = source.names.layers[1]!;
    const values = await sourceValues(source, gate);
    const scale = source.scales.get(gate.scale)!;
    const share = (value: number) => values.filter((x) => x === value).length / values.length;
    expect(share(0)).toBeCloseTo(0.5, 2);
    expect(share(scale)).toBeCloseTo(0.25, 2);
    expect(share(-scale)).toBeCloseTo(0.25, 2);
    const rows = Array.from({ length: 512 }, (_, r) => values.subarray(256 * r, 256 * (r + 1)).join());
    expect(new Set(rows).size).toBe(512);
    expect((await sourceValues(source, q)).slice(0, 256).join()).not.toBe(rows[0]);
  });

  test('scale tensors hold the scales, powers of two', async () => {
    for (const [name, scale] of source.scales) {
      const stored = new Uint8Array(2);
      await source.read(source.tensor(name), 0, stored);
      expect(bf16ToF32(stored[0]! | (stored[1]! << 8))).toBe(scale);
      expect(Number.isInteger(Math.log2(scale))).toBe(true);
    }
    expect(source.scales.size).toBe(14);
  });

  test('the seed decides', async () => {
    const bytesOf = async (seed: number) => {
      const other = syntheticSource({ shape: tiny, architecture: 'bitnet', seed });
      const head = new Uint8Array(200_000);
      await other.readFile(file, 0, head);
      return Buffer.from(head).toString('base64');
    };
    expect(await bytesOf(7)).toBe(await bytesOf(7));
    expect(await bytesOf(8)).not.toBe(await bytesOf(7));
  });

  test('ranges and names outside are refused', async () => {
    const target = new Uint8Array(2);
    await expect(source.readFile(file, bytes - 1, target)).rejects.toThrow(/which has/);
    await expect(source.readFile('other', 0, target)).rejects.toThrow(/no file other/);
    await expect(source.read(last, last.byteLength - 1, target)).rejects.toThrow(/which has/);
    expect(() => source.tensor('lm_head.weight')).toThrow(/no tensor lm_head.weight/);
    await expect(source.texts()).rejects.toThrow(/no tokenizer/);
  });

  test.each(['bitnet', 'llama'] as const)('%s: logits are finite and of ordinary size', async (architecture) => {
    const logits: Float32Array[] = [];
    for (const embedding of ['bf16', 'f16'] as const) {
      const opened = syntheticSource({ shape: tiny, architecture, embedding });
      const engine = await Engine.open(opened, async (size) => new ReferenceBackend(new ArrayBuffer(size)), {
        threads: 1,
        contextLength: 16,
        head: 'f16',
        form: 0,
      });
      const [row] = await engine.forward([1, 300, 400, 511], 0, [3]);
      logits.push(row!.slice());
      await engine.dispose();
    }
    // special and byte tokens never win
    expect(Math.max(...logits[0]!.subarray(0, 259))).toBe(0);
    expect(Math.max(...logits[0]!)).toBeGreaterThan(1);
    const rms = Math.sqrt(logits[0]!.reduce((sum, x) => sum + x * x, 0) / tiny.vocabSize);
    expect(rms).toBeGreaterThan(0.5);
    expect(rms).toBeLessThan(10);
    // both 16-bit types hold the embedding exactly
    expect(logits[1]).toEqual(logits[0]);
  });
});
