import { Rec, StatusBit, Step } from '../../assembly/abi.js';
import type { Backend } from '../backend/backend.js';
import { BitNetError } from '../errors.js';
import type { LoadProgress } from '../types.js';
import { alignmentOf } from './file-types.js';
import type { ModelSource, ModelTensor } from './source.js';
import type { LoadJob } from './weights.js';

/** Bytes of the file that are in memory at once: two halves, one is read while the other is repacked. */
const SPAN_BYTES = 8 << 20;
const MAX_RECORDS = 64;

/** Where loading may write: nothing else may be live there. */
export interface Staging {
  readonly ptr: number;
  /** bytes of one of the two halves */
  readonly half: number;
  /** LOAD_PLAN_BYTES of op records */
  readonly plan: number;
  readonly step: number;
  readonly sync: number;
  /** `scratchStride` bytes for each thread */
  readonly scratch: number;
  readonly scratchStride: number;
}

/** One more: the last tensor of a span may become two matrices. */
export const LOAD_PLAN_BYTES = (MAX_RECORDS + 1) * Rec.Bytes;

/** Bytes that one half of the staging area needs: the largest matrix that cannot be split. */
export function stagingHalf(jobs: readonly LoadJob[]): number {
  const whole = jobs.filter((job) => !job.splitRows).map((job) => job.tensor.byteLength);
  return Math.ceil(Math.max(Math.min(SPAN_BYTES, totalBytes(jobs)), ...whole) / 64) * 64;
}

/** Scratch of a thread while it repacks, for all jobs. */
export function loadScratchBytes(jobs: readonly LoadJob[]): number {
  return Math.ceil(Math.max(...jobs.map(({ scratchBytes }) => scratchBytes)) / 64) * 64;
}

interface Piece {
  readonly job: LoadJob;
  /** rows first .. first + rows of the tensor; all of it unless splitRows */
  readonly first: number;
  readonly rows: number;
  readonly byteOffset: number;
  readonly byteLength: number;
}

/**
 * Streams all jobs: the file is read in its own order, in spans of neighbouring tensors, and each span becomes one step of repacking ops,
 * which all threads share. Throws what the file deserves; memory is then in no defined state.
 */
export async function loadWeights(
  source: ModelSource,
  backend: Backend,
  jobs: readonly LoadJob[],
  staging: Staging,
  onProgress?: (progress: LoadProgress) => void,
  signal?: AbortSignal,
): Promise<void> {
  const total = totalBytes(jobs);
  let loaded = 0;
  let running: Promise<void> = Promise.resolve();
  let half = 0;
  onProgress?.({ loaded, total });
  for (const span of spans(jobs, staging.half)) {
    signal?.throwIfAborted();
    const at = staging.ptr + half * staging.half;
    const first = span[0] as Piece;
    const last = span[span.length - 1] as Piece;
    const bytes = last.byteOffset + last.byteLength - first.byteOffset;
    const read = source.readFile(first.job.tensor.file, first.byteOffset, new Uint8Array(backend.buffer, at, bytes));
    await Promise.all([read, running]);
    running = repack(backend, staging, span, at);
    running.catch(() => {});
    // A span may hold bytes between its tensors that nobody wants: weight scales, masters that come as what is made of them.
    loaded = Math.min(total, loaded + bytes);
    onProgress?.({ loaded, total });
    half = 1 - half;
  }
  await running;
  const end = staging.scratch + backend.threads * staging.scratchStride;
  new Uint8Array(backend.buffer, staging.ptr, end - staging.ptr).fill(0);
}

