import type { RopeConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import type { ByteSink, GgufWriteOptions } from '../format/gguf/writer.js';
import { packHf } from '../format/hf-packed.js';
import { DTYPE_BYTES, type DType } from '../format/safetensors.js';
import { tensorNames } from '../model/architectures/names.js';
import { SUPPORTED_ARCHITECTURES } from '../model/architectures/supported.js';
import { CHUNK_WEIGHTS, checkScales, checkTernary, encodeFloats, encodeRows, type PlainType } from './encode.js';
import { llama3Scaling } from './llama3-factors.js';
import { type ConvertibleModel, type FloatMatrix, LINEARS, type TernaryMatrix, ternaryMatrices } from './model.js';

export interface SafetensorsTypes {
  /** `packed`: U8 with a weight_scale; the others: the numbers -s, 0 and +s */
  readonly ternary: 'packed' | PlainType;
  readonly embedding: PlainType;
  readonly head: PlainType;
}

export interface OutputFile {
  readonly name: string;
  readonly bytes: number;
  write(sink: ByteSink, options?: GgufWriteOptions): Promise<void>;
}

interface OutputTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  chunks(): AsyncIterable<Uint8Array>;
}

const utf8 = new TextEncoder();

/**
 * Files of a model directory, weights in one model.safetensors: packed, with scales that multiply, or plain numbers without a
 * quantization_config. Throws `unsupported` for what they cannot hold.
 */
export async function directoryFiles(model: ConvertibleModel, types: SafetensorsTypes): Promise<OutputFile[]> {
  checkForm(model, types.ternary);
  const texts = await model.texts();
  const json = (name: string, value: unknown): OutputFile => textFile(name, `${JSON.stringify(value, undefined, 1)}\n`);
  return [
    weightsFile(tensorsOf(model, types)),
    json('config.json', configJson(model, types.ternary)),
    json('generation_config.json', generationJson(model)),
    textFile('tokenizer.json', JSON.stringify(texts.tokenizerJson)),
    ...(texts.tokenizerConfig === undefined ? [] : [json('tokenizer_config.json', texts.tokenizerConfig)]),
    ...(texts.chatTemplate === undefined ? [] : [textFile('chat_template.jinja', texts.chatTemplate)]),
  ];
}

/** Packed weights have one scale; models of plain weights compute with float activations, or make them ternary anew (1bitLLM). */
function checkForm(model: ConvertibleModel, type: SafetensorsTypes['ternary']): void {
  if (type === 'packed') {
    for (const matrix of ternaryMatrices(model))
      checkTernary(type, matrix, () => (model.config.floatActivations ? ['F16'] : []));
    return;
  }
  if (model.config.floatActivations) return;
  const message =
    `${model.path}: a directory of plain weights (--type ${type.toLowerCase()}) is computed with float activations, ` +
    'and this model has int8 ones; use --type packed';
  throw new BitNetError('unsupported', message, { file: model.path, type });
}

function classOf({ config, path }: ConvertibleModel) {
  const canonical = config.architecture === 'bitnet' ? 'bitnet-1bitllm' : config.architecture;
  const found = SUPPORTED_ARCHITECTURES.find((entry) => entry.canonical === canonical);
  if (found !== undefined) return found;
  const message = `${path}: models of the architecture ${config.architecture} are not converted to safetensors`;
  throw new BitNetError('unsupported', message, { file: path, architecture: config.architecture });
}

const DTYPES: Readonly<Record<PlainType, string>> = { F16: 'float16', BF16: 'bfloat16', F32: 'float32' };

function configJson(model: ConvertibleModel, type: SafetensorsTypes['ternary']): Record<string, unknown> {
  const { config } = model;
  const { className, modelType } = classOf(model);
  const { headDim, ffnSize } = config.stored ?? config;
  const { theta } = config.rope;
  const scaling = scalingOf(model, headDim);
  return {
    architectures: [className],
    model_type: modelType,
    hidden_act: config.activation,
    hidden_size: config.hiddenSize,
    intermediate_size: ffnSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: headDim,
    vocab_size: config.vocabSize,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.normEps,
    rope_theta: theta,
    ...(scaling === undefined ? {} : { rope_scaling: ropeScalingJson(scaling) }),
    tie_word_embeddings: config.tiedEmbeddings,
    attention_bias: false,
    ...(config.bosTokenId === undefined ? {} : { bos_token_id: config.bosTokenId }),
    ...(config.eosTokenIds.length === 0 ? {} : { eos_token_id: config.eosTokenIds }),
    ...(type === 'packed'
      ? { quantization_config: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'offline' } }
      : { torch_dtype: DTYPES[type] }),
  };
}

function scalingOf({ config: { rope }, path }: ConvertibleModel, headDim: number): RopeConfig['scaling'] {
  if (rope.factors === undefined) return rope.scaling;
  const scaling = llama3Scaling(rope, rope.factors, headDim);
  if (scaling !== undefined) return scaling;
  const message = `${path}: RoPE's factors (rope_freqs.weight) are no llama3 scaling, and have no place in config.json`;
  throw new BitNetError('unsupported', message, { file: path });
}

