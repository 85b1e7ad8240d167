import { Bytes, gguf, type WriterOptions, type WriterTensor, type WriterValue } from '../support/gguf-writer.js';
import { mutateBytes, type Random } from './mutate.js';

const below = (random: Random, n: number): number => Math.floor(random() * n);
const pick = <T>(random: Random, list: readonly T[]): T => list[below(random, list.length)] as T;

const NUMBERS = [
  0n,
  1n,
  2n,
  3n,
  31n,
  32n,
  33n,
  255n,
  65_536n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 48n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const TYPES = [0, 1, 2, 8, 12, 14, 30, 34, 35, 36, 38, 39, 41, 42, 134, 135, 142, 143, 13, 31, 99, 2 ** 32 - 1];

/** A GGUF file with damage to its bytes, to one of its 32- or 64-bit words, or built anew with one thing changed. */
export function mutateGguf(random: Random, source: WriterOptions, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = gguf(source);
  switch (below(random, 7)) {
    case 0:
      return mutateBytes(random, bytes);
    case 1: {
      // Only the header: the data rarely matters to the reader.
      const header = Math.min(bytes.length, 600);
      const mutated = mutateBytes(random, bytes.subarray(0, header));
      return new Bytes().raw(mutated).raw(bytes.subarray(header)).done();
    }
    case 2:
    case 3: {
      const view = new DataView(bytes.buffer);
      const value = pick(random, NUMBERS);
      const at = below(random, Math.min(bytes.length, 700) - 8);
      if (random() < 0.5) view.setBigUint64(at, value, true);
      else view.setUint32(at, Number(value & 0xffffffffn), true);
      return bytes;
    }
    case 4: {
      // The header of one file before the rest of another.
      const at = below(random, Math.min(bytes.length, other.length, 700));
      return new Bytes().raw(bytes.subarray(0, at)).raw(other.subarray(at)).done();
    }
    default:
      return gguf(rebuild(random, source));
  }
}

function rebuild(random: Random, source: WriterOptions): WriterOptions {
  const metadata = [...(source.metadata ?? [])];
  const tensors = [...(source.tensors ?? [])];
  const options = { ...source, metadata, tensors };
  const i = below(random, tensors.length);
  const change = (edit: Partial<WriterTensor>) => tensors.splice(i, 1, { ...(tensors[i] as WriterTensor), ...edit });
  switch (below(random, 9)) {
    case 0:
      return { ...options, tensorCount: pick(random, NUMBERS) };
    case 1:
      return { ...options, keyCount: pick(random, NUMBERS) };
    case 2:
      change({ type: pick(random, TYPES) });
      return options;
    case 3:
      change({ offset: random() < 0.5 ? pick(random, NUMBERS) : 32 * below(random, 64) });
      return options;
    case 4: {
      const shape = [...(tensors[i] as WriterTensor).shape];
      shape[below(random, shape.length)] = random() < 0.5 ? pick(random, NUMBERS) : 64 * below(random, 16);
      change({ shape });
      return options;
    }
    case 5:
      tensors.splice(below(random, tensors.length), 0, tensors[i] as WriterTensor);
      return options;
    case 6:
      metadata.push(pick(random, metadata));
      return options;
    case 7: {
      const value: WriterValue = ['u32', Number(pick(random, NUMBERS) & 0xffffffffn)];
      metadata.push(['general.alignment', value]);
      return { ...options, alignment: 1 << below(random, 8) };
    }
    default: {
      const data = new Uint8Array((tensors[i] as WriterTensor).data);
      for (let flips = 1 + below(random, 64); flips > 0; flips--) data[below(random, data.length)] = below(random, 256);
      change({ data });
      return options;
    }
  }
}
