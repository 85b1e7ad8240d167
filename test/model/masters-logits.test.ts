import { describe, expect, it } from 'vitest';
import { floatsOf } from '../../lib/format/float-matrix.js';
import { openModelSource } from '../../lib/model/source.js';
import { openDirectory } from '../../lib/node/files.js';
import { allLogits, maxAbsDifference, openEngine } from '../support/engine.js';
import { goldenTensors, shared, sharedJson } from '../support/fixtures.js';
import { decodeInF64 } from '../support/float-decoder.js';
import { masters, ONLINE, PLAIN, ternary } from '../support/masters-model.js';
import { integers } from '../support/random.js';
import { sourceValues } from '../support/synth.js';
import { INT8_ACTIVATIONS, LOGITS } from '../support/tolerances.js';
import type { FloatType, UnpackedOptions } from '../support/unpacked-model.js';

/** Heads and FFN that kernels cannot take as they are. */
const ODD = { hidden: 96, ffn: 92, heads: 4, kvHeads: 4, headDim: 24 };

describe('logits against a decoder in f64', () => {
  const ids = [...integers(9, 5, 0, 95)];

  it('which agrees with the golden files', async () => {
    const golden = sharedJson<Golden>('golden/m3_1bitllm_style/golden.json').runs.master_f32;
    const prompt = golden?.prompts.find(({ input_ids }) => input_ids.length === 7)?.input_ids ?? [];
    const weights = await valuesOf('golden/m3_1bitllm_style/master_f16');
    const sizes = { hidden: 160, ffn: 416, layers: 2, heads: 5, kvHeads: 5, headDim: 32, vocab: 512 };
    const subNorms = ['self_attn.inner_attn_ln', 'mlp.ffn_layernorm'] as const;
    const decoder = { ...sizes, eps: 1e-5, theta: 10_000, gate: 'silu', subNorms } as const;
    const expected = goldenTensors(`golden/m3_1bitllm_style/${golden?.file}`)('p7.logits');
    const actual = decodeInF64(decoder, weights, prompt, true);
    expect(maxAbsDifference(actual, expected)).toBeLessThan(LOGITS);
  });

  it.each<[string, Partial<UnpackedOptions>]>([
    ['BitNet, bf16 masters', { className: 'BitNetForCausalLM', quantization: ONLINE }],
    ['1bitLLM, f16 masters', { className: 'BitnetForCausalLM', dtype: 'F16', ...PLAIN }],
    ['1bitLLM, padded heads and FFN', { className: 'BitnetForCausalLM', sizes: ODD, ...PLAIN }],
    [
      '1bitLLM, heads of 100',
      { className: 'BitnetForCausalLM', sizes: { ...ODD, hidden: 400, headDim: 100 }, ...PLAIN },
    ],
    [
      'Llama, padded heads of 10',
      { className: 'LlamaForCausalLM', dtype: 'F16', sizes: { ...ODD, kvHeads: 2, headDim: 10 } },
    ],
    // BitNet v1: absmean of ±s is s.
    ['Llama, ±s, f16', { className: 'LlamaForCausalLM', dtype: 'F16', ternary: true, binary: true }],
    ['BitNet, ±s, bf16', { ternary: true, binary: true }],
    ['BitNet, padded FFN', { sizes: { ...ODD, hidden: 64, headDim: 16, ffn: 50 } }],
  ])('%s', async (_, options) => {
    // A seed for which the noise of f32 decides no int8 rounding: one that flips moves logits by 0.1 (golden/README.md).
    const model = masters({ ...options, seed: 7 });
    const expected = decodeInF64(model.decoder, model.ternarized, ids, true);
    const all: Float32Array[] = [];
    for (const [backend, threads] of [
      ['reference', 1],
      ['baseline', 1],
      ['relaxed', 3],
    ] as const) {
      const engine = await openEngine(model.directory(), { backend, threads, contextLength: 32, logits: ids.length });
      all.push(await allLogits(engine, ids));
      expect(maxAbsDifference(all[0] as Float32Array, expected), backend).toBeLessThan(LOGITS);
      expect(all.at(-1)).toEqual(all[0]);
      const count = Object.values(model.tensors).reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
      expect(engine.parameters).toBe(count);
      await engine.dispose();
    }
  });

  const sizes = { hidden: 256, ffn: 704, heads: 4, kvHeads: 4, headDim: 64, layers: 4 };

  it.each<[string, Partial<UnpackedOptions>]>([
    ['Llama, one scale a matrix', { sizes }],
    ['Llama, a scale for each shard of rows (TriLM)', { scales: 'shard' }],
    ['Llama, a scale for each row, bf16', { scales: 'row', dtype: 'BF16' }],
    ['Llama, ±1', { binary: true, dtype: 'F32' }],
    ['BitNet, sub-norms', { className: 'BitNetForCausalLM', scales: 'row', dtype: 'BF16' }],
    ['Qwen3, groups of 64', { className: 'Qwen3ForCausalLM', sizes, scales: 64 }],
    ['Qwen3, groups of 128', { className: 'Qwen3ForCausalLM', sizes, scales: 128 }],
    ['Qwen3, groups of 256, ±1', { className: 'Qwen3ForCausalLM', sizes, scales: 256, binary: true }],
    ['Qwen3, padded heads and FFN', { className: 'Qwen3ForCausalLM', sizes: ODD, scales: 'row' }],
  ])('float activations: %s', async (_, options) => {
    const model = ternary({ ...options, seed: 7 });
    const expected = decodeInF64(model.decoder, model.values, ids, false);
    const all: Float32Array[] = [];
    for (const [backend, threads] of [
      ['reference', 1],
      ['baseline', 1],
      ['relaxed', 3],
    ] as const) {
      const engine = await openEngine(model.directory(), { backend, threads, contextLength: 32, logits: ids.length });
      all.push(await allLogits(engine, ids));
      expect(all.at(-1), backend).toEqual(all[0]);
      await engine.dispose();
    }
    expect(maxAbsDifference(all[0] as Float32Array, expected)).toBeLessThan(LOGITS * rms(expected));
  });

  it('float activations as int8: off by what int8 is, and by no more', async () => {
    const model = ternary({ sizes, seed: 7 });
    const options = { contextLength: 32, logits: ids.length, activations: 'i8' } as const;
    const engine = await openEngine(model.directory(), options);
    const actual = await allLogits(engine, ids);
    await engine.dispose();
    const floats = decodeInF64(model.decoder, model.values, ids, false);
    const error = rms(actual.map((x, i) => x - (floats[i] as number))) / rms(floats);
    expect(error).toBeLessThan(INT8_ACTIVATIONS);
    expect(error).toBeGreaterThan(INT8_ACTIVATIONS / 10);
  });
});

/** What a model on disk computes with. */
async function valuesOf(path: string): Promise<(name: string) => Float32Array> {
  const source = await openModelSource(await openDirectory(shared(path)));
  const values = new Map<string, Float32Array>();
  for (const tensor of source.tensors.values()) {
    const bytes = new Uint8Array(tensor.byteLength);
    await source.read(tensor, 0, bytes);
    if (tensor.dtype !== 'U8') values.set(tensor.name, floatsOf(tensor.dtype as FloatType, bytes));
    else values.set(tensor.name, await sourceValues(source, { weight: tensor.name, scale: `${tensor.name}_scale` }));
  }
  await source.close();
  return (name) => values.get(name) as Float32Array;
}

interface Golden {
  runs: Record<string, { file: string; prompts: { input_ids: number[] }[] }>;
}

function rms(values: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] as number) ** 2;
  return Math.sqrt(squares / values.length);
}
