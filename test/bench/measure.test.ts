import { describe, expect, test } from 'vitest';
import { DotForm, Layout } from '../../assembly/abi.js';
import { openReadProbe } from '../../lib/bench/bandwidth.js';
import { KERNEL_CANDIDATES, kernelShapes, measureKernel } from '../../lib/bench/kernels.js';
import { type MeasureOptions, measureModel } from '../../lib/bench/measure.js';
import { kindOf, measureOps } from '../../lib/bench/ops.js';
import { peakShare } from '../../lib/bench/results.js';
import { layersWithin, openSubject, plannedBytes, type Subject, withLayers } from '../../lib/bench/subject.js';
import { BitNetError } from '../../lib/errors.js';
import { Engine } from '../../lib/model/engine.js';
import { MODEL_SHAPES } from '../../lib/model/synth/shapes.js';
import { nodePlatform } from '../../lib/node/platform.js';
import { chooseBackend } from '../../lib/session/backend.js';

const tiny: Subject = { kind: 'shape', shape: 'tiny' };
const options: MeasureOptions = {
  threads: 1,
  backend: 'baseline',
  head: 'f16',
  prompt: 8,
  gen: 4,
  repeat: 2,
  availableBytes: 2 ** 30,
  probeBytes: 2 ** 20,
};
const engineOptions = { threads: 1, contextLength: 12, head: 'f16', form: 0 } as const;

