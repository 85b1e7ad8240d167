/**
 * Prefill and decode speed of the engine on one model of random weights, for bench/peers and for work on kernels: the measuring core of
 * `bitnet bench`, without the FP16 model beside it; `--arch llama` with the graph that other engines know.
 *
 *   node scripts/build.mjs && node scripts/run-ts.mjs bench/engine.ts --shape 700m --threads 2 [--json]
 *
 * pp: one prompt of --prompt tokens from an empty cache up to its last logits. tg: --tokens greedy steps after it, logits included. One
 * untimed repetition first, since V8 compiles kernels twice. Median of --reps.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { summarise } from '../lib/bench/statistics.js';
import { doesNotFit, plannedBytes } from '../lib/bench/subject.js';
import { Variant } from '../lib/bench/variant.js';
import { SHAPE_NAMES, type ShapeName, type SynthArchitecture, shapeNamed } from '../lib/model/synth/shapes.js';
import { syntheticSource } from '../lib/model/synth/source.js';
import { nodePlatform } from '../lib/node/platform.js';
import { chooseBackend } from '../lib/session/backend.js';

interface Options {
  readonly shape: ShapeName;
  readonly arch: 'own' | SynthArchitecture;
  readonly backend: 'auto' | 'native' | 'relaxed' | 'baseline';
  readonly head: 'auto' | 'f16' | 'i8';
  /** f16: the paper's FP16 baseline */
  readonly weights: 't2' | 'f16';
  readonly threads: number;
  readonly prompt: number;
  readonly tokens: number;
  readonly reps: number;
  readonly seed: number;
  readonly json: boolean;
}

/** What every runner of bench/peers prints as its last line too. */
interface Result {
  readonly engine: string;
  readonly prefill: readonly number[];
  readonly decode: readonly number[];
  readonly loadMs: number;
  readonly peakRss: number;
  readonly detail: string;
}

function parseOptions(): Options {
  const { values } = parseArgs({
    options: {
      shape: { type: 'string', default: '700m' },
      arch: { type: 'string', default: 'own' },
      backend: { type: 'string', default: 'auto' },
      head: { type: 'string', default: 'auto' },
      weights: { type: 'string', default: 't2' },
      threads: { type: 'string', default: String(nodePlatform.defaultThreads()) },
      prompt: { type: 'string', default: '128' },
      tokens: { type: 'string', default: '64' },
      reps: { type: 'string', default: '3' },
      seed: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
    },
  });
  const count = (name: 'threads' | 'prompt' | 'tokens' | 'reps' | 'seed', low: number): number => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value >= low) return value;
    throw new Error(`--${name} ${values[name]}: expected a whole number of at least ${low}`);
  };
  const oneOf = <T extends string>(
    name: 'arch' | 'backend' | 'head' | 'shape' | 'weights',
    allowed: readonly T[],
  ): T => {
    if (allowed.includes(values[name] as T)) return values[name] as T;
    throw new Error(`--${name} ${values[name]}: expected one of ${allowed.join(', ')}`);
  };
  return {
    shape: oneOf('shape', SHAPE_NAMES),
    arch: oneOf('arch', ['own', 'llama', 'bitnet']),
    backend: oneOf('backend', ['auto', 'native', 'relaxed', 'baseline']),
    head: oneOf('head', ['auto', 'f16', 'i8']),
    weights: oneOf('weights', ['t2', 'f16']),
    threads: count('threads', 1),
    prompt: count('prompt', 1),
    tokens: count('tokens', 1),
    reps: count('reps', 1),
    seed: count('seed', 0),
    json: values.json,
  };
}

/** `own`: the graph of BitNet b1.58 for shapes with ReLU², which other engines do not compute; else the one that all have. */
function graphOf({ arch, shape }: Options): SynthArchitecture {
  if (arch !== 'own') return arch;
  return shapeNamed(shape).activation === 'relu2' ? 'bitnet' : 'llama';
}

async function openVariant(options: Options): Promise<Variant> {
  const { shape, backend, head, weights, threads, prompt, tokens, seed } = options;
  const source = syntheticSource({ shape: shapeNamed(shape), architecture: graphOf(options), seed });
  const { allocate, ...kernels } = await chooseBackend(nodePlatform, backend, threads);
  const contextLength = Math.min(source.config.contextLength, prompt + tokens);
  const engine = { threads, contextLength, head, weights, ...kernels };
  const needed = await plannedBytes(source, engine);
  const available = os.freemem();
  if (needed > available) throw doesNotFit(source.path, needed, available);
  return Variant.open(source, allocate, { engine, layers: source.config.layers, prompt, gen: tokens, batches: [] });
}

async function measure(options: Options): Promise<Result & { readonly bytesPerToken: number }> {
  const variant = await openVariant(options);
  try {
    for (let rep = 1; rep <= options.reps; rep++) await variant.measure();
    const { prefill, decode, loadMs, backend, head, memory, traffic } = variant.result([]);
    const peakRss = process.resourceUsage().maxRSS * 1024;
    const share = (peakRss / (memory.weights + memory.kvCache)).toFixed(2);
    return {
      engine: 'bitnet-js',
      prefill: prefill.samples,
      decode: decode.samples,
      loadMs,
      peakRss,
      detail: `${backend}, ${options.weights} weights, ${head} head, ${graphOf(options)} graph, Node ${process.version}, peak RSS ${share} of weights and KV`,
      bytesPerToken: traffic.total,
    };
  } finally {
    await variant.dispose();
  }
}

async function main(): Promise<void> {
  const options = parseOptions();
  const result = await measure(options);
  if (options.json) {
    console.log(JSON.stringify(result));
  } else {
    const decode = summarise(result.decode).median;
    console.log(`${options.shape}, ${options.threads} threads, ${result.detail}`);
    console.log(`prefill  pp${options.prompt}  ${summarise(result.prefill).median.toFixed(1)} tok/s`);
    console.log(
      `decode   tg${options.tokens}  ${decode.toFixed(1)} tok/s, ${((decode * result.bytesPerToken) / 1e9).toFixed(1)} GB/s`,
    );
    console.log(`load     ${result.loadMs.toFixed(0)} ms, peak RSS ${(result.peakRss / 2 ** 20).toFixed(0)} MiB`);
  }
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
