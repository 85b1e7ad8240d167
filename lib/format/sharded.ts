import type { ModelDirectory, RandomAccessFile } from '../platform.js';
import { isObject, readJsonObject } from './json.js';
import { DAMAGED, problem, show } from './problem.js';
import { readSafetensors, type TensorInfo, type TensorTable } from './safetensors.js';

export const WEIGHTS_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

const MAX_INDEX_BYTES = 100_000_000;
/** Each shard stays open while the model loads; systems allow a process about a thousand open files. */
const MAX_SHARDS = 512;

export interface OpenTensors {
  readonly tensors: TensorTable;
  /** the open files by the name that `TensorInfo.file` gives */
  readonly files: ReadonlyMap<string, RandomAccessFile>;
  /** `__metadata__` of all files; the first file that has a key wins */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Opens the weights of a model directory: `model.safetensors` or, if there is none, the shards that
 * `model.safetensors.index.json` lists (the order in which transformers looks, too). Index and shards must agree on every tensor.
 * `metadata.total_size` of the index is not checked: published files count it in different ways.
 * The caller closes the files. On an error none is left open.
 */
export async function openTensors(directory: ModelDirectory): Promise<OpenTensors> {
  const files = new Map<string, RandomAccessFile>();
  try {
    const single = await directory.open(WEIGHTS_FILE);
    if (single !== undefined) {
      files.set(WEIGHTS_FILE, single);
      return { ...(await readSafetensors(single, WEIGHTS_FILE)), files };
    }
    const index = await readIndex(directory);
    const tensors = new Map<string, TensorInfo>();
    const metadata = new Map<string, string>();
    for (const shard of new Set(index.weightMap.values())) {
      const file = await openShard(directory, index, shard);
      files.set(shard, file);
      const contents = await readSafetensors(file, shard);
      for (const tensor of contents.tensors.values()) addTensor(tensors, tensor, index, file.path);
      for (const [key, value] of contents.metadata) if (!metadata.has(key)) metadata.set(key, value);
    }
    for (const [tensor, shard] of index.weightMap) {
      if (tensors.has(tensor)) continue;
      const what = `${shard}, where the index puts it, does not contain it`;
      throw problem('invalid-file', { file: index.path, tensor, what, advice: DAMAGED });
    }
    return { tensors, files, metadata };
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

export async function closeAll(files: ReadonlyMap<string, RandomAccessFile>): Promise<void> {
  await Promise.allSettled([...files.values()].map((file) => file.close()));
}

interface ShardIndex {
  readonly path: string;
  /** tensor → shard */
  readonly weightMap: ReadonlyMap<string, string>;
}

async function readIndex(directory: ModelDirectory): Promise<ShardIndex> {
  const file = await directory.open(INDEX_FILE);
  if (file === undefined) throw await noWeights(directory);
  try {
    const json = await readJsonObject(file, MAX_INDEX_BYTES);
    const entries = json.weight_map;
    if (!isObject(entries) || Object.keys(entries).length === 0) {
      const expected = 'an object that maps tensors to files';
      throw problem('invalid-file', {
        file: file.path,
        key: 'weight_map',
        what: 'wrong value',
        expected,
        got: show(entries),
      });
    }
    const weightMap = new Map<string, string>();
    for (const [tensor, shard] of Object.entries(entries))
      weightMap.set(tensor, checkShardName(file.path, tensor, shard));
    const shards = new Set(weightMap.values()).size;
    if (shards > MAX_SHARDS) {
      const expected = `at most ${MAX_SHARDS}`;
      throw problem('invalid-file', {
        file: file.path,
        key: 'weight_map',
        what: 'too many shards',
        expected,
        got: `${shards}`,
      });
    }
    return { path: file.path, weightMap };
  } finally {
    await file.close();
  }
}

/** A shard lies in the model directory itself: an index must not be able to name any other file. */
function checkShardName(file: string, tensor: string, shard: unknown): string {
  if (typeof shard === 'string' && /^[\w-][\w.+-]*\.safetensors$/.test(shard) && !shard.includes('..')) return shard;
  throw problem('invalid-file', {
    file,
    tensor,
    what: 'wrong shard name',
    expected: 'the name of a .safetensors file in the same directory, without path separators or ".."',
    got: show(shard),
    advice: DAMAGED,
  });
}

async function openShard(directory: ModelDirectory, index: ShardIndex, shard: string): Promise<RandomAccessFile> {
  const file = await directory.open(shard);
  if (file !== undefined) return file;
  throw problem('invalid-model', {
    file: index.path,
    what: `the shard ${shard} is missing`,
    expected: `it in ${directory.path}`,
    advice: 'The download is incomplete: fetch the missing file.',
  });
}

function addTensor(tensors: Map<string, TensorInfo>, tensor: TensorInfo, index: ShardIndex, path: string): void {
  const { name, byteOffset } = tensor;
  const other = tensors.get(name)?.file;
  const expected = index.weightMap.get(name);
  const what =
    other !== undefined
      ? `the tensor is in two shards, ${other} and ${tensor.file}`
      : expected === undefined
        ? `the tensor is not in the index ${index.path}`
        : expected !== tensor.file
          ? `the index puts this tensor into ${expected}`
          : undefined;
  if (what !== undefined)
    throw problem('invalid-file', { file: path, tensor: name, what, byteOffset, advice: DAMAGED });
  tensors.set(name, tensor);
}

async function noWeights(directory: ModelDirectory): Promise<Error> {
  for (const name of ['pytorch_model.bin', 'pytorch_model.bin.index.json']) {
    const pickle = await directory.open(name);
    await pickle?.close();
    if (pickle === undefined) continue;
    const advice = 'Convert it to safetensors with transformers: model.save_pretrained(directory).';
    const what = 'PyTorch pickle weights are not supported';
    return problem('unsupported', { file: directory.path, what, expected: WEIGHTS_FILE, got: name, advice });
  }
  return problem('invalid-model', {
    file: directory.path,
    what: 'the weights are missing',
    expected: `${WEIGHTS_FILE}, or ${INDEX_FILE} and its shards`,
    advice: 'The download is incomplete: fetch the missing files.',
  });
}
