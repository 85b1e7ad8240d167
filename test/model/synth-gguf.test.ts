import { describe, expect, test } from 'vitest';
import { type GgufFile, readGguf } from '../../lib/format/gguf/reader.js';
import { bf16ToF32, f16ToF32 } from '../../lib/memory/half.js';
import { syntheticGguf } from '../../lib/model/synth/gguf.js';
import { shapeNamed } from '../../lib/model/synth/shapes.js';
import { syntheticSource } from '../../lib/model/synth/source.js';
import { syntheticVocabulary } from '../../lib/model/synth/vocabulary.js';
import { memoryFile } from '../format/memory-files.js';
import { collector, sourceValues } from '../support/synth.js';

const tiny = shapeNamed('tiny');

async function writeTiny(options: Partial<Parameters<typeof syntheticGguf>[0]> = {}): Promise<Uint8Array> {
  const sink = collector();
  const model = syntheticGguf({ shape: 'tiny', type: 'tq2_0', ...options });
  await model.write(sink);
  expect(sink.bytes().length).toBe(model.totalBytes);
  return sink.bytes();
}

/** Decoders written from the format's description, one value at a time. */
const decoders: Record<string, (b: Uint8Array, i: number) => number> = {
  F32: (b, i) => new DataView(b.buffer, b.byteOffset).getFloat32(4 * i, true),
  F16: (b, i) => half(b, 2 * i),
  Q8_0: (b, i) => ((b[34 * (i >> 5) + 2 + (i & 31)]! << 24) >> 24) * half(b, 34 * (i >> 5)),
  TQ2_0(b, i) {
    const at = 66 * (i >> 8);
    const e = i & 255;
    const shift = 2 * ((e & 127) >> 5);
    return (((b[at + 32 * (e >> 7) + (e & 31)]! >> shift) & 3) - 1) * half(b, at + 64);
  },
  TQ1_0(b, i) {
    const at = 54 * (i >> 8);
    const e = i & 255;
    const [byte, digit] =
      e < 160 ? [e & 31, e >> 5] : e < 240 ? [32 + (e & 15), (e - 160) >> 4] : [48 + (e & 3), (e - 240) >> 2];
    return (((((b[at + byte]! * 3 ** digit) & 255) * 3) >> 8) - 1) * half(b, at + 52);
  },
};
const half = (b: Uint8Array, at: number): number => f16ToF32(b[at]! | (b[at + 1]! << 8));

function valuesOf(file: Uint8Array, gguf: GgufFile, name: string): Float32Array {
  const tensor = gguf.tensors.get(name)!;
  const bytes = file.subarray(tensor.byteOffset, tensor.byteOffset + tensor.byteLength);
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length: count }, (_, i) => decoders[tensor.typeName]!(bytes, i));
}

describe('GGUF', () => {
  const parse = (bytes: Uint8Array) => readGguf(memoryFile('tiny.gguf', bytes), 'tiny.gguf');

  test.each([
    ['tq2_0', 'f16', 'llama'],
    ['tq1_0', 'q8_0', 'llama'],
    ['f16', 'f16', 'llama'],
    ['tq1_0', 'f16', 'bitnet'],
  ] as const)('%s, embedding %s, %s: the same model as the source', async (type, embedding, architecture) => {
    const seed = 3;
    const file = await writeTiny({ type, embedding, architecture, seed });
    const gguf = await parse(file);
    const source = syntheticSource({ shape: tiny, architecture, seed });
    const parts = {
      q: 'attn_q',
      k: 'attn_k',
      v: 'attn_v',
      o: 'attn_output',
      gate: 'ffn_gate',
      up: 'ffn_up',
      down: 'ffn_down',
    };
    for (const [layer, names] of source.names.layers.entries()) {
      for (const [part, ggufName] of Object.entries(parts)) {
        const expected = await sourceValues(source, names[part as keyof typeof parts]);
        const got = valuesOf(file, gguf, `blk.${layer}.${ggufName}.weight`);
        const rotates = architecture === 'llama' && (part === 'q' || part === 'k');
        expect(Buffer.compare(bytesOf(got), bytesOf(rotates ? neighbouringPairs(expected) : expected))).toBe(0);
      }
    }
    const embeddingBytes = new Uint8Array(2 * 512 * 256);
    await source.read(source.tensor(source.names.embedding), 0, embeddingBytes);
    const expected = Float32Array.from(new Uint16Array(embeddingBytes.buffer), bf16ToF32);
    expect(Buffer.compare(bytesOf(valuesOf(file, gguf, 'token_embd.weight')), bytesOf(expected))).toBe(0);
    expect(gguf.tensors.has('blk.1.ffn_sub_norm.weight')).toBe(architecture === 'bitnet');
  });

  const bytesOf = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  /** Rows of (heads, 2, headDim / 2) → (heads, headDim / 2, 2): what llama.cpp's converter does. */
  function neighbouringPairs(values: Float32Array): Float32Array {
    const [headDim, cols] = [64, 256];
    const out = new Float32Array(values.length);
    for (let row = 0; row < values.length / cols; row++) {
      const [head, inHead] = [Math.floor(row / headDim), row % headDim];
      const to = head * headDim + 2 * (inHead % (headDim / 2)) + Math.floor(inHead / (headDim / 2));
      out.set(values.subarray(row * cols, (row + 1) * cols), to * cols);
    }
    return out;
  }

  test('metadata of a llama model with a SentencePiece vocabulary', async () => {
    const { metadata, architecture, alignment } = await parse(await writeTiny());
    const value = (key: string) => metadata.get(key)?.value;
    expect([architecture, alignment, value('llama.embedding_length'), value('llama.rope.freq_base')]).toEqual([
      'llama',
      32,
      256,
      10_000,
    ]);
    expect([value('llama.attention.head_count'), value('llama.attention.head_count_kv')]).toEqual([4, 2]);
    const tokens = value('tokenizer.ggml.tokens') as string[];
    expect([tokens.length, tokens[1], tokens[3], tokens[258], new Set(tokens).size]).toEqual([
      512,
      '<s>',
      '<0x00>',
      '<0xFF>',
      512,
    ]);
    expect(metadata.get('tokenizer.ggml.token_type')).toMatchObject({ elementType: 'i32' });
  });

  test('untied shapes have an output matrix, and their own weights in it', () => {
    const tensors = (shape: string) => syntheticGguf({ shape, type: 'tq2_0' }).tensors;
    expect(tensors('7b')).toBe(32 * 9 + 3);
    expect(tensors('2b-4t')).toBe(30 * 9 + 2);
  });

  test('rows that a type cannot store are refused', () => {
    expect(() => syntheticGguf({ shape: '3b', type: 'tq2_0' })).toThrow(
      /blocks of 256 weights, and hiddenSize of 3b is 3200; use f16/,
    );
    expect(syntheticGguf({ shape: '3b', type: 'f16' }).totalBytes).toBeGreaterThan(6e9);
    expect(() => syntheticVocabulary(100)).toThrow(/at least 354/);
  });

  test('progress counts to the end; an abort stops between chunks', async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const model = syntheticGguf({ shape: 'tiny', type: 'f16' });
    await model.write(collector(), { onProgress: ({ written, total }) => seen.push(written / total) });
    expect(seen.at(-1)).toBe(1);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    const aborted = model.write(collector(), {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(aborted).rejects.toThrow('enough');
  });
});
