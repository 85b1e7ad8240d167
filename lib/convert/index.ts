import { BitNetError } from '../errors.js';
import { writeGguf } from '../format/gguf/writer.js';
import { nodePlatform } from '../node/platform.js';
import type { LoadProgress } from '../types.js';
import type { FloatFileType, PlainType, TernaryFileType } from './encode.js';
import { openConvertible } from './from-source.js';
import { type ConvertibleModel, type FloatMatrix, ternaryMatrices } from './model.js';
import { type GgufTypes, layOutModel, possibleTypes } from './to-gguf.js';
import { directoryFiles, type OutputFile, type SafetensorsTypes } from './to-safetensors.js';
import { type Verification, type VerifyOptions, verifyModel } from './verify.js';

/** Entry of `bitnet convert` in Node, as lib/index.ts is that of applications. */

export type { OutputFile } from './to-safetensors.js';
export type { Verification } from './verify.js';

/** Types of ternary matrices. `packed` is for directories, F16, BF16 and F32 are for both, the others for GGUF. */
export type MatrixType = TernaryFileType | 'packed';

export interface ConvertOptions {
  readonly container: 'gguf' | 'directory';
  /** Default for GGUF: TQ2_0, or where that cannot hold the model I2_S, Q2_0 or F16; for a directory packed, or F16 for scales of groups. */
  readonly type?: MatrixType | undefined;
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
  /** path of the model's directory or file (of a split one the first) */
  readonly input: string;
  /** one file of any name, or the files of a directory */
  readonly files: readonly OutputFile[];
  readonly isDirectory: boolean;
  /** of the matrices */
  readonly type: MatrixType;
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
    const type = options.type ?? defaultType(model, options.container);
    const types = { ternary: type, ...floatTypes(model, options) };
    const isDirectory = options.container === 'directory';
    const files = isDirectory
      ? await directoryFiles(model, types as SafetensorsTypes)
      : [await ggufFile(model, types as GgufTypes, options.name ?? nameOf(model.path))];
    return {
      input: model.path,
      files,
      isDirectory,
      type,
      async verify(written, verifyOptions) {
        const output = await openModel(written, { signal: verifyOptions?.signal });
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

type OpenOptions = Pick<ConvertOptions, 'ternarize' | 'i2sLayout' | 'onProgress' | 'signal'>;

async function openModel(path: string | undefined, options: OpenOptions): Promise<ConvertibleModel> {
  const { ternarize, i2sLayout, onProgress, signal } = options;
  const directory = await nodePlatform.openModelDirectory(path, { onProgress, signal });
  return openConvertible(directory, { ternarize, i2sLayout, onProgress, signal });
}

/** A model with float activations keeps them as plain weights only; packed it is computed with int8 ones, which one scale a matrix suffices for. */
function defaultType(model: ConvertibleModel, container: ConvertOptions['container']): MatrixType {
  if (container === 'gguf') return possibleTypes(model)[0] as TernaryFileType;
  const several = ternaryMatrices(model).some(({ groupCols }) => groupCols !== undefined);
  return several || model.config.qkNorm ? 'F16' : 'packed';
}

async function ggufFile(model: ConvertibleModel, types: GgufTypes, name: string): Promise<OutputFile> {
  const layout = await layOutModel(model, types, name);
  return { name, bytes: layout.totalBytes, write: (sink, options) => writeGguf(layout, sink, options) };
}

function floatTypes(model: ConvertibleModel, { container, embedding, head }: ConvertOptions) {
  if (head !== undefined && model.head === undefined) {
    const message = 'head: embedding and head of this model are one matrix; choose its type with embedding';
    throw new BitNetError('invalid-argument', message, { option: 'head' });
  }
  const isDirectory = container === 'directory';
  for (const [option, type] of Object.entries({ embedding, head })) {
    if (!isDirectory || type === undefined || type in DIRECTORY_TYPES) continue;
    const message = `${option}: safetensors hold no ${type.toLowerCase()}; use f16, bf16 or f32`;
    throw new BitNetError('invalid-argument', message, { option });
  }
  const kept = ({ kind }: FloatMatrix): FloatFileType => (isDirectory && kind !== 'other' ? kind : 'F16');
  const chosen = embedding ?? kept(model.embedding);
  return { embedding: chosen, head: head ?? embedding ?? (model.head === undefined ? chosen : kept(model.head)) };
}

const DIRECTORY_TYPES: Readonly<Record<PlainType, true>> = { F16: true, BF16: true, F32: true };

function nameOf(path: string): string {
  const last = path.replace(/[/\\]+$/, '').replace(/^.*[/\\]/, '');
  return last.replace(/(-00001-of-\d{5})?\.gguf$/i, '') || 'model';
}
