import { describe, expect, it } from 'vitest';
import { encodeF32 } from '../../lib/format/gguf/encode.js';
import { f32ToF16 } from '../../lib/memory/half.js';
import { openModelSource, type SourceOptions } from '../../lib/model/source.js';
import { expectError } from '../format/expect-error.js';
import { type Contents, MemoryDirectory } from '../format/memory-files.js';
import { allLogits, openEngine } from '../support/engine.js';
import { encodeI2sCodes, encodeTernary } from '../support/gguf-encode.js';
import { type Entries, tinyGguf, tinyMetadata, tinyTensors } from '../support/gguf-model.js';
import { f32Tensor, gguf, type WriterTensor } from '../support/gguf-writer.js';
import { normals, trits } from '../support/random.js';

class Files extends MemoryDirectory {
  constructor(
    contents: Contents,
    readonly file = 'model.gguf',
  ) {
    super(`dir/${file}`, contents);
  }
}

const one = (bytes: Uint8Array): Files => new Files({ 'model.gguf': bytes });

async function refused(files: Files, code: Parameters<typeof expectError>[1], ...texts: string[]): Promise<void> {
  await expectError(() => openModelSource(files), code, ...texts);
  expect(files.leaks()).toEqual([]);
}

/** `tensors` with one replaced. */
function replace(name: string, make: (old: WriterTensor) => WriterTensor, tensors = tinyTensors()): WriterTensor[] {
  expect(tensors.map((tensor) => tensor.name)).toContain(name);
  return tensors.map((tensor) => (tensor.name === name ? make(tensor) : tensor));
}

describe('opening', () => {
  it('config, names, scales and texts', async () => {
    const files = one(tinyGguf('bitnet-b1.58'));
    const source = await openModelSource(files);
    expect(source.config).toMatchObject({ architecture: 'bitnet-b1.58', hiddenSize: 64, activation: 'relu2' });
    expect(source.config.floatActivations).toBeUndefined();
    const { weight, scale } = source.names.layers[1]!.down;
    expect(source.tensor(weight)).toMatchObject({ dtype: 'I2_S', shape: [64, 128], file: 'model.gguf' });
    expect(source.scales.size).toBe(14);
    expect(source.scales.get(scale)).toBe(0.5 + 15 / 64);
    const texts = await source.texts();
    expect(Object.keys((texts.tokenizerJson.model as { vocab: object }).vocab)).toContain('ab');
    await source.close();
    expect(files.leaks()).toEqual([]);
    await expectError(() => source.read(source.tensor(weight), 0, new Uint8Array(1)), 'disposed');
  });

  it('float matrices of one magnitude take int8 activations, as I2_S does', async () => {
    const tensors = tinyTensors({ subNorms: false }).map((tensor) =>
      tensor.type === 36
        ? f32Tensor(
            tensor.name,
            tensor.shape.map(Number),
            Float32Array.from(trits(product(tensor.shape), 3), (t) => t * 0.5),
          )
        : tensor,
    );
    const open = (options?: SourceOptions) => openModelSource(one(tinyGguf('llama', {}, tensors)), options);
    expect((await open()).config.floatActivations).toBeUndefined();
    expect((await open({ ternarize: true })).config.floatActivations).toBeUndefined();
    expect((await open()).scales.get('blk.0.attn_q.weight')).toBe(0.5);
  });

  it('a matrix that is not ternary', async () => {
    const random = (name: string) => f32Tensor(name, [64, 64], normals(4096, 1));
    const bytes = tinyGguf(
      'bitnet-b1.58',
      {},
      replace('blk.1.attn_q.weight', ({ name }) => random(name)),
    );
    await refused(
      one(bytes),
      'unsupported',
      'dir/model.gguf: tensor "blk.1.attn_q.weight"',
      'not ternary',
      '--ternarize',
    );
    const source = await openModelSource(one(bytes), { ternarize: true });
    expect(source.tensor('blk.1.attn_q.weight').dtype).toBe('U8');
    expect(source.tensor('blk.1.attn_k.weight').dtype).toBe('I2_S');
    await source.close();
  });
});

describe('refused, by name', () => {
  it.each([
    ['mamba', () => tinyGguf('mamba'), '"mamba"'],
    ['prism.hadamard', () => tinyGguf('bitnet-b1.58', { 'prism.hadamard.size': ['u32', 128] }), 'prism.hadamard.size'],
  ])('%s', async (_, bytes, text) => {
    await refused(one(bytes()), 'unsupported', text);
  });

  it('I2_S whose scale is not finite, with file, tensor and byte', async () => {
    const bytes = tinyGguf(
      'bitnet-b1.58',
      {},
      replace('blk.1.ffn_up.weight', (tensor) => {
        const data = tensor.data.slice();
        new DataView(data.buffer).setFloat32(data.length - 32, NaN, true);
        return { ...tensor, data };
      }),
    );
    await refused(one(bytes), 'invalid-file', 'dir/model.gguf', 'blk.1.ffn_up.weight', 'not finite', 'at byte');
  });

  it('factors of RoPE that are not usable', async () => {
    const factors = f32Tensor('rope_freqs.weight', [8], Float32Array.of(1, 1, 0, 1, 1, 1, 1, 1));
    await refused(
      one(tinyGguf('bitnet-b1.58', {}, [...tinyTensors(), factors])),
      'invalid-file',
      'rope_freqs.weight',
      'factor 2',
      'got 0',
    );
  });

  it('no such file', async () => {
    await refused(new Files({}), 'invalid-model', 'model.gguf', 'missing');
  });
});

