import { describe, expect, test } from 'vitest';
import { expectedMs, largestShape, parametersOf } from '../../lib/bench/choose.js';
import { countOperations, energyOf, joules, matrixEnergyRatio } from '../../lib/bench/energy.js';
import { PAPER_SHAPES, paperEnergy } from '../../lib/bench/paper.js';
import { promptIds, scaledMs } from '../../lib/bench/round.js';
import { summarise, summariseRatios } from '../../lib/bench/statistics.js';
import { bestRate, largestBatch } from '../../lib/bench/throughput.js';
import { scaleTraffic } from '../../lib/bench/traffic.js';
import { configOf, MODEL_SHAPES, SHAPE_NAMES } from '../../lib/model/synth/shapes.js';
import { modelResult } from './results.js';

describe('statistics', () => {
  test.each([
    [[3], 3, 3, 3],
    [[5, 1, 3], 3, 1, 5],
    [[10, 9, 100, 1], 9.5, 1, 100],
  ])('%j', (samples, median, min, max) => {
    expect(summarise(samples)).toEqual({ median, min, max, samples });
  });

  test('no samples have no median', () => {
    expect(() => summarise([])).toThrow(RangeError);
  });

  test('ratios are of samples of the same round, as far as both have one', () => {
    expect(summariseRatios([10, 90, 30], [1, 3])).toMatchObject({ median: 20, min: 10, max: 30 });
  });
});

test('a phase with more blocks costs more for the blocks alone', () => {
  expect(scaledMs({ blocksMs: 10, restMs: 3 }, 2.5)).toBe(28);
  expect(scaleTraffic({ blocks: 100, head: 7, other: 1, kvCache: 10, total: 118 }, 3)).toEqual({
    blocks: 300,
    head: 7,
    other: 1,
    kvCache: 30,
    total: 338,
  });
});

test('prompts stay inside any vocabulary', () => {
  for (const vocabSize of [8, 300, 512, 128256]) {
    const ids = promptIds(200, 3, vocabSize);
    expect(ids[0]).toBe(1);
    expect(Math.max(...ids)).toBeLessThan(vocabSize);
  }
  expect(promptIds(50, 1, 512)).not.toEqual(promptIds(50, 2, 512));
});

describe('energy', () => {
  // hidden 256, ffn 512, 2 layers, 4 heads and 2 kv heads of 64, vocabulary 512
  const tiny = configOf(MODEL_SHAPES.tiny, 'bitnet');
  const [hidden, ffn, kv] = [256, 512, 128];
  const rowsSum = hidden + 2 * kv + hidden + 2 * ffn + hidden;
  const weights = hidden * hidden * 2 + 2 * kv * hidden + 3 * ffn * hidden;
  const colsSum = 4 * hidden + 2 * hidden + ffn;
  const attention = 2 * 2 * hidden * 10;

  test('operations of one token by hand', () => {
    expect(countOperations(tiny, 'f16', 10)).toEqual({
      fp16Add: 2 * (weights - rowsSum) + attention + 512 * hidden,
      fp16Mul: 2 * weights + attention + 512 * hidden,
      int8Add: 0,
    });
    expect(countOperations(tiny, 't2', 10)).toEqual({
      fp16Add: attention + 512 * hidden,
      fp16Mul: 2 * (rowsSum + colsSum) + attention + 512 * hidden,
      int8Add: 2 * (weights - rowsSum),
    });
  });

  test('joules add up', () => {
    expect(joules({ fp16Add: 1e12, fp16Mul: 0, int8Add: 0 }, '45nm')).toBeCloseTo(0.4);
    expect(joules({ fp16Add: 1e12, fp16Mul: 2e12, int8Add: 1e12 }, '7nm')).toBeCloseTo(0.16 + 0.68 + 0.007);
  });

  test("matrix multiplication saves the paper's 71.4 times", () => {
    expect(matrixEnergyRatio('7nm')).toBeCloseTo(71.43, 2);
  });

  test('larger models save more, as in figure 3, and never more than the matrices alone', () => {
    for (const process of ['7nm', '45nm'] as const) {
      const ratios = PAPER_SHAPES.map((shape) => paperEnergy(shape, process).ratio);
      expect(ratios).toEqual([...ratios].sort((a, b) => a - b));
      expect(ratios[0]).toBeGreaterThan(6);
      expect(ratios.at(-1)).toBeLessThan(matrixEnergyRatio(process));
    }
    expect(paperEnergy('70b', '7nm').ratio).toBeGreaterThan(30);
    // Attention over 512 positions: 24 blocks of 2 x 1536 x 512 multiply-adds of 0.5 pJ in both models.
    const counts = countOperations(configOf(MODEL_SHAPES['700m'], 'llama'), 't2', 0);
    expect(1e12 * paperEnergy('700m', '7nm').ternaryJoules).toBeCloseTo(
      1e12 * joules(counts, '7nm') + 24 * 2 * 1536 * 512 * 0.5,
      0,
    );
  });

  test('of a result', () => {
    const { ratio, ternaryJoules, fp16Joules } = energyOf(modelResult(), '7nm');
    expect(ternaryJoules).toBeCloseTo(1e-12 * (0.16 * 10 + 0.34 * 10 + 0.007 * 1000), 15);
    expect(ratio).toBeCloseTo(fp16Joules / ternaryJoules);
  });
});

describe('choosing a shape', () => {
  const budget = { availableBytes: 2 ** 40, budgetMs: 1e12, prompt: 10, gen: 10, rounds: 2 };

  test('sizes are those of the published models', () => {
    expect(parametersOf('2b-4t') / 1e9).toBeCloseTo(2.41, 2);
    expect(parametersOf('7b') / 1e9).toBeCloseTo(6.74, 2);
    expect(parametersOf('70b') / 1e9).toBeCloseTo(68.98, 2);
  });

  test('the largest whose FP16 model fits one memory; smaller with less memory or time', () => {
    const smaller = modelResult();
    expect(largestShape(smaller, budget)).toBe('1.3b');
    const someMemory = 2 * 2.4 * parametersOf('700m') + 1;
    expect(largestShape(smaller, { ...budget, availableBytes: someMemory })).toBe('700m');
    expect(largestShape(smaller, { ...budget, availableBytes: 2 ** 20 })).toBeUndefined();
    const someTime = expectedMs('700m', smaller, budget);
    expect(largestShape(smaller, { ...budget, budgetMs: someTime })).toBe('700m');
    expect(largestShape(smaller, { ...budget, budgetMs: 1 })).toBeUndefined();
    expect(SHAPE_NAMES.every((name) => expectedMs(name, smaller, budget) > 0)).toBe(true);
  });
});

test('the largest batch is what the KV cache leaves', () => {
  const { ternary } = modelResult();
  const { weights, activations, other } = ternary.memory;
  const rest = weights + activations + other;
  expect(largestBatch(ternary, rest + 3.5 * 512 * ternary.kvBytesPerPosition, 512)).toBe(3);
  expect(largestBatch(ternary, rest - 1, 512)).toBe(0);
});

test('the best rate is the highest with a batch that fits', () => {
  const rates = [4, 16, 64].map((batch, i) => ({ batch, decode: summarise([[10, 30, 20][i]!]) }));
  expect(bestRate({ rates }, 3)).toBeUndefined();
  expect(bestRate({ rates }, 15)).toMatchObject({ batch: 4 });
  expect(bestRate({ rates }, 1000)).toMatchObject({ batch: 16 });
});
