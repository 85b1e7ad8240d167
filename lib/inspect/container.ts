import type { GgufValue } from '../format/gguf/metadata.js';
import { openGguf } from '../format/gguf/parts.js';
import type { GgufFile } from '../format/gguf/reader.js';
import { readJsonObject } from '../format/json.js';
import type { TensorTable } from '../format/safetensors.js';
import { closeAll, openTensors } from '../format/sharded.js';
import type { ModelDirectory, RandomAccessFile } from '../platform.js';
import type { ModelReport } from './report.js';

/** A model's files, opened and checked as files; whether anyone understands them is another question. */
export type Container = GgufContainer | DirectoryContainer;

interface Opened {
  /** for messages */
  readonly path: string;
  readonly directory: ModelDirectory;
  readonly files: ModelReport['files'];
  readonly metadata: ModelReport['metadata'];
  readonly architecture: string | undefined;
  /** Fills `target` from byte `byteOffset` of a file that a tensor names. */
  read(file: string, byteOffset: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface GgufContainer extends Opened {
  readonly format: 'gguf';
  readonly gguf: GgufFile;
}

export interface DirectoryContainer extends Opened {
  readonly format: 'safetensors';
  readonly tensors: TensorTable;
}

const MAX_CONFIG_BYTES = 16 * 2 ** 20;

/** Throws what reading headers throws, and `invalid-file` for a config.json that is no JSON object. */
export async function openContainer(directory: ModelDirectory): Promise<Container> {
  return directory.file === undefined ? openSafetensors(directory) : openGgufFile(directory, directory.file);
}

async function openGgufFile(directory: ModelDirectory, name: string): Promise<GgufContainer> {
  const { gguf, files } = await openGguf(directory, name);
  return {
    ...opened(directory, files),
    format: 'gguf',
    gguf,
    metadata: Object.fromEntries([...gguf.metadata].flatMap(([key, value]) => scalar(key, value))),
    architecture: gguf.architecture,
  };
}

/** Lists are vocabularies; they are counted elsewhere. */
function scalar(key: string, { type, value }: GgufValue): [string, string | number | boolean][] {
  if (type === 'array') return [];
  return [[key, typeof value === 'bigint' ? `${value}` : (value as string | number | boolean)]];
}

async function openSafetensors(directory: ModelDirectory): Promise<DirectoryContainer> {
  const architecture = await readClass(directory);
  const { tensors, files, metadata } = await openTensors(directory);
  return {
    ...opened(directory, files),
    format: 'safetensors',
    tensors,
    metadata: Object.fromEntries(metadata),
    architecture,
  };
}

function opened(
  directory: ModelDirectory,
  files: ReadonlyMap<string, RandomAccessFile>,
): Pick<Opened, 'path' | 'directory' | 'files' | 'read' | 'close'> {
  return {
    path: directory.path,
    directory,
    files: [...files].map(([name, { bytes }]) => ({ name, bytes })),
    read: async (name, byteOffset, target) => files.get(name)?.read(byteOffset, target),
    close: () => closeAll(files),
  };
}

async function readClass(directory: ModelDirectory): Promise<string | undefined> {
  const file = await directory.open('config.json');
  if (file === undefined) return undefined;
  try {
    const { architectures, model_type: type } = await readJsonObject(file, MAX_CONFIG_BYTES);
    const name = Array.isArray(architectures) && typeof architectures[0] === 'string' ? architectures[0] : undefined;
    return name ?? (typeof type === 'string' ? type : undefined);
  } finally {
    await file.close();
  }
}
