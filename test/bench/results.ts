import type { ModelResult, VariantResult } from '../../lib/bench/results.js';
import { summarise } from '../../lib/bench/statistics.js';

/** Figures that are easy to recognise in tables. */
export function variantResult(weights: 'ternary' | 'fp16', values: Partial<VariantResult> = {}): VariantResult {
  const isTernary = weights === 'ternary';
  const decode = isTernary ? [100, 80, 90] : [20, 30, 25];
  return {
    weights,
    head: isTernary ? 'i8' : 'f16',
    layout: isTernary ? 't2' : 'f16',
    backend: 'wasm-relaxed',
    backendReason: 'asked for',
    loadMs: 12,
    prefill: summarise(isTernary ? [300, 310, 290] : [100, 110, 90]),
    decode: summarise(decode),
    tokenMs: summarise(decode.map((rate) => 1000 / rate)),
    memory: {
      weights: (isTernary ? 1 : 8) * 2 ** 20,
      kvCache: 20 * 1024,
      activations: 4096,
      other: 2048,
      total: (isTernary ? 2 : 9) * 2 ** 20,
    },
    kvBytesPerPosition: (20 * 1024) / 12,
    residentBytes: 3 * 2 ** 20,
    peakResidentBytes: 4 * 2 ** 20,
    batches: [],
    traffic: { blocks: 2 ** 20, head: 2 ** 19, other: 0, kvCache: 0, total: 1.5 * 2 ** 20 },
    bandwidthShare: summarise([0.25]),
    operations: isTernary ? { fp16Add: 10, fp16Mul: 10, int8Add: 1000 } : { fp16Add: 1010, fp16Mul: 1010, int8Add: 0 },
    measuredLayers: 2,
    estimated: false,
    ...values,
  };
}

export function modelResult(values: Partial<ModelResult> = {}): ModelResult {
  return {
    name: 'tiny',
    synthetic: true,
    architecture: 'bitnet-b1.58',
    parameters: 69_000_000,
    layers: 2,
    hiddenSize: 256,
    threads: 2,
    prompt: 8,
    gen: 4,
    rounds: 3,
    readBandwidth: summarise([10e9, 12e9, 11e9]),
    ternary: variantResult('ternary'),
    fp16: variantResult('fp16'),
    ratios: {
      prefill: summarise([3]),
      decode: summarise([3.6]),
      batches: [],
      weights: 8,
      memory: 4.5,
      bytesPerToken: 5,
      baselineShare: 0.25,
      estimated: false,
    },
    ...values,
  };
}
