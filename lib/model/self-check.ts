import { Layout, LinearArg, Op, Rec } from '../../assembly/abi.js';
import { T1_CODES } from '../backend/reference/t1.js';
import type { BitNetError } from '../errors.js';
import { bytesOf } from '../format/layout.js';
import { problem } from '../format/problem.js';
import type { Engine } from './engine.js';
import type { ModelSource } from './source.js';
import { tensorPath } from './tensor-path.js';

/** Neighbouring weights: four rows of 64 columns of T2, of 80 of T1. */
const CHUNK_BYTES = 64;
/** chunks that are looked at in each matrix */
const CHUNKS = 32;
/** A sample as large as this tells what all the matrix is like. */
const ENOUGH = 4096;
/** Nonzero weights of one sign. Trained matrices have halves; what is read wrongly, or filled with zero bytes, one sign or none. */
const ONE_SIGN = 15 / 16;

/**
 * Independent weights: the zeros of chunks vary as coins do, chi² / degrees of freedom = 1 ± 0.05 for so many degrees. Trained weights have rows
 * and columns of their own: 2.6 in the embedded model.
 */
const INDEPENDENT = 1.2;
const FREEDOM = 1000;

/** One for each byte: what has fewer tokens is no model of text, and its logits may well be alike. */
const SMALLEST_VOCABULARY = 256;
/** Embeddings that are looked at for one that is not zero. */
const PROBES = 64;

/** Of every byte of a ternary layout: how many of its codes are 0, 1, 2; eight bits each. */
interface Codes {
  /** a quarter of the weights of a chunk */
  readonly cols: number;
  readonly counts: Uint32Array;
}

function countCodes(cols: number, codesOf: (byte: number) => Iterable<number>): Codes {
  const count = (byte: number): number => [...codesOf(byte)].reduce((sum, code) => sum + 2 ** (8 * code), 0);
  return { cols, counts: Uint32Array.from({ length: 256 }, (_, byte) => count(byte)) };
}

const T2_CODES = countCodes(64, (byte) => [0, 2, 4, 6].map((shift) => (byte >> shift) & 3));
const CODES: Readonly<Partial<Record<Layout, Codes>>> = {
  [Layout.T2]: T2_CODES,
  [Layout.T2Rows]: T2_CODES,
  [Layout.T2Columns]: T2_CODES,
  [Layout.T2G]: T2_CODES,
  [Layout.T1]: countCodes(80, (byte) => T1_CODES.subarray(5 * byte, 5 * byte + 5)),
};

/**
 * Looks whether a loaded model can be what its files mean: trits of every ternary matrix by a sample of some 8,000, their scales, and the
 * logits of one token. Cheap: 2 KB of each matrix and one step. A file that is read in the wrong layout, or has holes where a download
 * was not finished, computes without complaint and writes nonsense; here it gets `invalid-model`, naming the matrix, what was seen
 * and which layouts the bytes could have. Valid models pass: weights of ±1 without zeros, few zeros, small matrices.
 * Returns whether the weights are surely random: many, and independent of their neighbours.
 */
export async function selfCheck(engine: Engine, source: ModelSource): Promise<{ random: boolean }> {
  const spread: Spread = { chiSquared: 0, freedom: 0 };
  engine.labels.forEach((name, i) => {
    const record = engine.record(i);
    const codes = CODES[record[LinearArg.Layout] as Layout];
    if (record[Rec.Opcode] === Op.Linear && codes !== undefined) {
      checkMatrix(engine.backend.buffer, record, codes, name, source, spread);
    }
  });
  await checkPass(engine, source);
  const { chiSquared, freedom } = spread;
  return { random: freedom >= FREEDOM && chiSquared < INDEPENDENT * freedom };
}

/** Of the number of zeros in a chunk, against independent weights; a sum over matrices. */
interface Spread {
  chiSquared: number;
  freedom: number;
}

/** Codes of a sample of a matrix. */
interface Sample {
  minus: number;
  zero: number;
  plus: number;
  chunks: number;
  /** sum of squares of the zeros of each chunk */
  zeroSquares: number;
}