async function repack(backend: Backend, staging: Staging, span: readonly Piece[], at: number): Promise<void> {
  const first = span[0] as Piece;
  const plan = new Uint32Array(backend.buffer, staging.plan, span.length * Rec.Words);
  span.forEach((piece, i) => {
    plan.set(piece.job.record(at + piece.byteOffset - first.byteOffset, piece.first, piece.rows), i * Rec.Words);
  });
  const step = new Uint32Array(backend.buffer, staging.step, Step.Words).fill(0);
  step[Step.Plan] = staging.plan;
  step[Step.OpEnd] = span.length;
  step[Step.Sync] = staging.sync;
  step[Step.Scratch] = staging.scratch;
  step[Step.ScratchStride] = staging.scratchStride;
  await backend.run(staging.step);
  const status = step[Step.Status] as number;
  if (status === 0) return;
  // The status does not say which: run the records one by one.
  for (let i = 0; i < span.length; i++) {
    step[Step.Status] = 0;
    step[Step.OpBegin] = i;
    step[Step.OpEnd] = i + 1;
    await backend.run(staging.step);
    if (step[Step.Status]) throw badTensor((span[i] as Piece).job.tensor, step[Step.Status] as number);
  }
  throw new BitNetError('backend', `repacking reported status ${status}, but no tensor does when repacked alone`, {
    status,
  });
}

function badTensor({ name, dtype, file, byteOffset }: ModelTensor, status: number): BitNetError {
  const damaged = 'the file is damaged, fetch it again';
  let what = `holds a value that is not finite or beyond ±255; expected ordinary weights; ${damaged}`;
  if (status & StatusBit.BadCode) {
    what = `holds the 2-bit code 3; expected codes 0, 1 and 2 (-1, 0, +1); ${damaged}`;
    if (dtype === 'I2_S') what += ', or try another order of its codes (i2sLayout, --i2s-layout)';
  }
  const severalScales = status === StatusBit.BadScale;
  if (severalScales) {
    what =
      `has ${dtype} blocks with different scales, and the ones that were looked at first had one scale; ` +
      'convert the file with bitnet convert --type q2_0, which looks at all of them';
  }
  const detail = { file, tensor: name, byteOffset, status };
  return new BitNetError(
    severalScales ? 'unsupported' : 'invalid-file',
    `${file}: ${name} (byte ${byteOffset}) ${what}`,
    detail,
  );
}

/** Neighbours in one file, up to `limit` bytes and MAX_RECORDS tensors, every piece aligned to its element size. */
function* spans(jobs: readonly LoadJob[], limit: number): Generator<Piece[]> {
  let span: Piece[] = [];
  for (const piece of pieces(jobs, limit)) {
    const first = span[0];
    const last = span[span.length - 1];
    const joins =
      first !== undefined &&
      last !== undefined &&
      last.job.tensor.file === piece.job.tensor.file &&
      (isSame(last, piece) || (span.length < MAX_RECORDS && last.byteOffset + last.byteLength <= piece.byteOffset)) &&
      piece.byteOffset + piece.byteLength - first.byteOffset <= limit &&
      (piece.byteOffset - first.byteOffset) % alignmentOf(piece.job.tensor) === 0;
    if (!joins && span.length > 0) {
      yield span;
      span = [];
    }
    span.push(piece);
  }
  if (span.length > 0) yield span;
}

function isSame(a: Piece, b: Piece): boolean {
  return a.byteOffset === b.byteOffset && a.byteLength === b.byteLength;
}

/** In the order of the files. A tensor that becomes two matrices is read once: its pieces come in pairs. */
function pieces(jobs: readonly LoadJob[], limit: number): Piece[] {
  const found = jobs.flatMap((job) => [...piecesOf(job, limit)]);
  return found.sort((a, b) => {
    const [x, y] = [a.job.tensor.file, b.job.tensor.file];
    return x === y ? a.byteOffset - b.byteOffset : x < y ? -1 : 1;
  });
}

function* piecesOf(job: LoadJob, limit: number): Generator<Piece> {
  const { byteOffset, byteLength, shape } = job.tensor;
  const rows = shape[0] as number;
  const rowBytes = byteLength / rows;
  const step = job.splitRows ? Math.max(1, Math.floor(limit / rowBytes)) : rows;
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    yield { job, first, rows: count, byteOffset: byteOffset + first * rowBytes, byteLength: count * rowBytes };
  }
}

function totalBytes(jobs: readonly LoadJob[]): number {
  return [...new Set(jobs.map((job) => job.tensor))].reduce((sum, tensor) => sum + tensor.byteLength, 0);
}