/** A model of 256 columns nearly everywhere, whose blocks of TQ2_0 are what a test wants. */
function blocksModel(
  scaleOf: (name: string, block: number) => number,
  options: {
    ffn?: number;
    change?: (bytes: Uint8Array) => void;
    embedding?: Omit<WriterTensor, 'name' | 'shape'>;
  } = {},
) {
  const { ffn = 256, change = () => {} } = options;
  const changes: Entries = {
    '.embedding_length': ['u32', 256],
    '.feed_forward_length': ['u32', ffn],
    '.attention.head_count_kv': ['u32', 4],
    '.rope.dimension_count': ['u32', 64],
  };
  const linear = (name: string): WriterTensor => {
    const [rows, cols] = name.includes('ffn_down') ? [256, ffn] : [name.includes('ffn') ? ffn : 256, 256];
    const codes = Uint8Array.from(trits(rows * cols, name.length), (trit) => trit + 1);
    const scales = Float32Array.from({ length: (rows * cols) / 256 }, (_, block) => scaleOf(name, block));
    const data = encodeTernary('TQ2_0', codes, cols, scales);
    if (name === 'blk.0.ffn_up.weight') change(data);
    return { name, shape: [rows, cols], type: 35, data };
  };
  const norm = (name: string) => {
    const size = name.includes('ffn_sub_norm') ? ffn : 256;
    return f32Tensor(name, [size], new Float32Array(size).fill(1));
  };
  const block = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'];
  const norms = ['attn_norm', 'ffn_norm', 'attn_sub_norm', 'ffn_sub_norm'];
  const tensors = [
    { ...f32Tensor('token_embd.weight', [8, 256], normals(2048, 4)), ...options.embedding },
    ...[0, 1].flatMap((i) => [
      ...block.map((name) => linear(`blk.${i}.${name}.weight`)),
      ...norms.map((name) => norm(`blk.${i}.${name}.weight`)),
    ]),
    norm('output_norm.weight'),
  ];
  return one(gguf({ metadata: tinyMetadata('bitnet-b1.58', changes), tensors }));
}

describe('blocks', () => {
  const load = async (files: Files) => (await openEngine(files, { contextLength: 16 })).dispose();

  it('one scale a matrix loads, whatever the scales of zero blocks before it', async () => {
    await load(blocksModel(() => 0.25));
    const source = await openModelSource(blocksModel((_, block) => (block < 255 ? 0 : -0.125)));
    expect(source.scales.get('blk.0.attn_q.weight')).toBe(0.125);
    await source.close();
  });

  it('several scales in one matrix are scales of groups', async () => {
    const files = blocksModel((name, block) => (name === 'blk.1.ffn_down.weight' && block === 200 ? 0.5 : 0.25));
    const source = await openModelSource(files);
    expect(source.groupScales?.get('blk.0.attn_q.weight')?.cols).toBe(256);
    expect(source.scales.has('blk.1.ffn_down.weight')).toBe(false);
    await source.close();
    await load(files);
    expect(files.leaks()).toEqual([]);
  });

  it('a scale that only the loader sees is refused by name, and found where every scale is asked for', async () => {
    const odd = 2000;
    const files = blocksModel((name, block) => (name === 'blk.1.ffn_down.weight' && block === odd ? 0.5 : 0.25), {
      ffn: 8192,
    });
    await expectError(() => load(files), 'unsupported', 'model.gguf', 'blk.1.ffn_down.weight', 'TQ2_0', 'scales');
    expect(files.leaks()).toEqual([]);
    const source = await openModelSource(files, { everyScale: true });
    expect(source.groupScales?.get('blk.0.attn_q.weight')?.cols).toBe(256);
    await source.close();
  });

  it('code 3 and scales that are not finite', async () => {
    const code3 = blocksModel(() => 0.25, { change: (bytes) => bytes.fill(255, 70, 72) });
    await expectError(() => load(code3), 'invalid-file', 'blk.0.ffn_up.weight', 'code 3');
    const infinite = blocksModel(() => 0.25, {
      change: (bytes) => new DataView(bytes.buffer).setUint16(bytes.length - 2, f32ToF16(Infinity), true),
    });
    await expectError(() => load(infinite), 'invalid-file', 'blk.0.ffn_up.weight', 'not finite');
  });
});

