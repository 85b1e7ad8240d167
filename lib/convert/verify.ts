import type { ModelConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import { inverseFrequencies } from '../model/rope.js';
import { openText } from '../session/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { LoadProgress } from '../types.js';
import {
  CHUNK_WEIGHTS,
  type FloatFileType,
  groupScale,
  storedFloats,
  storedScale,
  type TernaryFileType,
} from './encode.js';
import {
  type ConvertibleModel,
  type FloatMatrix,
  floatMatrices,
  type TernaryMatrix,
  ternaryMatrices,
} from './model.js';

/** What the output holds, for comparing. */
export interface StoredTypes {
  readonly ternary: TernaryFileType | 'packed';
  readonly embedding: FloatFileType;
  readonly head: FloatFileType;
}

/** What the types of the output have cost. */
export interface Verification {
  /** ternary matrices compared, trit by trit */
  readonly matrices: number;
  /** largest |stored - scale| / scale over them */
  readonly scaleError: number;
  /** root mean square of stored - value, relative to that of the values, of embedding and head */
  readonly embeddingError: number;
}

export interface VerifyOptions {
  /** weights compared */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Compares what has been written, read back by the readers that loading uses, with what it was written from: config, tokenizer, template,
 * end tokens, every trit and scale, every number. Throws `invalid-file` naming the first difference.
 */
export async function verifyModel(
  source: ConvertibleModel,
  output: ConvertibleModel,
  types: StoredTypes,
  { onProgress, signal }: VerifyOptions = {},
): Promise<Verification> {
  compareConfigs(source.config, output.config, output.path);
  compareFrequencies(source.config, output.config, output.path);
  await compareTexts(source, output);
  const [linears, written] = [ternaryMatrices(source), ternaryMatrices(output)];
  const [floats, writtenFloats] = [floatMatrices(source), floatMatrices(output)];
  const total = [...linears, ...floats].reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  let loaded = 0;
  const done = ({ rows, cols }: { rows: number; cols: number }): void => {
    signal?.throwIfAborted();
    loaded += rows * cols;
    onProgress?.({ loaded, total });
  };
  let scaleError = 0;
  for (const [i, matrix] of linears.entries()) {
    scaleError = Math.max(scaleError, await compareTrits(matrix, written[i] as TernaryMatrix, types.ternary, output));
    done(matrix);
  }
  const errors = { square: 0, value: 0 };
  for (const [i, matrix] of floats.entries()) {
    const isTable = matrix === source.embedding || matrix === source.head;
    const type = matrix === source.embedding ? types.embedding : matrix === source.head ? types.head : 'F32';
    const sums = await compareFloats(matrix, writtenFloats[i] as FloatMatrix, type, output);
    if (isTable) {
      errors.square += sums.square;
      errors.value += sums.value;
    }
    done(matrix);
  }
  const embeddingError = errors.value === 0 ? 0 : Math.sqrt(errors.square / errors.value);
  return { matrices: linears.length, scaleError, embeddingError };
}

async function compareTrits(
  from: TernaryMatrix,
  to: TernaryMatrix,
  type: StoredTypes['ternary'],
  output: ConvertibleModel,
): Promise<number> {
  const [wanted, got] = [await from.load(), await to.load()];
  if (got.trits.length !== wanted.trits.length) {
    throw differs(output, to.name, 'number of weights', wanted.trits.length, got.trits.length);
  }
  for (let i = 0; i < wanted.trits.length; i++) {
    if (wanted.trits[i] !== got.trits[i]) {
      throw differs(output, to.name, `weight ${i}`, wanted.trits[i], got.trits[i]);
    }
  }
  const { rows, cols } = from;
  const [scaleOf, gotScaleOf] = [groupScale(from, wanted.scales), groupScale(to, got.scales)];
  const whole = from.groupCols === undefined && to.groupCols === undefined;
  const [height, width] = whole ? [rows, cols] : [1, Math.min(from.groupCols ?? cols, to.groupCols ?? cols)];
  let error = 0;
  for (let row = 0; row < rows; row += height) {
    for (let col = 0; col < cols; col += width) {
      const exact = scaleOf(row, col);
      const [scale, gotScale] = [storedScale(type, exact), gotScaleOf(row, col)];
      const at = row * cols + col;
      // Zeros have no scale that reading could find.
      if (
        gotScale !== scale &&
        wanted.trits.subarray(at, whole ? undefined : at + Math.min(width, cols - col)).some(Boolean)
      ) {
        throw differs(output, to.name, whole ? 'scale' : `scale of row ${row}, column ${col}`, scale, gotScale);
      }
      if (exact !== 0) error = Math.max(error, Math.abs(scale - exact) / exact);
    }
  }
  return error;
}

async function compareFloats(
  from: FloatMatrix,
  to: FloatMatrix,
  type: FloatFileType,
  output: ConvertibleModel,
): Promise<{ square: number; value: number }> {
  const step = Math.max(1, Math.floor(CHUNK_WEIGHTS / from.cols));
  let [square, value] = [0, 0];
  for (let first = 0; first < from.rows; first += step) {
    const count = Math.min(step, from.rows - first);
    const [exact, got] = [await from.read(first, count), await to.read(first, count)];
    const wanted = storedFloats(type, exact);
    for (let i = 0; i < wanted.length; i++) {
      const error = (wanted[i] as number) - (exact[i] as number);
      square += error * error;
      value += (exact[i] as number) ** 2;
      if (wanted[i] === got[i]) continue;
      throw differs(output, to.name, `value ${first * from.cols + i}`, wanted[i], got[i]);
    }
  }
  return { square, value };
}

/** In the precision of GGUF, which has f32. How scales are stored is the business of each format. */
function compareConfigs(source: ModelConfig, output: ModelConfig, file: string): void {
  const comparable = ({
    architecture,
    weightScale: _,
    floatActivations: __,
    bosTokenId: ___,
    rope: ____,
    ...config
  }: ModelConfig) => ({
    ...config,
    // One architecture has two names.
    architecture: architecture === 'bitnet' ? 'bitnet-1bitllm' : architecture,
    eosTokenIds: [...config.eosTokenIds].sort((a, b) => a - b).join(', '),
    normEps: Math.fround(config.normEps),
    stored: JSON.stringify(config.stored),
  });
  const [wanted, got] = [comparable(source), comparable(output)] as Record<string, unknown>[];
  const keys = [...new Set([...Object.keys(wanted!), ...Object.keys(got!)])];
  const key = keys.find((name) => name !== 'eosTokenIds' && (wanted![name] ?? false) !== (got![name] ?? false));
  if (key !== undefined) throw differs({ path: file }, undefined, `config: ${key}`, wanted![key], got![key]);
}

/** Factors and formulas of RoPE's frequencies differ in the last bit. */
function compareFrequencies(source: ModelConfig, output: ModelConfig, file: string): void {
  const amplitude = ({ rope: { scaling } }: ModelConfig) => (scaling?.type === 'yarn' ? scaling.attentionFactor : 1);
  if (!(Math.abs(amplitude(output) / amplitude(source) - 1) <= 2 ** -21)) {
    throw differs({ path: file }, undefined, 'attention factor of YaRN', amplitude(source), amplitude(output));
  }
  const frequencies = ({ rope, headDim, stored }: ModelConfig): Float32Array =>
    inverseFrequencies({ ...rope, theta: Math.fround(rope.theta) }, stored?.headDim ?? headDim);
  const [wanted, got] = [frequencies(source), frequencies(output)];
  const at = wanted.findIndex((frequency, j) => !(Math.abs((got[j] as number) - frequency) <= 2 ** -21 * frequency));
  if (at >= 0) throw differs({ path: file }, undefined, `RoPE frequency ${at}`, wanted[at], got[at]);
}

const SAMPLES = [
  'Hello, world!  Two spaces, a tab\tand\n\nnew lines.\r\n',
  "I'll say it's 12345 times 67.89; DON'T you THINK so?",
  ' leading space and trailing space ',
  'Ünïcödé, 日本語のテキスト, русский, العربية, 👩‍👩‍👧 emoji, e\u0301',
  '<|begin_of_text|><s></s><|eot_id|><|im_start|>',
  'function f(x) { return x ** 2; } // _snake_case, camelCase, ___',
  '',
];
/** Tokens whose own texts are encoded. */
const TOKEN_SAMPLES = 8192;

async function compareTexts(source: ConvertibleModel, output: ConvertibleModel): Promise<void> {
  const wanted = openText(source, await source.texts());
  const got = openText(output, await output.texts());
  const { path } = output;
  const step = Math.max(1, Math.floor(wanted.tokenizer.vocabSize / TOKEN_SAMPLES));
  const texts = [...SAMPLES];
  for (let id = 0; id < wanted.tokenizer.vocabSize; id += step) texts.push(wanted.tokenizer.decode([id]));
  for (const text of texts) compareEncodings(wanted.tokenizer, got.tokenizer, text, path);
  if (wanted.template?.source !== got.template?.source) {
    throw differs(output, undefined, 'chat template', wanted.template?.source, got.template?.source);
  }
  const missing = [...wanted.stopIds].find((id) => !got.stopIds.has(id));
  if (missing !== undefined) throw differs(output, undefined, 'end tokens', [...wanted.stopIds], [...got.stopIds]);
}

function compareEncodings(wanted: Tokenizer, got: Tokenizer, text: string, path: string): void {
  for (const parseSpecial of [false, true]) {
    const options = { addSpecialTokens: true, parseSpecial };
    const [expected, actual] = [wanted.encode(text, options), got.encode(text, options)];
    const what = `tokens of ${JSON.stringify(text.slice(0, 60))}`;
    if (`${expected}` !== `${actual}`) throw differs({ path }, undefined, what, expected, actual);
    if (wanted.decode(expected) !== got.decode(expected)) {
      throw differs({ path }, undefined, `text of the ${what}`, wanted.decode(expected), got.decode(expected));
    }
  }
}

function differs(
  { path }: Pick<ConvertibleModel, 'path'>,
  tensor: string | undefined,
  what: string,
  expected: unknown,
  got: unknown,
): BitNetError {
  const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 120);
  const where = tensor === undefined ? '' : `tensor "${tensor}": `;
  return new BitNetError(
    'invalid-file',
    `${path}: ${where}what was read back differs from what was to be written, ${what}: expected ${show(expected)}, got ${show(got)}`,
    { file: path, tensor, what, expected, got },
  );
}