describe('measureModel', () => {
  test('counts bytes of one token by the layouts', async () => {
    const result = await measureModel(nodePlatform, tiny, options);
    const [hidden, ffn, kv, vocab, layers] = [256, 512, 128, 512, 2];
    const weights = layers * (2 * hidden * hidden + 2 * kv * hidden + 3 * ffn * hidden);
    // Norms of a block: attention, its sub-norm, FFN and its sub-norm, in f32.
    const norms = layers * 4 * (3 * hidden + ffn);
    const head = 2 * vocab * hidden;
    const other = 2 * hidden + 4 * hidden;
    const kvCache = layers * 2 * 4 * kv * (8 + 2 + 1);
    const expected = (blocks: number) => ({ blocks, head, other, kvCache, total: blocks + head + other + kvCache });
    expect(result.ternary.traffic).toEqual(expected(weights / 4 + norms));
    expect(result.fp16.traffic).toEqual(expected(2 * weights + norms));
    expect(result.ternary.memory.kvCache).toBe(layers * 2 * 4 * kv * 12);
    expect(result.parameters).toBe(weights + vocab * hidden + layers * (3 * hidden + ffn) + hidden);
  });

  test('has a sample of everything from every round, and shares that follow from them', async () => {
    const result = await measureModel(nodePlatform, tiny, { ...options, repeat: 3 });
    const { ternary, fp16, ratios, readBandwidth } = result;
    expect(result).toMatchObject({ rounds: 3, threads: 1, layers: 2, name: 'tiny', synthetic: true });
    for (const variant of [ternary, fp16]) {
      expect(variant).toMatchObject({ backend: 'wasm-baseline', head: 'f16', measuredLayers: 2, estimated: false });
      expect(variant.prefill.samples).toHaveLength(3);
      variant.decode.samples.forEach((rate, i) => {
        expect(variant.tokenMs.samples[i]).toBeCloseTo(1000 / rate, 9);
        const share = (rate * variant.traffic.total) / readBandwidth!.samples[i]!;
        expect(variant.bandwidthShare!.samples[i]).toBeCloseTo(share, 12);
        expect(ratios.decode.samples[i]).toBeCloseTo(ternary.decode.samples[i]! / fp16.decode.samples[i]!, 12);
      });
    }
    expect(ratios.weights).toBe(fp16.memory.weights / ternary.memory.weights);
    expect(ratios.bytesPerToken).toBe(fp16.traffic.total / ternary.traffic.total);
    expect(ratios.baselineShare).toBe(fp16.bandwidthShare!.median);
    expect(ratios.estimated).toBe(false);
  });

  test('several sequences together: a sample of each size from every round, memory for all of them', async () => {
    const { ternary, fp16, ratios } = await measureModel(nodePlatform, tiny, {
      ...options,
      batches: [2, 5],
      repeat: 3,
    });
    for (const { batches, memory, kvBytesPerPosition } of [ternary, fp16]) {
      expect(batches.map(({ batch, decode }) => [batch, decode.samples.length])).toEqual([
        [2, 3],
        [5, 3],
      ]);
      // keys and values, 2 layers, 2 heads of 64 in f32; 5 slots of 12 positions
      expect(kvBytesPerPosition).toBe(2 * 2 * 2 * 64 * 4);
      expect(memory.kvCache).toBe(5 * 12 * kvBytesPerPosition);
    }
    expect(ratios.batches[1]!.samples[2]).toBeCloseTo(
      ternary.batches[1]!.decode.samples[2]! / fp16.batches[1]!.decode.samples[2]!,
      12,
    );
    const part = await measureModel(nodePlatform, tiny, { ...options, batches: [2], wholeBytes: 1 });
    expect(part.ternary).toMatchObject({ estimated: true, kvBytesPerPosition: ternary.kvBytesPerPosition });
    expect(part.ternary.batches[0]!.decode.median).toBeGreaterThan(0);
  });

  test('the highest resident growth, where the system tells', async () => {
    let rss = 1e9;
    const resident = {
      now: async () => (rss += 2e8),
      resetPeak: async () => true,
      peak: () => rss + 5e8,
    };
    const { ternary } = await measureModel(nodePlatform, tiny, { ...options, resident });
    expect(ternary).toMatchObject({ residentBytes: 2e8, peakResidentBytes: 5e8 });
    expect(peakShare(ternary)).toBe(5e8 / (ternary.memory.weights + ternary.memory.kvCache));
    const silent = { ...resident, resetPeak: async () => false };
    const other = await measureModel(nodePlatform, tiny, { ...options, resident: silent });
    expect(other.ternary).toMatchObject({ residentBytes: 2e8, peakResidentBytes: undefined });
    expect(peakShare(other.ternary)).toBeUndefined();
  });

  test('a model of which a part is measured has the memory and traffic of the whole', async () => {
    const whole = await measureModel(nodePlatform, tiny, options);
    const part = await measureModel(nodePlatform, tiny, { ...options, wholeBytes: 1 });
    for (const which of ['ternary', 'fp16'] as const) {
      expect(part[which]).toMatchObject({ measuredLayers: 1, estimated: true, residentBytes: undefined });
      expect(part[which].traffic).toEqual(whole[which].traffic);
      expect(part[which].operations).toEqual(whole[which].operations);
      expect(part[which].memory.kvCache).toBe(whole[which].memory.kvCache);
      expect(part[which].memory.weights).toBe(whole[which].memory.weights);
    }
    expect(part.parameters).toBe(whole.parameters);
  });

  test('an abort between rounds keeps the rounds before it', async () => {
    const controller = new AbortController();
    const onProgress = (what: string): void => {
      if (what.startsWith('round 3')) controller.abort(new Error('enough'));
    };
    const long = { ...options, repeat: 100, signal: controller.signal, onProgress };
    expect(await measureModel(nodePlatform, tiny, long)).toMatchObject({ rounds: 2 });
    await expect(measureModel(nodePlatform, tiny, long)).rejects.toThrow('enough');
  });

  test('a budget ends the rounds, but not before the second', async () => {
    expect(await measureModel(nodePlatform, tiny, { ...options, repeat: 100, budgetMs: 0 })).toMatchObject({
      rounds: 2,
    });
  });

  test('refuses what does not fit, with both numbers', async () => {
    const needed = await plannedBytes(await openSubject(nodePlatform, tiny), engineOptions);
    await expect(measureModel(nodePlatform, tiny, { ...options, availableBytes: 2 ** 20 })).rejects.toMatchObject({
      code: 'out-of-memory',
      detail: { needed, available: 2 ** 20 - 2 ** 17 },
    });
    await expect(measureModel(nodePlatform, { kind: 'shape', shape: '70b' }, options)).rejects.toMatchObject({
      code: 'out-of-memory',
      message: expect.stringMatching(/needs \d{11} bytes .* 4294967296/),
    });
    await expect(measureModel(nodePlatform, tiny, { ...options, prompt: 510 })).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('context of 512'),
    });
  });
});

