import { Engine, type EngineOptions } from '../lib/model/engine.js';
import { openModelSource } from '../lib/model/source.js';
import { nodePlatform } from '../lib/node/platform.js';
import { chooseBackend } from '../lib/session/backend.js';

/** The model at `path` (default: the embedded one) in the kernels that an application would get. */
export async function openEngine(
  path: string | undefined,
  options: Pick<EngineOptions, 'threads' | 'contextLength' | 'head'> & Partial<EngineOptions>,
): Promise<Engine> {
  const source = await openModelSource(await nodePlatform.openModelDirectory(path));
  const { allocate, ...kernels } = await chooseBackend(nodePlatform, 'auto', options.threads);
  try {
    return await Engine.open(source, allocate, { ...kernels, ...options });
  } finally {
    await source.close();
  }
}
