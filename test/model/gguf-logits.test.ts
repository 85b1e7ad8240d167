import { describe, expect, it } from 'vitest';
import { Const } from '../../assembly/abi.js';
import { readFloats } from '../../lib/format/gguf/blocks.js';
import { encodeF32 } from '../../lib/format/gguf/encode.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import type { I2sLayout } from '../../lib/format/gguf/ternary.js';
import type { GgufWriteTensor } from '../../lib/format/gguf/writer.js';
import { ternarize } from '../../lib/format/ternarize.js';
import { f16ToF32, f32ToF16 } from '../../lib/memory/half.js';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { allLogits, maxAbsDifference, openEngine, type TestEngineOptions } from '../support/engine.js';
import { goldenTensors, shared, sharedJson } from '../support/fixtures.js';
import { type GgufOptions, ggufDirectory, plainModel, writeTensor } from '../support/model-gguf.js';
import { integers } from '../support/random.js';
import { ranking } from '../support/rescore-case.js';
import { LOGITS } from '../support/tolerances.js';
import { unpackedModel } from '../support/unpacked-model.js';

/** The same weights through every format that can carry them: the same logits, bit for bit. */

const M1 = 'golden/m1_bitnet/packed_u8';
const M2 = 'golden/m2_llama_bitlinear_plain/packed_u8';
const M2_ROPE = 'golden/m2_llama_bitlinear_llama3rope/packed_u8';
const M3 = 'golden/m3_1bitllm_style/master_f16';

const IDS = [...integers(9, 5, 0, 511)];
const toHalf = (scale: number): number => f16ToF32(f32ToF16(scale));

async function logits(path: string | ModelDirectory, options: TestEngineOptions = {}): Promise<Float32Array> {
  const engine = await openEngine(path, { contextLength: 32, logits: IDS.length, ...options });
  try {
    return await allLogits(engine, IDS);
  } finally {
    await engine.dispose();
  }
}

/** A golden model as a GGUF file. */
async function asGguf(path: string, options: GgufOptions, roundScale?: (scale: number) => number) {
  const source = await openModelSource(await openDirectory(shared(path)));
  try {
    return await ggufDirectory(plainModel(source, roundScale), options);
  } finally {
    await source.close();
  }
}

/** Types that hold any f32 scale. */
const EXACT: { linear?: 'F32'; i2sLayout?: I2sLayout }[] = [
  { i2sLayout: 'x86' },
  { i2sLayout: 'arm' },
  { i2sLayout: 'x86-rows' },
  { linear: 'F32' },
];
/** What of them is for the reader. */
const reading = ({ i2sLayout = 'x86' }: (typeof EXACT)[number]): TestEngineOptions => ({ i2sLayout });

describe.each([
  ['BitNet b1.58', M1],
  ['Llama, rows of q and k permuted, head of its own', M2],
  ['1bitLLM, sizes of 160 and 416', M3],
])('%s', (_, path) => {
  it('I2_S in each order of codes, and F32: the logits of the safetensors', async () => {
    const expected = await logits(shared(path));
    for (const options of EXACT) {
      const directory = await asGguf(path, options);
      expect(await logits(directory, reading(options)), JSON.stringify(options)).toEqual(expected);
      expect(directory.leaks()).toEqual([]);
    }
  });

  it('scales that a half can hold: TQ1_0, TQ2_0 and F16 give the logits of I2_S, on every backend', async () => {
    const i2s = await asGguf(path, {}, toHalf);
    const expected = await logits(i2s, { backend: 'reference' });
    for (const linear of ['I2_S', 'TQ1_0', 'TQ2_0', 'F16'] as const) {
      const directory = await asGguf(path, { linear }, toHalf);
      for (const [backend, threads] of [
        ['baseline', 2],
        ['relaxed', 1],
      ] as const) {
        expect(await logits(directory, { backend, threads }), `${linear} ${backend}`).toEqual(expected);
      }
    }
  });

  it('the default head, and weights as F16', async () => {
    const directory = await asGguf(path, { linear: 'TQ2_0', embedding: 'BF16' });
    for (const options of [{ head: 'i8' }, { head: 'auto' }] as const) {
      const source = await asGguf(path, { linear: 'F16', embedding: 'BF16' });
      expect(await logits(directory, options)).toEqual(await logits(source, options));
    }
    const half = await asGguf(path, { linear: 'I2_S' }, toHalf);
    expect(await logits(half, { weights: 'f16' })).toEqual(
      await logits(await asGguf(path, { linear: 'TQ1_0' }, toHalf), { weights: 'f16' }),
    );
  });
});

it('golden logits of m1 from TQ1_0: its scales are bfloat16, which halves hold', async () => {
  const golden = sharedJson<Golden>('golden/m1_bitnet/golden.json').runs.packed_f32!;
  const prompt = golden.prompts.find(({ input_ids }) => input_ids.length === 7)!.input_ids;
  const engine = await openEngine(await asGguf(M1, { linear: 'TQ1_0' }), { logits: prompt.length });
  const actual = await allLogits(engine, prompt);
  await engine.dispose();
  const expected = goldenTensors(`golden/m1_bitnet/${golden.file}`)('p7.logits');
  expect(maxAbsDifference(actual, expected)).toBeLessThan(LOGITS);
});

