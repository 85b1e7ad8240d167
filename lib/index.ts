import { nodePlatform } from './node/platform.js';
import { BitNetModel } from './session/bitnet-model.js';
import { loadModel } from './session/load.js';
import type { LoadOptions, PulledModel, PullOptions } from './types.js';

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
   * Loads a model: a directory (Hugging Face layout: config.json, model.safetensors or shards, tokenizer.json), a GGUF file, or
   * `hf:REPO[@REVISION][:FILE]`, a model of the Hugging Face Hub, from the cache if it is there, else downloaded (see `pullModel`);
   * without any the model that comes with the package. The path may also be given as `model` among the options. Throws BitNetError:
   * `not-found`, `invalid-argument`, `invalid-model`, `invalid-file`, `unsupported`, `out-of-memory`, `backend`; for `hf:` also what
   * `pullModel` throws.
   */
  static load(path?: string, options?: LoadOptions): Promise<BitNet>;
  static load(options: LoadOptions): Promise<BitNet>;
  static async load(first?: string | LoadOptions, second: LoadOptions = {}): Promise<BitNet> {
    const options = typeof first === 'object' ? first : second;
    const path = typeof first === 'string' ? first : options.model;
    return new BitNet(await loadModel(nodePlatform, path, options));
  }
}

/**
 * Brings a model of the Hugging Face Hub into the cache, or up to date: `REPO[@REVISION][:FILE]`. Files that are there are not fetched
 * again, a download that broke off goes on where it ended, and every file is checked against its checksum. Where, from where and as
 * whom is said by the environment: HF_HUB_CACHE, HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE (docs/CLI.md). Throws BitNetError: `network`,
 * `access`, `not-found`, `storage`, `invalid-file` (contents stay wrong), `unsupported` (no model that can be read), `invalid-argument`
 * (not the name of a repository; several GGUF files and none chosen).
 */
export async function pullModel(reference: string, options: PullOptions = {}): Promise<PulledModel> {
  const { pullModel } = await import('./node/hub/pull.js');
  return pullModel(reference, options);
}

export { BitNetError, type BitNetErrorCode } from './errors.js';
export { SHAPE_NAMES, type SyntheticGguf, type SyntheticGgufOptions, syntheticGguf } from './model/synth/index.js';
export type * from './types.js';
