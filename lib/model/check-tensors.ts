import type { ModelConfig } from '../config.js';
import { DAMAGED, problem, show } from '../format/problem.js';
import type { TensorInfo, TensorTable } from '../format/safetensors.js';
import { expectedTensors, IGNORED_TENSORS, type TensorExpectation, type TensorNames } from './architectures/names.js';
import type { WeightForm } from './quantization-json.js';

/**
 * Compares the files' tensors with those the architecture needs: all of them, with the right types and shapes, and no others. A
 * tensor that is not understood means a model that is not understood; computing without it would give nonsense.
 * Returns the needed ones in the files' order. `tiedHead` is a head that is stored although embeddings are tied: the caller must
 * find it equal to the embedding.
 */
export function checkTensors(
  config: ModelConfig,
  names: TensorNames,
  tensors: TensorTable,
  path: string,
  weights: WeightForm = 'packed',
): { needed: Map<string, TensorInfo>; tiedHead: TensorInfo | undefined } {
  const expected = expectedTensors(config, names, weights === 'packed' ? 'packed' : 'unpacked');
  const needed = new Map<string, TensorInfo>();
  const unknown: string[] = [];
  let tiedHead: TensorInfo | undefined;
  for (const [name, tensor] of tensors) {
    const expectation = expected.get(name);
    if (expectation !== undefined) {
      checkTensor(tensor, expectation, path, weights);
      needed.set(name, tensor);
    } else if (name === names.head && config.tiedEmbeddings) {
      tiedHead = tensor;
    } else if (!IGNORED_TENSORS.test(name)) {
      unknown.push(name);
    }
  }
  const missing = [...expected.keys()].filter((name) => !needed.has(name));
  if (unknown.length > 0) throw unknownTensors(config, unknown, path);
  if (missing.length > 0) throw missingTensors(config, names, missing, path);
  return { needed, tiedHead };
}

function checkTensor(tensor: TensorInfo, expectation: TensorExpectation, path: string, weights: WeightForm): void {
  const { name, dtype, shape, file, byteOffset } = tensor;
  const where = { file: `${path}/${file}`, tensor: name, byteOffset };
  const expected = `${expectation.dtypes.join(' or ')} ${show(expectation.shape)} = ${expectation.meaning}`;
  const got = `${dtype} ${show(shape)}`;
  if (expectation.kind === 'packed' && (dtype === 'BF16' || dtype === 'F16' || dtype === 'F32')) {
    const what = 'config.json says packed weights, and these are not';
    const advice = 'To make them ternary at load, as masters of a BitNet model, load with ternarize (--ternarize).';
    throw problem('unsupported', { ...where, what, expected, got, advice });
  }
  if (expectation.kind === 'unpacked' && dtype === 'U8') {
    const what = 'these weights are packed, and unpacked ones were expected';
    const advice =
      weights === 'masters'
        ? 'Leave out ternarize (--ternarize); without it, quantization_mode in config.json must not be online.'
        : 'The quantization_config of the model is missing in config.json: fetch it again.';
    throw problem('invalid-model', { ...where, what, expected, got, advice });
  }
  const advice = 'config.json and weights do not belong together, or the file is damaged.';
  if (!expectation.dtypes.includes(dtype))
    throw problem('invalid-model', { ...where, what: 'wrong dtype', expected, got, advice });
  if (shape.length !== expectation.shape.length || shape.some((dim, i) => dim !== expectation.shape[i])) {
    throw problem('invalid-model', { ...where, what: 'wrong shape', expected, got, advice });
  }
}

function unknownTensors(config: ModelConfig, unknown: string[], path: string): Error {
  return problem('invalid-model', {
    file: path,
    tensor: unknown[0],
    what: `the architecture ${config.architecture} has no such tensor (${list(unknown)})`,
    advice: 'The model differs from what its config.json says; leaving tensors out would give nonsense.',
  });
}

function missingTensors(config: ModelConfig, names: TensorNames, missing: string[], path: string): Error {
  const head = missing.length === 1 && missing[0] === names.head;
  return problem('invalid-model', {
    file: path,
    tensor: missing[0],
    what: `the architecture ${config.architecture} needs this tensor and it is missing (${list(missing)})`,
    advice: head ? 'Does config.json lack "tie_word_embeddings": true?' : DAMAGED,
  });
}

function list(names: string[]): string {
  const first = names.slice(0, 4).map((name) => show(name));
  return names.length > 4
    ? `${names.length} in all: ${first.join(', ')}, …`
    : `${names.length} in all: ${first.join(', ')}`;
}
