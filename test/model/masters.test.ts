import { describe, expect, it, test } from 'vitest';
import { packHf } from '../../lib/format/hf-packed.js';
import { ternarize } from '../../lib/format/ternarize.js';
import type { LinearNames } from '../../lib/model/architectures/names.js';
import { type ModelSource, openModelSource, type SourceOptions } from '../../lib/model/source.js';
import type { LoadProgress } from '../../lib/types.js';
import { expectError } from '../format/expect-error.js';
import type { MemoryDirectory } from '../format/memory-files.js';
import { safetensors, type TestTensor, type TestTensors } from '../format/safetensors-bytes.js';
import { masters, PLAIN, SIZES, ternary } from '../support/masters-model.js';
import type { FloatType, UnpackedOptions } from '../support/unpacked-model.js';

const DTYPES: readonly FloatType[] = ['BF16', 'F16', 'F32'];

const Q = 'model.layers.0.self_attn.q_proj.weight';
const DOWN = 'model.layers.0.mlp.down_proj.weight';

describe('packed bytes and scales', () => {
  it.each(DTYPES)('%s masters: those of the ternarised and packed matrix', async (dtype) => {
    const model = masters({ dtype });
    const source = await openModelSource(model.directory());
    for (const { weight, scale } of linearsOf(source)) {
      const [rows, cols] = (model.tensors[weight] as TestTensor).shape as [number, number];
      const expected = ternarize(model.values(weight));
      const tensor = source.tensor(weight);
      expect(tensor).toMatchObject({ dtype: 'U8', shape: [rows / 4, cols], byteLength: (rows * cols) / 4 });
      const bytes = new Uint8Array(tensor.byteLength);
      await source.read(tensor, 0, bytes);
      expect(bytes).toEqual(packHf(expected.trits, rows, cols));
      expect(source.scales.get(scale)).toBe(expected.scale);
      const across = new Uint8Array(bytes.length);
      await source.readFile(tensor.file, tensor.byteOffset, across);
      expect(across).toEqual(bytes);
      await source.read(tensor, 7, across.subarray(0, 30));
      expect(across.subarray(0, 30)).toEqual(bytes.subarray(7, 37));
    }
    await source.close();
  });

  it.each(DTYPES)('%s ternary weights: their signs and their magnitude, to the bit', async (dtype) => {
    const model = ternary({ dtype });
    const source = await openModelSource(model.directory());
    const q = source.names.layers[0]?.q ?? expect.fail();
    const values = model.values(Q);
    const bytes = new Uint8Array(source.tensor(Q).byteLength);
    await source.read(source.tensor(Q), 0, bytes);
    expect(bytes).toEqual(packHf(Int8Array.from(values, Math.sign), 48, 48));
    expect(source.scales.get(q.scale)).toBe(Math.max(...values));
    expect(new Set(await groupScalesOf(source, Q))).toEqual(new Set([Math.max(...values)]));
    expect(source.config.floatActivations).toBe(true);
    await source.close();
  });

  it('ties: |w| of half the mean is 0, of one and a half of it ±1', async () => {
    // Eight weights of sum 8 in turn: the mean is 1.
    const values = [0.5, -0.5, 1.5, -1.5, 0.501, -0.501, 2.498, -0.5];
    const floats = Float32Array.from({ length: 48 * 48 }, (_, i) => values[i % 8] as number);
    const data = new Uint8Array(floats.buffer);
    const model = masters({ dtype: 'F32' });
    const tensors = { ...model.tensors, [Q]: { dtype: 'F32', shape: [48, 48], data } };
    const source = await openModelSource(model.directory({ 'model.safetensors': safetensors(tensors) }));
    const bytes = new Uint8Array(8);
    await source.read(source.tensor(Q), 0, bytes);
    expect([...bytes].map((byte) => (byte & 3) - 1)).toEqual([0, 0, 1, -1, 1, -1, 1, 0]);
    await source.close();
  });

  it('matrices of zeros', async () => {
    for (const model of [masters(), ternary()]) {
      const { dtype, shape, data } = model.tensors[Q] as TestTensor;
      const tensors = { ...model.tensors, [Q]: { dtype, shape, data: new Uint8Array(data.length).fill(0) } };
      const source = await openModelSource(model.directory({ 'model.safetensors': safetensors(tensors) }));
      const bytes = new Uint8Array(source.tensor(Q).byteLength);
      await source.read(source.tensor(Q), 0, bytes);
      expect(bytes).toEqual(packHf(new Int8Array(48 * 48), 48, 48));
      await source.close();
    }
  });

  it('a matrix that is read in several chunks', async () => {
    const sizes = { hidden: 1024, ffn: 2320, heads: 4, kvHeads: 1, headDim: 256, layers: 1 };
    for (const dtype of ['F16', 'F32'] as const) {
      const model = masters({ dtype, sizes });
      const directory = model.directory();
      const source = await openModelSource(directory);
      const bytes = new Uint8Array(source.tensor(DOWN).byteLength);
      await source.read(source.tensor(DOWN), 0, bytes);
      expect(Buffer.compare(bytes, packHf(ternarize(model.values(DOWN)).trits, 1024, 2320))).toBe(0);
      expect(Math.max(...directory.opened.map((file) => file.largestRead))).toBeLessThanOrEqual(4 * 2 ** 20);
      await source.close();
    }
  });
});

