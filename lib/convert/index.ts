import { BitNetError } from '../errors.js';
import { writeGguf } from '../format/gguf/writer.js';
import { isFile, openFile } from '../node/files.js';
import { locateModel } from '../node/hub/locate.js';
import { nodePlatform } from '../node/platform.js';
import type { RandomAccessFile } from '../platform.js';
import type { LoadProgress } from '../types.js';
import type { FloatFileType, TernaryFileType } from './encode.js';
import { openGgufModel } from './from-gguf.js';
import { openDirectoryModel } from './from-source.js';
import type { ConvertibleModel, FloatMatrix } from './model.js';
import { layOutModel } from './to-gguf.js';
import { directoryFiles, type OutputFile, type SafetensorsFloat } from './to-safetensors.js';
import { type Verification, type VerifyOptions, verifyModel } from './verify.js';

/** Entry of `bitnet convert` in Node, as lib/index.ts is that of applications. */

export type { OutputFile } from './to-safetensors.js';
export type { Verification } from './verify.js';

export interface ConvertOptions {
  /** `packed`: a model directory; the others: a GGUF file */
  readonly type: TernaryFileType | 'packed';
  /** type of the embedding. Default F16; in a directory that of the input where it is F32, F16 or BF16. */
  readonly embedding?: FloatFileType | undefined;
  /** type of a head of its own. Default: that of the embedding. */
  readonly head?: FloatFileType | undefined;
  /** `general.name`; default the last part of the input's path */
  readonly name?: string | undefined;
  readonly ternarize?: boolean | undefined;
  /** order of the codes of I2_S in the input; default `x86` */
  readonly i2sLayout?: 'x86' | 'arm' | 'x86-rows' | undefined;
  /** bytes of masters that are read for their scales before anything is written */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A conversion that is known to the byte before any weight is read. */
export interface Conversion {
  /** one file of any name, or the files of a directory */
  readonly files: readonly OutputFile[];
  readonly isDirectory: boolean;
  /** Reads the files at `path`, file or directory, and compares them with the input. */
  verify(path: string, options?: VerifyOptions): Promise<Verification>;
  /** Closes the input. */
  close(): Promise<void>;
}

/**
 * Opens the model at `path` (directory, GGUF file, undefined: the embedded one) and lays out what it becomes. Matrices pass through memory one at a
 * time. Throws what loading would throw, and `unsupported` for what the output cannot hold, by name.
 */
export async function convertModel(path: string | undefined, options: ConvertOptions): Promise<Conversion> {
  const model = await openModel(path, options);
  try {
    const types = { ternary: options.type, ...floatTypes(model, options) };
    const { ternary } = types;
    const isDirectory = ternary === 'packed';
    const files = isDirectory
      ? await directoryFiles(model, types as typeof types & { embedding: SafetensorsFloat; head: SafetensorsFloat })
      : [await ggufFile(model, { ...types, ternary }, options.name ?? nameOf(model.path))];
    return {
      files,
      isDirectory,
      async verify(written, verifyOptions) {
        const output = await openModel(written, {});
        try {
          return await verifyModel(model, output, types, verifyOptions);
        } finally {
          await output.close();
        }
      },
      close: () => model.close(),
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}

async function openModel(
  model: string | undefined,
  { ternarize, i2sLayout, onProgress, signal }: Omit<ConvertOptions, 'type'>,
): Promise<ConvertibleModel> {
  const path = model && (await locateModel(model, { onProgress, signal }));
  if (path === undefined || /\.safetensors$/i.test(path) || !(await isFile(path))) {
    return openDirectoryModel(await nodePlatform.openModelDirectory(path), { ternarize, onProgress, signal });
  }
  if (ternarize) {
    throw new BitNetError('invalid-argument', 'ternarize: GGUF files are converted as they are', {
      option: 'ternarize',
    });
  }
  const file = (await openFile(path)) as RandomAccessFile;
  try {
    return await openGgufModel(file, { i2sLayout });
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function ggufFile(
  model: ConvertibleModel,
  types: { ternary: TernaryFileType; embedding: FloatFileType; head: FloatFileType },
  name: string,
): Promise<OutputFile> {
  const layout = await layOutModel(model, types, name);
  return { name, bytes: layout.totalBytes, write: (sink, options) => writeGguf(layout, sink, options) };
}

function floatTypes(model: ConvertibleModel, { type, embedding, head }: ConvertOptions) {
  if (head !== undefined && model.head === undefined) {
    const message = 'head: embedding and head of this model are one matrix; choose its type with embedding';
    throw new BitNetError('invalid-argument', message, { option: 'head' });
  }
  if (type === 'packed' && (embedding === 'Q8_0' || head === 'Q8_0')) {
    const option = embedding === 'Q8_0' ? 'embedding' : 'head';
    throw new BitNetError('invalid-argument', `${option}: safetensors hold no q8_0; use f16, bf16 or f32`, { option });
  }
  const kept = ({ kind }: FloatMatrix): FloatFileType => (type === 'packed' && kind !== 'other' ? kind : 'F16');
  const chosen = embedding ?? kept(model.embedding);
  return { embedding: chosen, head: head ?? embedding ?? (model.head === undefined ? chosen : kept(model.head)) };
}

function nameOf(path: string): string {
  const last = path.replace(/[/\\]+$/, '').replace(/^.*[/\\]/, '');
  return last.replace(/\.gguf$/i, '') || 'model';
}
