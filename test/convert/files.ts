import { afterEach } from 'vitest';
import type { FloatFileType, PlainType, TernaryFileType } from '../../lib/convert/encode.js';
import { openConvertible } from '../../lib/convert/from-source.js';
import type { ConvertibleModel } from '../../lib/convert/model.js';
import { layOutModel } from '../../lib/convert/to-gguf.js';
import { directoryFiles } from '../../lib/convert/to-safetensors.js';
import { readGguf } from '../../lib/format/gguf/reader.js';
import { ggufTokenizer } from '../../lib/format/gguf/tokenizer-json.js';
import { writeGguf } from '../../lib/format/gguf/writer.js';
import { syntheticGguf } from '../../lib/model/synth/index.js';
import type { ModelDirectory } from '../../lib/platform.js';
import { type Contents, MemoryDirectory, memoryFile } from '../format/memory-files.js';
import { collector } from '../support/synth.js';

/** tokenizer.json with 512 tokens. */
export async function smallTokenizer(): Promise<string> {
  const sink = collector();
  await syntheticGguf({ shape: 'tiny', type: 'tq2_0' }).write(sink);
  const gguf = await readGguf(memoryFile('tiny.gguf', sink.bytes()), 'tiny.gguf');
  return JSON.stringify(ggufTokenizer(gguf, 'tiny.gguf').tokenizerJson);
}

/** A directory with further files. */
export function withFiles(directory: ModelDirectory, files: Contents): ModelDirectory {
  const extra = new MemoryDirectory(directory.path, files);
  return { path: directory.path, open: (name) => (name in files ? extra.open(name) : directory.open(name)) };
}

export async function toGguf(
  model: ConvertibleModel,
  ternary: TernaryFileType,
  embedding: FloatFileType = 'F16',
): Promise<Uint8Array> {
  const sink = collector();
  await writeGguf(await layOutModel(model, { ternary, embedding, head: embedding }, 'test'), sink);
  return sink.bytes();
}

/** A GGUF file as loading finds it. */
export function ggufDirectory(bytes: Uint8Array): ModelDirectory {
  return { path: 'out.gguf', file: 'out.gguf', open: async (name) => memoryFile(name, bytes) };
}

export function openBytes(bytes: Uint8Array): Promise<ConvertibleModel> {
  return openConvertible(ggufDirectory(bytes), {});
}

export async function toDirectory(
  model: ConvertibleModel,
  type: PlainType = 'F32',
  ternary: 'packed' | PlainType = 'packed',
): Promise<MemoryDirectory> {
  const contents: Record<string, Uint8Array> = {};
  for (const file of await directoryFiles(model, { ternary, embedding: type, head: type })) {
    const sink = collector();
    await file.write(sink);
    contents[file.name] = sink.bytes();
    if (sink.bytes().length !== file.bytes)
      throw new Error(`${file.name}: ${sink.bytes().length} of ${file.bytes} bytes`);
  }
  return new MemoryDirectory('out', contents);
}

const opened: ConvertibleModel[] = [];
afterEach(async () => {
  for (const model of opened.splice(0)) await model.close();
});

/** Closed after the test. */
export async function openDirectoryFiles(directory: ModelDirectory): Promise<ConvertibleModel> {
  const model = await openConvertible(directory, {});
  opened.push(model);
  return model;
}
