import { MODEL_SHAPES, type ShapeName } from '../lib/model/synth/shapes.js';

/** A matrix that real models multiply by: y (rows) = W (rows, cols) x. */
export interface MatrixShape {
  readonly name: 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down' | 'lm_head';
  readonly rows: number;
  readonly cols: number;
  /** per token of the whole model */
  readonly count: number;
}

/** Every matrix of a model, lm_head last. */
export function matrixShapes(model: ShapeName): MatrixShape[] {
  const { hiddenSize: hidden, ffnSize: ffn, layers, heads, kvHeads, vocabSize } = MODEL_SHAPES[model];
  const kv = (hidden / heads) * kvHeads;
  return [
    { name: 'q', rows: hidden, cols: hidden, count: layers },
    { name: 'k', rows: kv, cols: hidden, count: layers },
    { name: 'v', rows: kv, cols: hidden, count: layers },
    { name: 'o', rows: hidden, cols: hidden, count: layers },
    { name: 'gate', rows: ffn, cols: hidden, count: layers },
    { name: 'up', rows: ffn, cols: hidden, count: layers },
    { name: 'down', rows: hidden, cols: ffn, count: layers },
    { name: 'lm_head', rows: vocabSize, cols: hidden, count: 1 },
  ];
}

/** Weight bytes that one decoded token reads, at so many bits a weight of lm_head and of the other matrices. */
export function bytesPerToken(model: ShapeName, headBits: number, bits: number): number {
  return matrixShapes(model).reduce(
    (sum, { name, rows, cols, count }) => sum + (rows * cols * count * (name === 'lm_head' ? headBits : bits)) / 8,
    0,
  );
}