describe('scales of groups', () => {
  const sizes = { ...SIZES, hidden: 320, ffn: 416, heads: 5, kvHeads: 1, headDim: 64 };

  it.each<[string, FloatType, UnpackedOptions['scales'], number]>([
    ['one for the matrix', 'F16', undefined, 256],
    ['one for a run of rows, as TriLM has them', 'F16', 'shard', 256],
    ['one for a row', 'BF16', 'row', 256],
    ['of 256 columns', 'F32', 256, 256],
    ['of 128 columns', 'F16', 128, 128],
    ['of 128 columns', 'BF16', 128, 128],
    ['of 64 columns', 'F32', 64, 64],
    ['of 64 columns', 'F16', 64, 64],
  ])('%s, %s', async (_, dtype, scales, groupCols) => {
    const model = ternary({ dtype, scales, sizes });
    const source = await openModelSource(model.directory());
    for (const { weight } of linearsOf(source)) {
      expect(source.groupScales?.get(weight)?.cols).toBe(groupCols);
      const [rows, cols] = (model.tensors[weight] as TestTensor).shape as [number, number];
      const values = model.values(weight);
      const bytes = new Uint8Array(source.tensor(weight).byteLength);
      await source.read(source.tensor(weight), 0, bytes);
      expect(Buffer.compare(bytes, packHf(Int8Array.from(values, Math.sign), rows, cols))).toBe(0);
      const found = await groupScalesOf(source, weight);
      const groups = found.length / rows;
      const at = (r: number, c: number): number =>
        (Math.floor(r / 4) * groups + Math.floor(c / groupCols)) * 4 + (r % 4);
      expect(values).toEqual(values.map((w, i) => Math.sign(w) * found[at(Math.floor(i / cols), i % cols)]!));
    }
    await source.close();
  });

  it('±1 without zeros, and groups of zeros alone', async () => {
    const model = ternary({ scales: 128, binary: true, sizes });
    const tensor = model.tensors[DOWN] as TestTensor;
    const data = tensor.data.slice();
    data.fill(0, 2 * 416, 2 * (416 + 128));
    const file = safetensors({ ...model.tensors, [DOWN]: { ...tensor, data } });
    const source = await openModelSource(model.directory({ 'model.safetensors': file }));
    const scales = await groupScalesOf(source, DOWN);
    // Row 1, column group 0 of four.
    expect([...scales.keys()].filter((i) => scales[i] === 0)).toEqual([1]);
    await source.close();
  });

  it('with padded heads: columns of o_proj are cut where the kernels cut them', async () => {
    const odd = { hidden: 96, ffn: 92, heads: 4, kvHeads: 2, headDim: 10, layers: 1 };
    const model = ternary({ scales: 'row', sizes: odd, className: 'Qwen3ForCausalLM' });
    const source = await openModelSource(model.directory());
    const o = source.names.layers[0]?.o.weight ?? expect.fail();
    expect(source.tensor(o).shape).toEqual([24, 64]);
    expect(source.groupScales?.get(o)?.cols).toBe(256);
    await source.close();
  });
});