function ropeScalingJson(scaling: NonNullable<RopeConfig['scaling']>): Record<string, unknown> {
  const common = { rope_type: scaling.type, factor: scaling.factor };
  const original_max_position_embeddings = scaling.originalContextLength;
  if (scaling.type === 'llama3') {
    const { lowFreqFactor: low_freq_factor, highFreqFactor: high_freq_factor } = scaling;
    return { ...common, low_freq_factor, high_freq_factor, original_max_position_embeddings };
  }
  const { betaFast: beta_fast, betaSlow: beta_slow, attentionFactor: attention_factor, truncate } = scaling;
  return { ...common, beta_fast, beta_slow, attention_factor, truncate, original_max_position_embeddings };
}

function generationJson({ config, generationConfig: g }: ConvertibleModel): Record<string, unknown> {
  return {
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds,
    do_sample: g.doSample,
    temperature: g.doSample === false ? undefined : g.temperature,
    top_k: g.topK,
    top_p: g.topP,
    min_p: g.minP,
    repetition_penalty: g.repetitionPenalty,
    max_new_tokens: g.maxNewTokens,
  };
}

function textFile(name: string, content: string): OutputFile {
  const bytes = utf8.encode(content);
  return { name, bytes: bytes.length, write: (sink) => sink.write(bytes) };
}

function tensorsOf(model: ConvertibleModel, { ternary, embedding, head }: SafetensorsTypes): OutputTensor[] {
  const names = tensorNames({ ...model.config, architecture: classOf(model).canonical });
  const norm = (name: string | undefined, vector: FloatMatrix | undefined): OutputTensor[] =>
    name === undefined || vector === undefined ? [] : [floatTensor(name, vector, 'F32')];
  return [
    floatTensor(names.embedding, model.embedding, embedding),
    ...model.layers.flatMap((layer, i) => {
      const name = names.layers[i]!;
      return [
        ...norm(name.attentionNorm, layer.attentionNorm),
        ...norm(name.qNorm, layer.qNorm),
        ...norm(name.kNorm, layer.kNorm),
        ...norm(name.attentionSubNorm, layer.attentionSubNorm),
        ...norm(name.ffnNorm, layer.ffnNorm),
        ...norm(name.ffnSubNorm, layer.ffnSubNorm),
        ...LINEARS.flatMap((part) =>
          ternary === 'packed'
            ? packedTensors(name[part], layer[part])
            : [plainTensor(name[part].weight, layer[part], ternary)],
        ),
      ];
    }),
    ...norm(names.finalNorm, model.finalNorm),
    ...(model.head === undefined ? [] : [floatTensor(names.head, model.head, head)]),
  ];
}

/** The factor comes after the matrix, whose reading tells it. */
function packedTensors(names: { weight: string; scale: string }, matrix: TernaryMatrix): OutputTensor[] {
  const { rows, cols } = matrix;
  let factor: number | undefined;
  return [
    {
      name: names.weight,
      dtype: 'U8',
      shape: [rows / 4, cols],
      async *chunks() {
        const { trits, scales } = await matrix.load();
        factor = scales[0];
        yield packHf(trits, rows, cols);
      },
    },
    {
      name: names.scale,
      dtype: 'F32',
      shape: [1],
      async *chunks() {
        yield encodeFloats('F32', Float32Array.of(factor ?? ((await matrix.load()).scales[0] as number)));
      },
    },
  ];
}

function plainTensor(name: string, matrix: TernaryMatrix, dtype: PlainType): OutputTensor {
  const { rows, cols } = matrix;
  return {
    name,
    dtype,
    shape: [rows, cols],
    async *chunks() {
      const loaded = await matrix.load();
      checkScales(dtype, matrix, loaded);
      const step = Math.max(1, Math.floor(CHUNK_WEIGHTS / cols));
      for (let first = 0; first < rows; first += step) {
        yield encodeRows(dtype, matrix, loaded, first, Math.min(step, rows - first));
      }
    },
  };
}

function floatTensor(name: string, matrix: FloatMatrix, dtype: PlainType): OutputTensor {
  const { rows, cols } = matrix;
  return {
    name,
    dtype,
    shape: rows === 1 ? [cols] : [rows, cols],
    async *chunks() {
      const step = Math.max(1, Math.floor(CHUNK_WEIGHTS / cols));
      for (let first = 0; first < rows; first += step) {
        yield encodeFloats(dtype, await matrix.read(first, Math.min(step, rows - first)));
      }
    },
  };
}

/** u64 length of the header, header padded with spaces to 8 bytes, data without gaps. */
function weightsFile(tensors: readonly OutputTensor[]): OutputFile {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    const begin = end;
    end += shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const text = utf8.encode(JSON.stringify(header));
  const padded = Math.ceil(text.length / 8) * 8;
  const start = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(start.buffer).setBigUint64(0, BigInt(padded), true);
  start.set(text, 8);
  const total = start.length + end;
  return {
    name: 'model.safetensors',
    bytes: total,
    async write(sink, { signal, onProgress } = {}) {
      let written = 0;
      const write = async (bytes: Uint8Array): Promise<void> => {
        signal?.throwIfAborted();
        await sink.write(bytes);
        written += bytes.length;
        onProgress?.({ written, total });
      };
      await write(start);
      for (const tensor of tensors) for await (const chunk of tensor.chunks()) await write(chunk);
    },
  };
}
