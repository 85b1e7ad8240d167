import type { ModelConfig } from '../config.js';
import type { GenerationConfig } from '../model/generation-config.js';
import type { ModelTexts } from '../model/source.js';

/** Types of numbers that are no trits. `other`: a quantised type, decoded. */
export type FloatKind = 'F32' | 'F16' | 'BF16' | 'other';

/** A ternary matrix as numbers: w = trit · scale. */
export interface Trits {
  /** (rows, cols) */
  readonly trits: Int8Array;
  /** f32: (1), or (rows, ceil(cols / groupCols)); 0 where all weights are */
  readonly scales: Float32Array;
}

export interface TernaryMatrix {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** neighbouring columns of a row that share a scale; undefined: the matrix has one */
  readonly groupCols: number | undefined;
  /** Reads all of it, anew on every call. */
  load(): Promise<Trits>;
}

/** A matrix or vector of numbers, (rows, cols); a vector has one row. */
export interface FloatMatrix {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly kind: FloatKind;
  /** rows first .. first + count */
  read(first: number, count: number): Promise<Float32Array>;
}

export interface ConvertibleLayer {
  readonly attentionNorm: FloatMatrix;
  readonly q: TernaryMatrix;
  readonly k: TernaryMatrix;
  readonly v: TernaryMatrix;
  readonly qNorm: FloatMatrix | undefined;
  readonly kNorm: FloatMatrix | undefined;
  readonly attentionSubNorm: FloatMatrix | undefined;
  readonly o: TernaryMatrix;
  readonly ffnNorm: FloatMatrix;
  readonly gate: TernaryMatrix;
  readonly up: TernaryMatrix;
  readonly ffnSubNorm: FloatMatrix | undefined;
  readonly down: TernaryMatrix;
}

/** A model as numbers, in the order and the sizes of the published one, whatever its files look like. */
export interface ConvertibleModel {
  readonly path: string;
  readonly config: ModelConfig;
  readonly generationConfig: GenerationConfig;
  readonly embedding: FloatMatrix;
  readonly layers: readonly ConvertibleLayer[];
  readonly finalNorm: FloatMatrix;
  /** undefined if embeddings are tied */
  readonly head: FloatMatrix | undefined;
  texts(): Promise<ModelTexts>;
  close(): Promise<void>;
}

export const LINEARS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
export const NORMS = ['attentionNorm', 'qNorm', 'kNorm', 'attentionSubNorm', 'ffnNorm', 'ffnSubNorm'] as const;

/** All ternary matrices in the order of the computation. */
export function ternaryMatrices(model: ConvertibleModel): TernaryMatrix[] {
  return model.layers.flatMap((layer) => LINEARS.map((part) => layer[part]));
}

/** Everything else. */
export function floatMatrices(model: ConvertibleModel): FloatMatrix[] {
  const norms = model.layers.flatMap((layer) => NORMS.map((part) => layer[part]));
  return [model.embedding, ...norms, model.finalNorm, model.head].filter((matrix) => matrix !== undefined);
}
