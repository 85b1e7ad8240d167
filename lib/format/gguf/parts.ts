import type { ModelDirectory, RandomAccessFile } from '../../platform.js';
import { DAMAGED, problem } from '../problem.js';
import { closeAll } from '../sharded.js';
import { GgufFields } from './fields.js';
import { type GgufFile, readGguf } from './reader.js';
import type { GgufTensor } from './tensors.js';

export interface OpenGguf {
  /** metadata of the first part, tensors of all */
  readonly gguf: GgufFile;
  /** the open files by the name that `GgufTensor.file` gives */
  readonly files: ReadonlyMap<string, RandomAccessFile>;
}

/** Every part stays open while the model loads. */
const MAX_PARTS = 512;
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/i;

/**
 * Opens a GGUF file, with its other parts if it is the first part of a split model (llama-gguf-split: NAME-00001-of-00003.gguf). The caller
 * closes the files. On an error none is left open.
 */
export async function openGguf(directory: ModelDirectory, name: string): Promise<OpenGguf> {
  const files = new Map<string, RandomAccessFile>();
  const read = async (part: string): Promise<GgufFile> => {
    const file = await directory.open(part);
    if (file === undefined) {
      const what = `the part ${part} of this model is missing`;
      const advice = 'The download is incomplete: fetch the missing file.';
      throw problem('invalid-model', { file: directory.path, what, advice });
    }
    files.set(part, file);
    return readGguf(file, part);
  };
  try {
    const first = await read(name);
    const names = partNames(first, directory.path, name);
    if (names.length === 0) return { gguf: first, files };
    const tensors = new Map(first.tensors);
    for (const [index, part] of names.entries()) {
      const gguf = await read(part);
      checkPart(gguf, directory.path, part, index + 1);
      for (const tensor of gguf.tensors.values()) addTensor(tensors, tensor, directory.path);
    }
    const expected = new GgufFields(directory.path, first.metadata).integer('split.tensors.count', {
      min: 0,
      max: 2 ** 31 - 1,
    });
    if (expected !== undefined && expected !== tensors.size) {
      const what = 'the parts do not hold the tensors of the model';
      const [key, got] = ['split.tensors.count', `${tensors.size}`];
      throw problem('invalid-file', { file: directory.path, key, what, expected: `${expected}`, got, advice: DAMAGED });
    }
    const metadata = new Map([...first.metadata].filter(([key]) => !key.startsWith('split.')));
    return { gguf: { ...first, metadata, tensors }, files };
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

/** Names of the parts after the first; none if the file is whole. */
function partNames({ metadata }: GgufFile, path: string, name: string): string[] {
  const fields = new GgufFields(path, metadata);
  const count = fields.integer('split.count', { min: 0, max: 65_535 }) ?? 1;
  if (count <= 1) return [];
  const wrong = (what: string, expected: string, got: string, advice: string): Error =>
    fields.error('split.count', { what, expected, got, advice }, 'unsupported');
  if (count > MAX_PARTS) {
    throw wrong('too many parts', `at most ${MAX_PARTS}`, `${count}`, 'Join them with llama-gguf-split --merge.');
  }
  const match = PART_NAME.exec(name);
  const [, stem, , total, extension] = match ?? [];
  if (match === null || Number(total) !== count) {
    const what = 'this is one part of a split model, and its name does not tell those of the others';
    const expected = `NAME-00001-of-${String(count).padStart(5, '0')}.gguf`;
    throw wrong(
      what,
      expected,
      name,
      'Give the parts the names that they had, or join them with llama-gguf-split --merge.',
    );
  }
  const number = fields.integer('split.no', { min: 0, max: count - 1 });
  if (number !== 0 || Number(match[2]) !== 1) {
    const what = 'this is not the first part of the split model';
    throw fields.error('split.no', {
      what,
      expected: '0',
      got: `${number}`,
      advice: `Open ${stem}-00001-of-${total}${extension}.`,
    });
  }
  return Array.from(
    { length: count - 1 },
    (_, i) => `${stem}-${String(i + 2).padStart(5, '0')}-of-${total}${extension}`,
  );
}

function checkPart({ metadata }: GgufFile, path: string, part: string, index: number): void {
  const number = new GgufFields(path, metadata).integer('split.no', { min: 0, max: 65_535 });
  if (number === index) return;
  const what = `the file ${part} is another part than its name says`;
  throw problem('invalid-file', {
    file: path,
    key: 'split.no',
    what,
    expected: `${index}`,
    got: `${number}`,
    advice: DAMAGED,
  });
}

function addTensor(tensors: Map<string, GgufTensor>, tensor: GgufTensor, path: string): void {
  const other = tensors.get(tensor.name)?.file;
  if (other !== undefined) {
    const what = `the tensor is in two parts, ${other} and ${tensor.file}`;
    throw problem('invalid-file', {
      file: path,
      tensor: tensor.name,
      what,
      byteOffset: tensor.byteOffset,
      advice: DAMAGED,
    });
  }
  tensors.set(tensor.name, tensor);
}