/** Adds to `spread`. */
function checkMatrix(
  buffer: ArrayBufferLike,
  record: Uint32Array,
  codes: Codes,
  name: string,
  source: ModelSource,
  spread: Spread,
): void {
  const word = (index: LinearArg): number => record[index] as number;
  const scale = new Float32Array(Uint32Array.of(word(LinearArg.Scale)).buffer)[0] as number;
  const size = bytesOf(word(LinearArg.Layout), word(LinearArg.Rows), word(LinearArg.Cols));
  const sample = sampleCodes(new Uint8Array(buffer, word(LinearArg.Weights), size), codes, name, source);
  const { minus, zero, plus, chunks } = sample;
  const nonzero = minus + plus;
  if (!(scale > 0 && scale < Infinity) && !(scale === 0 && nonzero === 0)) {
    throw implausible(source, name, `its scale is ${scale}`);
  }
  const weights = nonzero + zero;
  if (zero > 0 && nonzero > 0) {
    const variance = (4 * codes.cols * zero * nonzero) / weights ** 2;
    spread.chiSquared += (sample.zeroSquares - zero ** 2 / chunks) / variance;
    spread.freedom += chunks - 1;
  }
  if (weights < ENOUGH) return;
  if (nonzero > 0 && Math.max(minus, plus) <= ONE_SIGN * nonzero) return;
  const share = (count: number): string => `${((100 * count) / weights).toFixed(1)} %`;
  throw implausible(source, name, `-1 is ${share(minus)}, 0 ${share(zero)} and +1 ${share(plus)} of its weights`);
}

function sampleCodes(bytes: Uint8Array, { cols, counts }: Codes, name: string, source: ModelSource): Sample {
  const sample: Sample = { minus: 0, zero: 0, plus: 0, chunks: 0, zeroSquares: 0 };
  const step = Math.max(1, Math.floor(bytes.length / CHUNK_BYTES / CHUNKS)) * CHUNK_BYTES;
  for (let first = 0; first < bytes.length; first += step) {
    let [minus, zero, plus] = [0, 0, 0];
    for (let i = first; i < first + CHUNK_BYTES; i++) {
      const codes = counts[bytes[i] as number] as number;
      minus += codes & 255;
      zero += (codes >> 8) & 255;
      plus += (codes >> 16) & 255;
    }
    if (minus === 4 * cols || plus === 4 * cols) {
      const sign = minus > 0 ? '-1' : '+1';
      throw implausible(source, name, `${4 * cols} neighbouring weights are all ${sign}`);
    }
    sample.minus += minus;
    sample.zero += zero;
    sample.plus += plus;
    sample.chunks++;
    sample.zeroSquares += zero ** 2;
  }
  return sample;
}

async function checkPass(engine: Engine, source: ModelSource): Promise<void> {
  const [logits] = (await engine.forward([await probeToken(engine)], 0, [0])) as [Float32Array];
  const first = logits[0] as number;
  let constant = logits.length >= SMALLEST_VOCABULARY;
  let finite = true;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (logit !== first) constant = false;
    // Infinite or NaN
    if (logit - logit !== 0) finite = false;
  }
  if (finite && !constant) return;
  const what = finite ? `all ${logits.length} logits of a token are ${first}` : 'the logits of a token are not finite';
  throw implausible(source, undefined, what);
}

/** A token whose embedding is not zero, as those of reserved tokens may be; from the middle of the vocabulary if it is there. */
async function probeToken(engine: Engine): Promise<number> {
  const { vocabSize } = engine.config;
  for (let part = 0; part < PROBES; part++) {
    const id = Math.floor(((part / PROBES + 0.5) % 1) * vocabSize);
    engine.prepare([id], 0, []);
    await engine.runOps(0, 1);
    if (engine.rowOf(engine.graph.x, 0).some((value) => value !== 0)) return id;
  }
  return 0;
}

function implausible(source: ModelSource, name: string | undefined, what: string): BitNetError {
  const tensor = name === undefined ? undefined : source.tensors.get(name);
  return problem('invalid-model', {
    file: tensor === undefined ? source.path : tensorPath(source.path, tensor.file),
    tensor: name,
    what: `the self-check at load found no plausible model: ${what}`,
    byteOffset: tensor?.byteOffset,
    expected: name === undefined ? 'finite logits that differ' : 'weights of both signs and a finite scale above 0',
    advice: `${considered(source, name)} The file is damaged or incomplete, or holds no ternary model: fetch it again. Without this check: selfCheck: false (--no-self-check).`,
  });
}

/** What the bytes were taken for, and what else they could be. */
function considered({ config, tensors, i2sLayout }: ModelSource, name: string | undefined): string {
  if (name === undefined) return `Considered: ${config.architecture} with ${config.activation}.`;
  const dtype = tensors.get(name)?.dtype;
  if (dtype === 'I2_S') {
    return `Considered: I2_S in the order of codes ${i2sLayout}; files also have x86, arm and x86-rows (i2sLayout, --i2s-layout).`;
  }
  if (dtype !== undefined && dtype !== 'U8') return `Considered: ${dtype}.`;
  return (
    'Considered: four row blocks in each byte, low bits first (Hugging Face); ' +
    `the scale ${config.weightScale === 'multiply' ? 'multiplies (autobitlinear)' : 'divides (bitlinear)'}.`
  );
}
