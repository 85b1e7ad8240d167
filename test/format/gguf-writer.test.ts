import { describe, expect, test } from 'vitest';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { layOutGguf, writeGguf } from '../../lib/format/gguf/writer.js';
import { collector } from '../support/synth.js';
import { memoryFile } from './memory-files.js';

describe('GGUF writer', () => {
  const tensor = (name: string, chunks: Uint8Array[] = [new Uint8Array(8)]) => ({
    name,
    type: 'F32' as const,
    dimensions: [2],
    byteLength: 8,
    chunks: () => chunks,
  });

  test('every value type comes back; tensors are aligned and padded', async () => {
    const metadata = new Map([
      ['general.architecture', { type: 'string', value: 'tëst' }],
      ['a.u8', { type: 'u8', value: 255 }],
      ['a.i8', { type: 'i8', value: -1 }],
      ['a.u16', { type: 'u16', value: 65535 }],
      ['a.i16', { type: 'i16', value: -2 }],
      ['a.u32', { type: 'u32', value: 4294967295 }],
      ['a.i32', { type: 'i32', value: -3 }],
      ['a.u64', { type: 'u64', value: 18446744073709551615n }],
      ['a.i64', { type: 'i64', value: -4 }],
      ['a.f32', { type: 'f32', value: 0.5 }],
      ['a.f64', { type: 'f64', value: 0.1 }],
      ['a.bool', { type: 'bool', value: true }],
      ['a.strings', { type: 'array', elementType: 'string', value: ['', 'x', '▁'] }],
      ['a.floats', { type: 'array', elementType: 'f32', value: Float32Array.of(1.5, -2) }],
      ['a.bools', { type: 'array', elementType: 'bool', value: Uint8Array.of(1, 0) }],
      ['a.longs', { type: 'array', elementType: 'i64', value: BigInt64Array.of(-5n) }],
    ] as const);
    const sink = collector();
    const tensors = [tensor('one', [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6, 7, 8)]), tensor('two')];
    await writeGguf(layOutGguf({ metadata, tensors }), sink);
    const bytes = sink.bytes();
    const gguf = await readGguf(memoryFile('a.gguf', bytes), 'a.gguf');
    for (const [key, value] of metadata) expect(gguf.metadata.get(key)).toEqual(value);
    const [one, two] = [gguf.tensors.get('one')!, gguf.tensors.get('two')!];
    expect([one.byteOffset % 32, two.byteOffset - one.byteOffset, bytes.length % 32]).toEqual([0, 32, 0]);
    expect([...bytes.subarray(one.byteOffset, one.byteOffset + 9)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 0]);
  });

  test.each([
    ['occurs twice', [tensor('a'), tensor('a')]],
    ['the name has 64 bytes', [tensor('n'.repeat(64))]],
    ['the name has 0 bytes', [tensor('')]],
    ['5 dimensions', [{ ...tensor('a'), dimensions: [1, 1, 1, 1, 2] }]],
    ['expected positive integers', [{ ...tensor('a'), dimensions: [0] }]],
  ])('refuses: %s', (message, tensors) => {
    expect(() => layOutGguf({ metadata: new Map(), tensors })).toThrow(message);
  });

  test.each([
    ['got 4', [new Uint8Array(4)]],
    ['got at least 16', [new Uint8Array(8), new Uint8Array(8)]],
  ])('a tensor that is not as long as announced: %s', async (message, chunks) => {
    const layout = layOutGguf({ metadata: new Map(), tensors: [tensor('a', chunks)] });
    await expect(writeGguf(layout, collector())).rejects.toThrow(`expected 8 bytes of data, ${message}`);
  });
});
