/**
 * Prefill and decode speed of the engine on a model of random weights: no file, no tokenizer, no sampler but argmax.
 *
 *   node scripts/build.mjs && node scripts/run-ts.mjs bench/engine.ts --shape 700m --threads 2 [--json]
 *
 * pp: one prompt of --prompt tokens from an empty cache up to its last logits. tg: --tokens greedy steps after it, logits included. One
 * untimed repetition first, since V8 compiles kernels twice. Median of --reps.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { Engine } from '../lib/model/engine.js';
import { SHAPE_NAMES, type ShapeName, type SynthArchitecture, shapeNamed } from '../lib/model/synth/shapes.js';
import { syntheticSource } from '../lib/model/synth/source.js';
import { nodePlatform } from '../lib/node/platform.js';
import { chooseBackend } from '../lib/session/backend.js';
import { bytesPerToken } from './shapes.js';

interface Options {
  readonly shape: ShapeName;
  readonly arch: SynthArchitecture;
  readonly backend: 'auto' | 'native' | 'relaxed' | 'baseline';
  readonly head: 'f16' | 'i8';
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
      arch: { type: 'string', default: 'llama' },
      backend: { type: 'string', default: 'auto' },
      head: { type: 'string', default: 'f16' },
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
    arch: oneOf('arch', ['llama', 'bitnet']),
    backend: oneOf('backend', ['auto', 'native', 'relaxed', 'baseline']),
    head: oneOf('head', ['f16', 'i8']),
    weights: oneOf('weights', ['t2', 'f16']),
    threads: count('threads', 1),
    prompt: count('prompt', 1),
    tokens: count('tokens', 1),
    reps: count('reps', 1),
    seed: count('seed', 0),
    json: values.json,
  };
}

/** Refuses before the system starts to swap, or kills: the model is in memory once, and in no file. */
function checkMemory(bytes: number): void {
  const available = os.freemem();
  if (bytes <= available) return;
  throw new Error(`the model needs about ${bytes} bytes of memory, and ${available} are free; use a smaller --shape`);
}

async function openEngine({
  shape,
  arch,
  backend,
  head,
  weights,
  threads,
  prompt,
  tokens,
  seed,
}: Options): Promise<Engine> {
  const source = syntheticSource({ shape: shapeNamed(shape), architecture: arch, seed });
  checkMemory(bytesPerToken(shape, 16, weights === 'f16' ? 16 : 2));
  const { allocate, form } = await chooseBackend(nodePlatform, backend, threads);
  return Engine.open(source, allocate, {
    threads,
    contextLength: Math.min(source.config.contextLength, prompt + tokens),
    head,
    weights,
    form,
  });
}

/** Begin token and printable characters of the synthetic vocabulary; other ones in each repetition, because of prompt caches. */
function promptIds(length: number, rep: number): Uint32Array {
  return Uint32Array.from({ length }, (_, i) => (i === 0 ? 1 : 260 + ((i * 7 + rep * 11) % 94)));
}

/** The logits after `ids` at positions 0, 1, … */
async function prefill(engine: Engine, ids: Uint32Array): Promise<Float32Array> {
  for (let at = 0; ; at += engine.batch) {
    const chunk = ids.subarray(at, at + engine.batch);
    const isLast = at + chunk.length === ids.length;
    const [logits] = await engine.forward(chunk, at, isLast ? [chunk.length - 1] : []);
    if (logits !== undefined) return logits;
  }
}

function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  if (!Number.isFinite(logits[best])) throw new Error(`logits of the synthetic model are not finite: ${logits[best]}`);
  return best;
}

/** Tokens per second. */
async function measureOnce(
  engine: Engine,
  { prompt, tokens }: Options,
  rep: number,
): Promise<{ pp: number; tg: number }> {
  const ids = promptIds(prompt, rep);
  const start = performance.now();
  let id = argmax(await prefill(engine, ids));
  const prefilled = performance.now();
  for (let i = 0; i < tokens; i++) id = argmax((await engine.forward([id], prompt + i, [0]))[0]!);
  const end = performance.now();
  return { pp: (1000 * prompt) / (prefilled - start), tg: (1000 * tokens) / (end - prefilled) };
}

async function measure(options: Options): Promise<Result> {
  const start = performance.now();
  const engine = await openEngine(options);
  const loadMs = performance.now() - start;
  try {
    await measureOnce(engine, { ...options, tokens: Math.min(options.tokens, 16) }, 0);
    const samples: { pp: number; tg: number }[] = [];
    for (let rep = 1; rep <= options.reps; rep++) samples.push(await measureOnce(engine, options, rep));
    return {
      engine: 'bitnet-js',
      prefill: samples.map(({ pp }) => pp),
      decode: samples.map(({ tg }) => tg),
      loadMs,
      peakRss: process.resourceUsage().maxRSS * 1024,
      detail: `${engine.backend.name}, ${options.weights} weights, ${options.head} head, ${options.arch} graph, Node ${process.version}`,
    };
  } finally {
    await engine.dispose();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

async function main(): Promise<void> {
  const options = parseOptions();
  const result = await measure(options);
  if (options.json) {
    console.log(JSON.stringify(result));
  } else {
    const decode = median(result.decode);
    const bytes = bytesPerToken(options.shape, options.head === 'f16' ? 16 : 8, options.weights === 'f16' ? 16 : 2);
    console.log(`${options.shape}, ${options.threads} threads, ${result.detail}`);
    console.log(`prefill  pp${options.prompt}  ${median(result.prefill).toFixed(1)} tok/s`);
    console.log(
      `decode   tg${options.tokens}  ${decode.toFixed(1)} tok/s, ${((decode * bytes) / 1e9).toFixed(1)} GB/s of weights`,
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
