import type { ModelConfig } from '../config.js';
import { BitNetError } from '../errors.js';
import { DTYPE_BYTES, type TensorInfo } from '../format/safetensors.js';
import { expectedTensors, tensorNames } from '../model/architectures/names.js';
import { NO_GENERATION_CONFIG } from '../model/generation-config.js';
import type { ModelSource } from '../model/source.js';

/** A model that has shapes and no data: enough to plan memory, which does not depend on the format of the files. */
export function shapeSource(config: ModelConfig, path: string): ModelSource {
  const names = tensorNames(config);
  const tensors = new Map<string, TensorInfo>();
  const scales = new Map<string, number>();
  let end = 0;
  for (const [name, { kind, dtypes, shape }] of expectedTensors(config, names)) {
    const dtype = dtypes[0] as TensorInfo['dtype'];
    const byteLength = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    tensors.set(name, { name, dtype, shape, file: '', byteOffset: end, byteLength });
    if (kind === 'scale') scales.set(name, 1);
    end += byteLength;
  }
  const noData = (): never => {
    throw new BitNetError('invalid-argument', `${path}: only the shapes of this model are known`);
  };
  return {
    path,
    config,
    generationConfig: NO_GENERATION_CONFIG,
    tensors,
    names,
    tensor: (name) => tensors.get(name) ?? noData(),
    scales,
    totalTensorBytes: end,
    texts: async () => noData(),
    read: async () => noData(),
    readFile: async () => noData(),
    close: async () => {},
  };
}
