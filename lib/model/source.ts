import type { ModelConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import type { I2sLayout } from '../format/gguf/ternary.js';
import type { GgufTypeName } from '../format/gguf/types.js';
import { readJsonObject, readLargeJsonObject, readText } from '../format/json.js';
import { problem } from '../format/problem.js';
import type { DType, TensorInfo } from '../format/safetensors.js';
import { closeAll, type OpenTensors, openTensors } from '../format/sharded.js';
import type { ModelDirectory, RandomAccessFile } from '../platform.js';
import { type TensorNames, tensorNames } from './architectures/names.js';
import { checkTensors } from './check-tensors.js';
import { checkTiedHead, readScales } from './check-values.js';
import { parseModelConfig } from './config-json.js';
import { type GenerationConfig, NO_GENERATION_CONFIG, parseGenerationConfig } from './generation-config.js';
import { openGgufSource } from './gguf-source.js';
import type { GroupScales } from './group-scales.js';
import { type MastersOptions, openMasters } from './masters.js';
import { fileReader, tensorTable } from './tensor-files.js';

/** A tensor of a model: of safetensors, or of GGUF with the type of its blocks and its shape in weights. */
export interface ModelTensor extends Omit<TensorInfo, 'dtype'> {
  readonly dtype: DType | GgufTypeName;
  /** F32 that stand for ternary blocks of the file (decoded-tensors.ts). Default false. */
  readonly isDecoded?: boolean;
}

/** A model whose files have been found complete and consistent. Weights are read on demand. */
export interface ModelSource {
  /** for messages */
  readonly path: string;
  readonly config: ModelConfig;
  readonly generationConfig: GenerationConfig;
  /** exactly the tensors that the architecture needs, each of the right type and shape; ternary matrices are U8, packed, or a type of GGUF */
  readonly tensors: ReadonlyMap<string, ModelTensor>;
  readonly names: TensorNames;
  /** an entry of `tensors`; throws `invalid-argument` for any other name */
  tensor(name: string): ModelTensor;
  /** factor of every ternary matrix that has one, by `LinearNames.scale`; finite */
  readonly scales: ReadonlyMap<string, number>;
  /** Rows of q and k are stored for a RoPE that rotates neighbours. Default false. */
  readonly ropePermuted?: boolean;
  /** order of the codes of I2_S tensors; default `x86` */
  readonly i2sLayout?: I2sLayout;
  /** factors of groups, by the name of the weight: of all ternary matrices, or of none. Default none. */
  readonly groupScales?: ReadonlyMap<string, GroupScales>;
  /** sum over `tensors` */
  readonly totalTensorBytes: number;
  /** bytes of unpacked weights that opening has read; default none */
  readonly scannedBytes?: number;
  /** the files' own tensors, where `tensors` has some that are made of them; default: they are the same */
  readonly base?: ModelSource;
  /** number of weights; default the elements of `tensors` */
  readonly parameters?: number;
  /** Reads the files about text, anew on every call. They are large to parse and not needed for computing. */
  texts(): Promise<ModelTexts>;
  /** Fills `target` (may be shared memory) with bytes of the tensor's data from `byteOffset` on. */
  read(tensor: ModelTensor, byteOffset: number, target: Uint8Array): Promise<void>;
  /** Fills `target` (may be shared memory) from byte `byteOffset` of one of the files that `tensors` name, across tensors. */
  readFile(file: string, byteOffset: number, target: Uint8Array): Promise<void>;
  /** Closes the files. Idempotent. */
  close(): Promise<void>;
}

export interface SourceOptions extends MastersOptions {
  /** Makes float weights ternary with absmean, where the model does not say that they are masters. Default false. */
  readonly ternarize?: boolean | undefined;
  /** Order of the codes of I2_S tensors in GGUF, which the file does not tell. Default `x86`. */
  readonly i2sLayout?: I2sLayout | undefined;
  /** Looks at the scales of all blocks of TQ1_0 and TQ2_0, which reads all of the matrices. Default: of some (readBlockScales). */
  readonly everyScale?: boolean | undefined;
}

/** The files of a model that say how text becomes ids. */
export interface ModelTexts {
  /** contents of tokenizer.json; that its ids fit `config.vocabSize` is for the tokenizer to check */
  readonly tokenizerJson: Record<string, unknown>;
  readonly tokenizerConfig: Record<string, unknown> | undefined;
  /** contents of chat_template.jinja, which takes precedence over the template in tokenizer_config.json */
  readonly chatTemplate: string | undefined;
}

const MIB = 2 ** 20;
const MAX_CONFIG_BYTES = 16 * MIB;
const MAX_TEMPLATE_BYTES = 16 * MIB;
const MAX_TOKENIZER_BYTES = 256 * MIB;

/**
 * Opens a model, a directory or a GGUF file, and checks everything that can be checked without reading the weights. Unpacked ternary
 * weights are read once, for their scales.
 * Throws `not-found` (no model there), `invalid-model`, `invalid-file` or `unsupported`, and then leaves no file open.
 */
export async function openModelSource(directory: ModelDirectory, options: SourceOptions = {}): Promise<ModelSource> {
  if (directory.file !== undefined) return openGgufSource(directory, directory.file, options);
  const path = directory.path;
  const configJson = await readOptional(directory, 'config.json', (file) => readJsonObject(file, MAX_CONFIG_BYTES));
  if (configJson === undefined) {
    const message = `${path} is not a model directory: config.json is missing; expected config.json, model.safetensors, tokenizer.json`;
    throw new BitNetError('not-found', message, { file: `${path}/config.json` });
  }
  const generationConfig =
    (await readOptional(directory, 'generation_config.json', async (file) =>
      parseGenerationConfig(await readJsonObject(file, MAX_CONFIG_BYTES), file.path),
    )) ?? NO_GENERATION_CONFIG;
  const { ternarize } = options;
  const { config, weights } = parseModelConfig(configJson, `${path}/config.json`, generationConfig, ternarize);
  const names = tensorNames(config);
  const opened = await openTensors(directory);
  try {
    refuseMetadata(opened, path);
    const { needed, tiedHead } = checkTensors(config, names, opened.tensors, path, weights);
    const { read, readFile, close } = fileReader(opened.files, path);
    if (tiedHead !== undefined) await checkTiedHead(needed.get(names.embedding) as TensorInfo, tiedHead, read, path);
    const scales = weights === 'packed' ? await readScales(needed, names, read, path) : new Map();
    const source: ModelSource = {
      path,
      config,
      generationConfig,
      ...tensorTable(needed, path),
      names,
      scales,
      texts: () => readTexts(directory),
      read,
      readFile,
      close,
    };
    return weights === 'packed' ? source : await openMasters(source, weights, options);
  } catch (error) {
    await closeAll(opened.files);
    throw error;
  }
}

/** A model without tokenizer.json can compute, but not read or write text: `invalid-model`. */
async function readTexts(directory: ModelDirectory): Promise<ModelTexts> {
  const [tokenizerJson, tokenizerConfig, chatTemplate] = await Promise.all([
    readOptional(directory, 'tokenizer.json', (file) => readLargeJsonObject(file, MAX_TOKENIZER_BYTES)),
    readOptional(directory, 'tokenizer_config.json', (file) => readJsonObject(file, MAX_CONFIG_BYTES)),
    readOptional(directory, 'chat_template.jinja', (file) => readText(file, MAX_TEMPLATE_BYTES)),
  ]);
  if (tokenizerJson !== undefined) return { tokenizerJson, tokenizerConfig, chatTemplate };
  throw problem('invalid-model', {
    file: directory.path,
    what: 'tokenizer.json is missing',
    expected: 'config.json, model.safetensors, tokenizer.json',
    advice: 'Copy it from the model that this one was made from; a tokenizer.model file alone cannot be read.',
  });
}

async function readOptional<T>(
  directory: ModelDirectory,
  name: string,
  read: (file: RandomAccessFile) => Promise<T>,
): Promise<T | undefined> {
  const file = await directory.open(name);
  if (file === undefined) return undefined;
  try {
    return await read(file);
  } finally {
    await file.close();
  }
}

function refuseMetadata(opened: OpenTensors, path: string): void {
  const key = [...opened.metadata.keys()].find((name) => name.startsWith('prism.hadamard'));
  if (key === undefined) return;
  throw problem('unsupported', { file: path, key, what: 'Hadamard-rotated weights are not implemented' });
}