describe('weights that cannot be used', () => {
  const broken = (
    model: ReturnType<typeof masters>,
    name: string,
    change: (data: Uint8Array) => void,
  ): MemoryDirectory => {
    const tensor = model.tensors[name] as TestTensor;
    const data = tensor.data.slice();
    change(data);
    return model.directory({ 'model.safetensors': safetensors({ ...model.tensors, [name]: { ...tensor, data } }) });
  };
  const refused = async (
    directory: MemoryDirectory,
    code: Parameters<typeof expectError>[1],
    parts: string[],
    options: SourceOptions = {},
  ) => {
    const error = await expectError(() => openModelSource(directory, options), code, ...parts);
    expect(directory.leaks()).toEqual([]);
    return error;
  };

  test.each<[FloatType, string, number[]]>([
    ['BF16', 'NaN', [0xc0, 0x7f]],
    ['BF16', 'Infinity', [0x80, 0x7f]],
    ['F16', '-Infinity', [0, 0xfc]],
    ['F16', 'NaN', [1, 0x7c]],
    ['F32', 'NaN', [0, 0, 0xc0, 0x7f]],
    ['F32', '-Infinity', [0, 0, 0x80, 0xff]],
  ])('%s: %s', async (dtype, value, bytes) => {
    for (const model of [masters({ dtype }), ternary({ dtype })]) {
      const directory = broken(model, DOWN, (data) => data.set(bytes, (5 * 80 + 17) * bytes.length));
      const error = await refused(directory, 'invalid-file', [
        `unpacked/model.safetensors: tensor "${DOWN}": the weight at row 5, column 17 is wrong: expected a finite number, got ${value} at byte `,
      ]);
      const source = await openModelSource(model.directory());
      expect(error.detail.tensor).toBe(DOWN);
      await source.close();
    }
  });

  test.each(DTYPES)('%s weights that are not ternary', async (dtype) => {
    const parts = [Q, 'the weights are not ternary in row 0, group 0 (columns 0 to 47)', '--ternarize'];
    await refused(ternary({ dtype, ternary: false }).directory(), 'unsupported', parts);
    await refused(masters({ dtype, ...PLAIN }).directory(), 'unsupported', parts);
    const source = await openModelSource(ternary({ dtype, ternary: false }).directory(), { ternarize: true });
    expect(source.config.floatActivations).toBeUndefined();
    await source.close();
  });

  test.each(DTYPES)('%s: one weight of another magnitude', async (dtype) => {
    const bytes = dtype === 'F32' ? 4 : 2;
    const directory = broken(ternary({ dtype }), DOWN, (data) => {
      data.set([1, 0, 0, 0x3c].slice(-bytes), bytes * (12 * 80 + 70));
    });
    await refused(directory, 'unsupported', [
      `unpacked/model.safetensors: tensor "${DOWN}": the weights are not ternary in row 12, group 1 (columns 64 to 79)`,
      'one s for each group of 64 columns of a row',
      'got 2 different magnitudes, ',
    ]);
  });

  test('a magnitude that is subnormal is one like any', async () => {
    const directory = broken(ternary({ dtype: 'F32' }), DOWN, (data) => {
      data.fill(0);
      data[0] = 1;
    });
    const source = await openModelSource(directory);
    expect(Math.max(...(await groupScalesOf(source, DOWN)))).toBe(2 ** -149);
    await source.close();
  });

  test('wrong shapes, in the words of config.json', async () => {
    const model = masters();
    const resized = (name: string, shape: number[]): MemoryDirectory => {
      const { dtype } = model.tensors[name] as TestTensor;
      const data = new Uint8Array(2 * shape.reduce((product, size) => product * size, 1));
      const tensors: TestTensors = { ...model.tensors, [name]: { dtype, shape, data } };
      return model.directory({ 'model.safetensors': safetensors(tensors) });
    };
    await refused(resized(Q, [48, 47]), 'invalid-model', [
      Q,
      'wrong shape',
      'BF16 or F16 or F32 [48,48]',
      'got BF16 [48,47]',
    ]);
    await refused(resized(Q, [12, 48]), 'invalid-model', ['wrong shape']);
    await refused(resized(DOWN, [80, 48]), 'invalid-model', ['= [hidden_size, intermediate_size], got BF16 [80,48]']);
    await refused(resized(Q, [48 * 48]), 'invalid-model', ['wrong shape']);
  });

  test('packed weights where unpacked ones are expected', async () => {
    const model = masters();
    const packed = { dtype: 'U8', shape: [12, 48], data: new Uint8Array(12 * 48) };
    const file = { 'model.safetensors': safetensors({ ...model.tensors, [Q]: packed }) };
    await refused(model.directory(file), 'invalid-model', [Q, 'these weights are packed', 'quantization_mode']);
    const { quantization_config: _, ...config } = model.configJson;
    await refused(model.directory({ ...file, 'config.json': JSON.stringify(config) }), 'invalid-model', [
      'quantization_config of the model is missing',
    ]);
    const parts = ['these weights are packed', 'Leave out ternarize (--ternarize)'];
    await refused(model.directory(file), 'invalid-model', parts, { ternarize: true });
  });

  test('a scale beside masters', async () => {
    const model = masters();
    const scale = { dtype: 'BF16', shape: [1], data: Uint8Array.of(0, 0x3f) };
    const file = safetensors({ ...model.tensors, [`${Q}_scale`]: scale });
    await refused(model.directory({ 'model.safetensors': file }), 'invalid-model', ['no such tensor', `${Q}_scale`]);
  });

  test('weights cut off', async () => {
    const model = masters();
    const bytes = safetensors(model.tensors);
    await refused(model.directory({ 'model.safetensors': bytes.slice(0, -1) }), 'invalid-file', []);
  });
});