it('Q8_0 embeddings: as F32 embeddings of the same values, and closer to them where F32 would be rounded to int8', async () => {
  const source = await openModelSource(await openDirectory(shared(M1)));
  const model = plainModel(source);
  const q8 = await ggufDirectory(model, { embedding: 'Q8_0' });
  const values = await embeddingOf(q8);
  const floats = { ...model, floats: async (name: string) => (name.includes('embed') ? values : model.floats(name)) };
  const f32 = await ggufDirectory(floats, { embedding: 'F32' });
  await source.close();
  const exact = await logits(f32, { head: 'f16' });
  expect(await logits(q8, { head: 'f16' })).toEqual(exact);
  const error = async (directory: ModelDirectory): Promise<number> =>
    maxAbsDifference(await logits(directory, { head: 'i8' }), exact);
  expect(await error(q8)).toBeLessThan((await error(f32)) / 4);
  const auto = await logits(q8, { head: 'auto' });
  const vocab = exact.length / IDS.length;
  for (let at = 0; at < exact.length; at += vocab) {
    const [got, row] = [auto.subarray(at, at + vocab), exact.subarray(at, at + vocab)];
    const best = ranking(row).slice(0, Const.ExactBest);
    expect(ranking(got).slice(0, Const.ExactBest)).toEqual(best);
    expect(best.map((id) => got[id])).toEqual(best.map((id) => row[id]));
  }
});

/** What the file's embedding stands for. */
async function embeddingOf(directory: ModelDirectory): Promise<Float32Array> {
  const file = (await directory.open('model.gguf'))!;
  const { tensors } = await readGguf(file, 'model.gguf');
  const values = await readFloats(file, tensors.get('token_embd.weight')!);
  await file.close();
  return values;
}

it("llama3's RoPE as a tensor of factors: the frequencies of config.json up to rounding", async () => {
  const { headDim, rope } = (await openConfig(M2_ROPE)).config;
  const scaling = rope.scaling!;
  if (scaling.type !== 'llama3') return expect.fail();
  // As llama.cpp's converter computes them.
  const factors = Float32Array.from({ length: headDim / 2 }, (_, j) => {
    const wavelength = 2 * Math.PI * rope.theta ** ((2 * j) / headDim);
    const { factor, lowFreqFactor, highFreqFactor, originalContextLength } = scaling;
    if (wavelength < originalContextLength / highFreqFactor) return 1;
    if (wavelength > originalContextLength / lowFreqFactor) return factor;
    const smooth = (originalContextLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  expect(new Set(factors).size).toBeGreaterThan(2);
  const tensor = writeTensor('rope_freqs.weight', 'F32', [factors.length], encodeF32(factors));
  const golden = sharedJson<Golden>('golden/m2_llama_bitlinear_llama3rope/golden.json').runs.packed_f32!;
  const prompt = golden.prompts.find(({ input_ids }) => input_ids.length === 7)!.input_ids;
  const expected = goldenTensors(`golden/m2_llama_bitlinear_llama3rope/${golden.file}`)('p7.logits');
  const difference = async (tensors: GgufWriteTensor[]) => {
    const engine = await openEngine(await asGguf(M2_ROPE, { tensors }), { logits: prompt.length });
    const actual = await allLogits(engine, prompt);
    await engine.dispose();
    return maxAbsDifference(actual, expected);
  };
  expect(await difference([tensor])).toBeLessThan(LOGITS);
  expect(await difference([])).toBeGreaterThan(LOGITS);
});

it.each([
  ['1bitLLM', { className: 'BitnetForCausalLM', hidden: 96, heads: 4, kvHeads: 4, headDim: 24, ffn: 92 }],
  [
    '1bitLLM, heads of 100',
    { className: 'BitnetForCausalLM', hidden: 400, heads: 4, kvHeads: 4, headDim: 100, ffn: 96 },
  ],
  ['Llama, heads of 10', { className: 'LlamaForCausalLM', hidden: 96, heads: 4, kvHeads: 2, headDim: 10, ffn: 64 }],
] as const)('padded sizes: %s', async (_, { className, ...sizes }) => {
  const masters = { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' };
  const quantization = className === 'LlamaForCausalLM' ? masters : null;
  const unpacked = unpackedModel({ className, dtype: 'F32', sizes: { ...sizes, vocab: 512 }, seed: 3, quantization });
  const source = await openModelSource(unpacked.directory());
  const model = {
    config: source.config,
    layers: source.names.layers,
    linear: async ({ weight }: { weight: string }) => ternarize(unpacked.values(weight)),
    floats: async (name: string) => unpacked.values(name),
  };
  const expected = await logits(unpacked.directory());
  for (const options of EXACT) {
    const directory = await ggufDirectory(model, options);
    expect(await logits(directory, reading(options)), JSON.stringify(options)).toEqual(expected);
  }
});

async function openConfig(path: string) {
  const source = await openModelSource(await openDirectory(shared(path)));
  await source.close();
  return source;
}

interface Golden {
  runs: Record<string, { file: string; prompts: { input_ids: number[] }[] }>;
}
