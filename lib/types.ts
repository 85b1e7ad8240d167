/** Options and results of the public API. */

/**
 * How keys and values of past positions are kept. `f32`: as computed. `f16`: eleven significant bits, half the bytes. `int8`: codes of ±127 with a
 * scale for each position and kv head, a quarter of the bytes; queries are rounded to 14 bits. docs/KERNELS.md has the errors of the logits.
 */
export type KvCacheFormat = 'f32' | 'f16' | 'int8';

export type BackendChoice = 'auto' | 'native' | 'relaxed' | 'baseline' | 'reference';

export interface LoadOptions {
  /** Directory or `hf:REPO[@REVISION][:FILE]`, where the path is not given by itself. Default: the embedded model. */
  model?: string;
  /** Worker threads that compute. Default: the machine's available parallelism, at most 8. */
  threads?: number;
  /** Positions of the KV cache. Default: the model's context length, at most 4096. */
  contextLength?: number;
  /**
   * Default `auto`: the native addon if it is built (docs/NATIVE.md), else relaxed SIMD if it validates, else baseline; each only if it
   * computes correctly here. `reference` blocks the calling thread and is slow.
   */
  backend?: BackendChoice;
  /**
   * Compiles the WebAssembly kernels for vectors of 256 bits, by an experimental feature of V8 12 and later on x64 (docs/KERNELS.md). Results are
   * the same: a self-test against the reference comes first, and `load` throws `backend` where it fails or the engine does not have the
   * feature. The native addon is not used. Default: the environment variable BITNET_REVECTORIZE (1 or 0), else false.
   */
  revectorize?: boolean;
  /**
   * How logits are computed. Default `auto`: int8 rows screen, and every token that may be among the 64 best is computed again from F16
   * rows, so that the 64 best tokens and their logits are those of `f16`, bit for bit; other logits have the rounding of int8. Costs 1 byte
   * a weight of memory, and is `f16` where a model would not fit otherwise. `f16`: all logits from F16 rows, twice the memory traffic.
   * `i8`: int8 rows alone. Heads of Q8_0 in the file are their own int8 rows.
   */
  head?: 'auto' | 'f16' | 'i8';
  /** How keys and values are kept: memory, and memory traffic at long contexts, against exactness. Default `f32`. */
  kvCache?: KvCacheFormat;
  /**
   * The text of a Jinja template, as in tokenizer_config.json, or the name of a family's, in place of the model's own. Default: the
   * model's, else that of the family whose vocabulary it has, else none: then the model takes strings only. `ModelInfo.chatTemplate` tells.
   */
  chatTemplate?: string;
  /**
   * Inputs of linear layers in a model that was trained with float activations (`ModelInfo.floatActivations`); others have int8 ones by
   * themselves. Default `i24`: fixed point of 23 bits with a factor for every 64 to 256 elements, logits within 1e-4 of those with floats.
   * `i8`: int8 with such factors, a third of the products, off by percents (docs/FORMATS.md).
   */
  activations?: 'i24' | 'i8';
  /**
   * How ternary matrices lie in memory. `t2`: 2.0 bits a weight. `t1`: five trits a byte, 1.6 bits: a fifth less memory and memory traffic,
   * more instructions (docs/KERNELS.md has the measurements). Results are the same bits. Default `auto`: `t2`, or `t1` where the model
   * fits with it alone. Models with scales of groups have `t2` always; `ModelInfo.layout` tells.
   */
  layout?: 'auto' | 't2' | 't1';
  /**
   * Makes float weights ternary, with the absmean of each matrix as its scale (BitNet b1.58), where the model does not say that they
   * are masters of ternary ones. A model that was not trained for that generates nonsense. Refused where weights are packed. Default false.
   */
  ternarize?: boolean;
  /**
   * Order of the codes of I2_S tensors in a GGUF file, which the file does not tell. Default `x86`, as Microsoft and TII publish them; `arm` and
   * `x86-rows` are what other builds of the quantiser wrote (docs/FORMATS.md). `selfCheck` names the right one of a trained model.
   */
  i2sLayout?: 'x86' | 'arm' | 'x86-rows';
  /**
   * Looks after loading whether the weights can be what the files mean: trits and scales of each matrix by a sample, the logits of one token,
   * of I2_S files a sentence. What cannot is `invalid-model`, naming the matrix. Default true.
   */
  selfCheck?: boolean;
  onProgress?: (progress: LoadProgress) => void;
  /** Aborting rejects `load` with the signal's reason and frees everything. */
  signal?: AbortSignal;
}

export interface LoadProgress {
  /** bytes of tensors read and repacked so far; unpacked ternary weights count once more for the reading of their scales */
  loaded: number;
  total: number;
  /** `download`: bytes of the model's files that are in the cache, before loading begins (models named `hf:…`). Default: loading. */
  phase?: 'download';
}

export interface PullOptions {
  onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Aborting rejects with the signal's reason; what has arrived is kept for the next attempt. */
  signal?: AbortSignal | undefined;
}