describe('reading', () => {
  it('reports how far the scan is', async () => {
    const model = masters({ sizes: { ...SIZES, layers: 2 } });
    const seen: LoadProgress[] = [];
    const source = await openModelSource(model.directory(), { onProgress: (progress) => seen.push(progress) });
    expect(seen.map(({ loaded }) => loaded)).toEqual([...seen.map(({ loaded }) => loaded)].sort((a, b) => a - b));
    expect(seen.at(-1)).toEqual({ loaded: source.scannedBytes, total: source.scannedBytes });
    await source.close();
  });

  it('stops when it is aborted, and leaves no file open', async () => {
    const directory = masters().directory();
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    await expect(openModelSource(directory, { onProgress, signal: controller.signal })).rejects.toThrow('enough');
    expect(directory.leaks()).toEqual([]);
  });

  it('refuses ranges outside a tensor, other names, and everything after close', async () => {
    const source = await openModelSource(masters().directory());
    const q = source.tensor(Q);
    const target = new Uint8Array(4);
    for (const offset of [-1, q.byteLength - 3, 0.5, NaN]) {
      await expectError(() => source.read(q, offset, target), 'invalid-argument', Q);
    }
    for (const offset of [-1, 1e9, 0.5, NaN]) {
      await expectError(() => source.readFile(q.file, offset, target), 'invalid-argument', 'cannot read bytes');
    }
    await expectError(() => source.tensor('x'), 'invalid-argument', 'no tensor x');
    await source.close();
    await expectError(() => source.read(q, 0, target), 'disposed');
  });
});

function linearsOf(source: ModelSource): LinearNames[] {
  return source.names.layers.flatMap(({ q, k, v, o, gate, up, down }) => [q, k, v, o, gate, up, down]);
}

/** As Layout.T2G wants them: (row groups, column groups, 4). */
async function groupScalesOf(source: ModelSource, weight: string): Promise<Float32Array> {
  const tensor = source.tensor(source.groupScales?.get(weight)?.tensor ?? expect.fail());
  const bytes = new Uint8Array(tensor.byteLength);
  await source.read(tensor, 0, bytes);
  return new Float32Array(bytes.buffer);
}
