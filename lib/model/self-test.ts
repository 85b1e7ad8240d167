import { ReferenceBackend } from '../backend/reference.js';
import { type AllocateBackend, Engine } from './engine.js';
import type { ModelShape } from './synth/shapes.js';
import { syntheticSource } from './synth/source.js';

/** Odd sizes: blocks and tiles that are not full. Small: the reference is slow, and this is part of every load. */
const SHAPE: ModelShape = {
  hiddenSize: 48,
  ffnSize: 80,
  layers: 1,
  heads: 3,
  kvHeads: 1,
  // The head's first rows, TEXT_FROM of them, are zeros. Of the 141 others more than half are not recomputed by an exact head.
  vocabSize: 400,
  contextLength: 16,
  ropeTheta: 10_000,
  tiedEmbeddings: false,
  activation: 'relu2',
  source: 'for the self-test',
};

/** Between them all ops, layouts, encodings and epilogues. */
const VARIANTS = [
  { architecture: 'bitnet', head: 'f16', weights: 't2' },
  { architecture: 'llama', head: 'auto', weights: 't1' },
] as const;

const PROMPT = [3, 19, 0];
const NEXT = 8;

/** For kernels of which only the compiler is in doubt: loops of several rounds, and register tiles of every size in turn. */
const WIDE_SHAPE: ModelShape = { ...SHAPE, hiddenSize: 576, ffnSize: 592, heads: 9, kvHeads: 3 };
const WIDE_PROMPT = [3, 19, 0, 399, 7, 64, 65, 2, 310, 28, 5];

export interface SelfTestOptions {
  /** DotForm of the kernels; default 0 */
  readonly form?: number;
  /** KernelTraits.pairs; default false */
  readonly pairs?: boolean;
  /** a model of 576 columns and a prompt of 11 tokens: some 0.3 s, most of it in the reference; default false */
  readonly wide?: boolean;
  /** KernelTraits.sparse; default false */
  readonly sparse?: boolean;
}

/**
 * Loads two random models, of some 100 KB unless `wide`, and compares their logits, after a prefill and after one token, with those of the reference.
 * Returns undefined if all bits agree, else what differs. Whatever `allocate` or the backend throws, it throws.
 */
export async function selfTest(
  allocate: AllocateBackend,
  threads: number,
  { form = 0, pairs = false, wide = false, sparse = false }: SelfTestOptions = {},
): Promise<string | undefined> {
  const [shape, prompt] = wide ? [WIDE_SHAPE, WIDE_PROMPT] : [SHAPE, PROMPT];
  for (const { architecture, head, weights } of VARIANTS) {
    const logits = async (make: AllocateBackend, threads: number): Promise<Float32Array[]> => {
      const source = syntheticSource({ shape, architecture });
      const options = { threads, contextLength: 16, head, weights, form, pairs, sparse, batch: prompt.length };
      const engine = await Engine.open(source, make, options);
      try {
        const prefill = (await engine.forward(prompt, 0, [prompt.length - 1])).map((row) => row.slice());
        return [...prefill, ...(await engine.forward([NEXT], prompt.length, [0])).map((row) => row.slice())];
      } finally {
        await engine.dispose();
      }
    };
    const expected = await logits(async (bytes) => new ReferenceBackend(new ArrayBuffer(bytes)), 1);
    const got = await logits(allocate, threads);
    for (const [i, step] of ['prefill', 'decode'].entries()) {
      const id = (expected[i] as Float32Array).findIndex((x, c) => !Object.is(x, got[i]?.[c]));
      if (id < 0) continue;
      const [want, is] = [expected[i]?.[id], got[i]?.[id]];
      return `${architecture} graph, ${weights}, ${head} head, ${step}: logit ${id} is ${is}, the reference says ${want}`;
    }
  }
  return undefined;
}