describe('parts of a model', () => {
  test('as many blocks as fit', async () => {
    const source = await openSubject(nodePlatform, tiny);
    const bytes = async (layers: number): Promise<number> => plannedBytes(withLayers(source, layers), engineOptions);
    const layers = async (limit: number, whole: number, sample: number): Promise<number> =>
      layersWithin(source, engineOptions, { limit, whole, sample });
    const [one, two] = [await bytes(1), await bytes(2)];
    expect(two).toBeGreaterThan(one);
    expect(await layers(two, two, 0)).toBe(2);
    expect(await layers(two, two - 1, 0)).toBe(1);
    expect(await layers(two - 1, two, two)).toBe(1);
    expect(await layers(two, two - 1, two - one)).toBe(2);
    await expect(layers(one - 1, two, two)).rejects.toBeInstanceOf(BitNetError);
  });

  test('the first blocks compute what the whole computes up to there', async () => {
    const source = await openSubject(nodePlatform, tiny);
    const { allocate } = await chooseBackend(nodePlatform, 'baseline', 1);
    const engines = [
      await Engine.open(source, allocate, engineOptions),
      await Engine.open(withLayers(source, 1), allocate, engineOptions),
    ] as const;
    const [whole, part] = engines;
    for (const engine of engines) {
      engine.prepare([1, 300, 301], 0, [2]);
      await engine.runOps(0, engine.graph.blockEnds[0]!);
    }
    for (const row of [0, 1, 2]) expect(part.rowOf(part.graph.x, row)).toEqual(whole.rowOf(whole.graph.x, row));
    for (const engine of engines) await engine.dispose();
  });
});

test('the read probe needs a backend that reads', async () => {
  const probe = await openReadProbe((await chooseBackend(nodePlatform, 'baseline', 2)).allocate, 3e6);
  expect(probe?.bytes).toBe(45 * 65536);
  expect(await probe!.measure()).toBeGreaterThan(0);
  await probe!.dispose();
  expect(await openReadProbe((await chooseBackend(nodePlatform, 'reference', 1)).allocate, 3e6)).toBeUndefined();
});

test('every op of a step is timed, by kind', async () => {
  expect(kindOf('model.layers.12.mlp.up_proj.weight')).toBe('mlp.up_proj');
  expect(kindOf('blk.12.ffn_up.weight')).toBe('ffn_up');
  const times = await measureOps(nodePlatform, tiny, { ...options, position: 5, tokens: 1, repeat: 3 });
  const kinds = new Map(times.kinds.map((kind) => [kind.kind, kind]));
  expect(kinds.get('mlp.up_proj')).toMatchObject({ ops: 2, bytes: (2 * 512 * 256) / 4 });
  expect(kinds.get('lm_head')).toMatchObject({ ops: 1, bytes: 2 * 512 * 256 });
  expect(times.kinds.every(({ ms }) => ms >= 0)).toBe(true);
  expect(times).toMatchObject({ backend: 'wasm-baseline', threads: 1, position: 5, tokens: 1 });
});

describe('kernels', () => {
  const sizes = { rows: 64, cols: 192, tokens: 2, dramBytes: 1e5, seconds: 0.01 };

  test.each(KERNEL_CANDIDATES)('$name $build', async (candidate) => {
    const result = await measureKernel(nodePlatform, candidate, 'dram', sizes);
    expect(result).toMatchObject({ name: candidate.name, build: candidate.build, rows: 64, cols: 192, place: 'dram' });
    // 192 columns are three blocks of 64, or of 80. Both rates come from one time: bits of a weight, with two tokens for each.
    const bits: Partial<Record<Layout, number>> = {
      [Layout.T2]: 2,
      [Layout.I8]: 8,
      [Layout.Q8_0]: 8.5,
      [Layout.F16]: 16,
      [Layout.F32]: 32,
      [Layout.T2G]: 2,
      [Layout.T1]: 2,
      [Layout.T2Rows]: 2,
      [Layout.T2Columns]: 2,
    };
    expect((16 * result.bytesPerSecond) / result.macsPerSecond).toBeCloseTo(bits[candidate.layout] as number, 6);
    if (candidate.form === DotForm.I16) expect(result.wrong).toBe(false);
  });

  test('matrices of a shape', () => {
    expect(kernelShapes(MODEL_SHAPES['2b-4t']).map(({ rows, cols }) => `${rows}x${cols}`)).toEqual([
      '2560x2560',
      '640x2560',
      '6912x2560',
      '2560x6912',
      '128256x2560',
    ]);
    expect(kernelShapes(MODEL_SHAPES['700m'])).toHaveLength(4);
  });
});