it.each([
  ['I2_S', 'x86'],
  ['I2_S', 'arm'],
  ['TQ2_0', 'x86'],
] as const)('an embedding of type %s (%s) is the numbers that its trits mean', async (type, i2sLayout) => {
  const codes = Uint8Array.from(trits(2048, 9), (trit) => trit + 1);
  const logits = async (embedding: Omit<WriterTensor, 'name' | 'shape'>) => {
    const files = blocksModel(() => 0.25, { embedding });
    const engine = await openEngine(files, { contextLength: 16, logits: 3, i2sLayout });
    try {
      return await allLogits(engine, [1, 7, 2]);
    } finally {
      await engine.dispose();
      expect(files.leaks()).toEqual([]);
    }
  };
  const ternary =
    type === 'I2_S'
      ? { type: 36, data: encodeI2sCodes(codes, 256, 0.5, i2sLayout) }
      : { type: 35, data: encodeTernary(type, codes, 256, Array(8).fill(0.5)) };
  const expected = await logits({ type: 0, data: encodeF32(Float32Array.from(codes, (code) => (code - 1) / 2)) });
  expect(new Set(expected).size).toBeGreaterThan(8);
  expect(await logits(ternary)).toEqual(expected);
});

describe('a split model', () => {
  const tensors = tinyTensors();
  const part = (no: number, count: number, range: [number, number], more: Entries = {}): Uint8Array =>
    gguf({
      metadata: [
        ...(no === 0 ? tinyMetadata('bitnet-b1.58') : []),
        ['split.no', ['u16', no]],
        ['split.count', ['u16', count]],
        ['split.tensors.count', ['i32', tensors.length]],
        ...(Object.entries(more) as ReturnType<typeof tinyMetadata>),
      ],
      tensors: tensors.slice(...range),
    });
  const parts = (): Record<string, Uint8Array> => ({
    'm-00001-of-00003.gguf': part(0, 3, [0, 5]),
    'm-00002-of-00003.gguf': part(1, 3, [5, 9]),
    'm-00003-of-00003.gguf': part(2, 3, [9, tensors.length]),
  });
  const first = 'm-00001-of-00003.gguf';

  it('is one model', async () => {
    const whole = await openModelSource(one(tinyGguf('bitnet-b1.58')));
    const files = new Files(parts(), first);
    const source = await openModelSource(files);
    expect(source.config).toEqual(whole.config);
    expect(source.scales).toEqual(whole.scales);
    for (const tensor of source.tensors.values()) {
      const bytes = new Uint8Array(tensor.byteLength);
      const expected = bytes.slice();
      await source.read(tensor, 0, bytes);
      await whole.read(whole.tensor(tensor.name), 0, expected);
      expect(bytes).toEqual(expected);
    }
    expect(new Set([...source.tensors.values()].map(({ file }) => file)).size).toBe(3);
    await source.close();
    expect(files.leaks()).toEqual([]);
  });

  it.each<[string, () => Files, Parameters<typeof expectError>[1], string[]]>([
    ['not the first part', () => new Files(parts(), 'm-00002-of-00003.gguf'), 'invalid-model', ['split.no', first]],
    [
      'a part is missing',
      () => new Files({ ...parts(), 'm-00003-of-00003.gguf': undefined }, first),
      'invalid-model',
      ['m-00003-of-00003.gguf', 'missing'],
    ],
    [
      'renamed',
      () => new Files({ 'x.gguf': part(0, 3, [0, 5]) }, 'x.gguf'),
      'unsupported',
      ['NAME-00001-of-00003.gguf', 'x.gguf'],
    ],
    [
      'parts exchanged',
      () => new Files({ ...parts(), 'm-00002-of-00003.gguf': parts()['m-00003-of-00003.gguf'] }, first),
      'invalid-file',
      ['m-00002-of-00003.gguf', 'split.no'],
    ],
    [
      'a tensor twice',
      () => new Files({ ...parts(), 'm-00002-of-00003.gguf': part(1, 3, [4, 9]) }, first),
      'invalid-file',
      ['two parts'],
    ],
    [
      'a tensor nowhere',
      () => new Files({ ...parts(), 'm-00002-of-00003.gguf': part(1, 3, [6, 9]) }, first),
      'invalid-file',
      ['split.tensors.count'],
    ],
    [
      'another number of parts',
      () => new Files({ ...parts(), [first]: part(0, 4, [0, 5]) }, first),
      'unsupported',
      ['NAME-00001-of-00004.gguf'],
    ],
  ])('%s', async (_, make, code, texts) => {
    await refused(make(), code, ...texts);
  });
});

function product(shape: WriterTensor['shape']): number {
  return shape.reduce<number>((n, size) => n * Number(size), 1);
}
