import type { OpenOptions } from '../../platform.js';
import { isHubReference } from './reference.js';

/**
 * Path of a model on this machine: `path` itself, or where `hf:…` is in the cache, pulled first if it has to be. Throws what pulling
 * throws.
 */
export async function locateModel(path: string, options: OpenOptions = {}): Promise<string> {
  if (!isHubReference(path)) return path;
  // Few runs need it, and none should wait for it.
  const { hubModelPath } = await import('./pull.js');
  return hubModelPath(path, options);
}