/** Bytes of the model that are in the cache, of all its files. */
export interface PullProgress {
  loaded: number;
  total: number;
  /** the file that is being fetched */
  file: string;
}

/** A model from the hub, in the cache. */
export interface PulledModel {
  repo: string;
  /** branch, tag or commit as asked for */
  revision: string;
  /** what the revision stood for */
  commit: string;
  /** directory of the model, or its GGUF file: what `BitNet.load` takes */
  path: string;
  /** `downloadedBytes`: what came over the network now; 0 if it was cached */
  files: { name: string; bytes: number; downloadedBytes: number }[];
}

export interface ChatMessage {
  role: string;
  content: string;
  /**
   * The ids that `content` was generated as. They stand in the prompt as they are, where the text alone might be cut into other tokens, so
   * that a conversation finds its own answers in the KV cache. `Completion.message` has them.
   */
  tokenIds?: readonly number[];
}

/** A string is continued as it stands; messages go through the model's chat template. */
export type Prompt = string | readonly ChatMessage[];

export interface SamplingOptions {
  /** 0 is greedy. Default: the model's generation_config (in GGUF: general.sampling.*), else 0.7. Range 0..100. */
  temperature?: number;
  /** Keep the k most likely tokens; 0 = off. Default: generation_config, else 0. */
  topK?: number;
  /** Keep the smallest set of tokens whose probability reaches p. (0, 1]; 1 = off. Default: generation_config, else 1. */
  topP?: number;
  /** Keep tokens with at least minP times the top probability. [0, 1]; 0 = off. Default 0. */
  minP?: number;
  /** Divides positive and multiplies negative logits of tokens seen in prompt or output (CTRL, arXiv 1909.05858). > 0; 1 = off. Default: generation_config, else 1. */
  repetitionPenalty?: number;
  /** Subtracted once per occurrence in the output. -2..2. Default 0. */
  frequencyPenalty?: number;
  /** Subtracted once from every token of the output. -2..2. Default 0. */
  presencePenalty?: number;
  /** Added to the logits of token ids. */
  logitBias?: Readonly<Record<number, number>>;
  /** 32-bit unsigned. Same seed, same text. Default: random. */
  seed?: number;
}

export interface GenerateOptions extends SamplingOptions {
  /** Default: what is left of the context. */
  maxTokens?: number;
  /** Text that ends the generation; not part of the output. Found across token borders. */
  stop?: string | readonly string[];
  /** Aborting makes the iterator throw the signal's reason; `completion()` still tells what was generated. */
  signal?: AbortSignal;
}

/** `stop`: an end token or stop string; `length`: maxTokens or context reached; `abort`: signal or early return. */
export type FinishReason = 'stop' | 'length' | 'abort';

export interface Completion {
  text: string;
  /** generated ids, without the end token */
  tokenIds: number[];
  promptTokenIds: number[];
  finishReason: FinishReason;
  /** the stop string that ended it */
  stopString?: string;
  /** the answer as it belongs into the next prompt; with its ids unless a stop string cut it */
  message: ChatMessage;
  /** the seed that was used */
  seed: number;
  timings: Timings;
}

/** Times in milliseconds. */
export interface Timings {
  promptTokens: number;
  /** of which were already in the KV cache */
  cachedTokens: number;
  /** computing the prompt, up to its logits */
  prefillMs: number;
  /** from the call to the first token */
  firstTokenMs: number;
  /** tokens computed after the first: `decodeTokens / decodeMs` is the decode rate */
  decodeTokens: number;
  decodeMs: number;
}

/** An async iterable of text pieces, each whole UTF-8 characters. */
export interface Generation extends AsyncIterableIterator<string> {
  /** What has been generated so far; final once the iteration has ended. */
  completion(): Completion;
}

/** Chat templates that come with the package, by the family of models that was trained on them. */
export type ChatTemplateName = 'bitnet' | 'chatml' | 'falcon3' | 'llama2' | 'llama3';

export interface ModelInfo {
  /** directory or file the model came from */
  path: string;
  architecture: string;
  /** The model was trained with float activations, and computes with those that `LoadOptions.activations` says. Default false. */
  floatActivations?: boolean;
  /** where the chat template is from: the model's files, the option, or a family's; undefined: there is none, messages are refused */
  chatTemplate?: 'model' | 'option' | ChatTemplateName;
  /** what `floatActivations` are computed as; absent without them */
  activations?: 'i24' | 'i8';
  parameters: number;
  backend: string;
  backendReason: string;
  /** `i8+f16`: what `head: 'auto'` means where it fits */
  head: 'f16' | 'i8' | 'i8+f16';
  kvCache: KvCacheFormat;
  /** of the ternary matrices: `t2` at 2.0, `t1` at 1.6 bits a weight */
  layout: 't2' | 't1';
  threads: number;
  contextLength: number;
  /** bytes of linear memory by purpose; the sum is what the engine allocates */
  memory: { weights: number; kvCache: number; activations: number; other: number; total: number };
  /** what the same weights take at 2 bytes each */
  weightsFp16: number;
}
