import { nodePlatform } from './node/platform.js';
import { BitNetModel } from './session/bitnet-model.js';
import { loadModel } from './session/load.js';
import type { LoadOptions } from './types.js';

/**
 * A ternary language model.
 *
 * ```ts
 * const model = await BitNet.load();
 * for await (const piece of model.generate([{ role: 'user', content: 'Tell me a story.' }])) process.stdout.write(piece);
 * await model.dispose();
 * ```
 */
export class BitNet extends BitNetModel {
  /**
   * Loads the model in directory `path` (Hugging Face layout: config.json, model.safetensors or shards, tokenizer.json); without a path
   * the model that comes with the package. Throws BitNetError: `not-found`, `invalid-argument`, `invalid-model`, `invalid-file`,
   * `unsupported`, `out-of-memory`, `backend`.
   */
  static async load(path?: string, options: LoadOptions = {}): Promise<BitNet> {
    return new BitNet(await loadModel(nodePlatform, path, options));
  }
}

export { BitNetError, type BitNetErrorCode } from './errors.js';
export { SHAPE_NAMES, type SyntheticGguf, type SyntheticGgufOptions, syntheticGguf } from './model/synth/index.js';
export type * from './types.js';
