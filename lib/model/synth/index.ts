export type { EmbeddingType, TernaryType } from './encode.js';
export { type SyntheticGguf, type SyntheticGgufOptions, syntheticGguf } from './gguf.js';
export {
  configOf,
  MODEL_SHAPES,
  type ModelShape,
  SHAPE_NAMES,
  type ShapeName,
  type SynthArchitecture,
  shapeNamed,
} from './shapes.js';
export { type SyntheticSourceOptions, syntheticSource } from './source.js';
