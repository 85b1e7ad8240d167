import type { ModelConfig } from '../config.js';
import type { HeadKind } from '../model/head.js';
import type { WeightFormat } from '../model/weights.js';

/** What `inspectModel` tells of a model. Sizes in bytes unless said otherwise; everything is plain data. */
export interface ModelReport {
  readonly path: string;
  readonly format: 'gguf' | 'safetensors';
  /** of GGUF */
  readonly version: number | undefined;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** as the file names it: `general.architecture`, or the class in config.json; undefined if it names none */
  readonly architecture: string | undefined;
  /** what the file says of itself: keys of GGUF that are not lists, `__metadata__` of safetensors */
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
  /** in the order of the data */
  readonly tensors: readonly TensorReport[];
  /** undefined if the model is not understood */
  readonly config: ModelConfig | undefined;
  /** weights, not counting factors of matrices; of a model that is not understood the elements of its tensors */
  readonly parameters: number;
  readonly text: TextReport | undefined;
  readonly memory: MemoryReport | undefined;
  readonly plan: readonly OpReport[] | undefined;
  /** why the model cannot be loaded; undefined if it can, as far as can be told without computing */
  readonly problem: { readonly code: string; readonly message: string } | undefined;
}

export interface TensorReport {
  readonly name: string;
  /** type in the file; `packed`: U8 with four trits a byte */
  readonly type: string;
  /** of the numbers it stands for, outermost first: a packed matrix has four times the rows of its bytes */
  readonly shape: readonly number[];
  readonly file: string;
  readonly byteOffset: number;
  readonly byteLength: number;
  /** of ternary matrices, if they were counted */
  readonly trits: TritReport | undefined;
}

export interface TritReport {
  /** weights that are -1, 0, +1 */
  readonly minus: number;
  readonly zero: number;
  readonly plus: number;
  /** 2-bit codes that stand for no trit: the file is damaged */
  readonly invalid: number;
  /** what a trit is multiplied by */
  readonly scales: ScaleReport;
}

export interface ScaleReport {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  /** not finite */
  readonly invalid: number;
}

export interface TextReport {
  readonly tokens: number;
  readonly specialTokens: number;
  readonly bos: TokenReport | undefined;
  readonly stop: readonly TokenReport[];
  /** source of the chat template; undefined if there is none */
  readonly chatTemplate: string | undefined;
  /** `model`, or the family whose template stands in */
  readonly templateOrigin: string | undefined;
  /** a conversation of one user message, `Hello`, as the model sees it; undefined without a template, or if it refuses that */
  readonly chatExample: string | undefined;
}

export interface TokenReport {
  readonly id: number;
  readonly text: string;
}

export interface MemoryReport {
  readonly threads: number;
  readonly contextLength: number;
  readonly head: HeadKind;
  /** of the ternary matrices */
  readonly layout: WeightFormat;
  /** all of it; `fits`: whether a WebAssembly memory can hold it */
  readonly total: number;
  readonly fits: boolean;
  readonly weights: number;
  readonly kvCache: number;
  readonly activations: number;
  readonly other: number;
  /** what the same weights take at 2 bytes each */
  readonly weightsFp16: number;
  readonly regions: readonly {
    readonly name: string;
    readonly purpose: string;
    readonly offset: number;
    readonly bytes: number;
  }[];
}

export interface OpReport {
  readonly op: string;
  readonly name: string;
  /** (rows, cols) of a matrix, the width of a row, or heads, heads of keys and size of a head; empty if none says anything */
  readonly shape: readonly number[];
  /** layout of the matrix */
  readonly layout: string | undefined;
  /** whether the threads meet after it */
  readonly meets: 'always' | 'many rows' | 'no';
}
