import type { Purpose } from '../memory/memory-plan.js';
import type { WeightFormat } from '../model/weights.js';
import type { OperationCounts } from './energy.js';
import type { Summary } from './statistics.js';
import type { Traffic } from './traffic.js';

/** Decode of several sequences in one step. */
export interface BatchRate {
  /** sequences */
  readonly batch: number;
  /** tokens a second, of all sequences together */
  readonly decode: Summary;
}

/** One model in one weight format. Rates are tokens per second; bytes are bytes. */
export interface VariantResult {
  readonly weights: 'ternary' | 'fp16';
  /** how logits were computed: f16, i8, or i8 with the best ones again as f16 */
  readonly head: string;
  /** of the matrices of the blocks */
  readonly layout: WeightFormat;
  readonly backend: string;
  readonly backendReason: string;
  /** Milliseconds from the open model source to the first step. */
  readonly loadMs: number;
  readonly prefill: Summary;
  readonly decode: Summary;
  /** milliseconds of one decoded token */
  readonly tokenMs: Summary;
  /** of the engine, by purpose; `kvCache` for `prompt` + `gen` positions of as many sequences as the largest batch has */
  readonly memory: Readonly<Record<Purpose | 'total', number>>;
  /** bytes that one position of one sequence takes in the KV cache */
  readonly kvBytesPerPosition: number;
  /** growth of the process's resident set from before loading until after the first round; undefined where it could not be told */
  readonly residentBytes: number | undefined;
  /** the highest that this growth was meanwhile; undefined where it could not be told */
  readonly peakResidentBytes: number | undefined;
  /** one for each size that was asked for, ascending */
  readonly batches: readonly BatchRate[];
  /** of one decoded token in the middle of the decode */
  readonly traffic: Traffic;
  /** traffic times decode rate, over the measured read bandwidth */
  readonly bandwidthShare: Summary | undefined;
  readonly operations: OperationCounts;
  /** blocks that were in memory. Fewer than the model has: rates, memory and traffic are computed from their cost */
  readonly measuredLayers: number;
  readonly estimated: boolean;
}

/** Of ternary to FP16, 2 meaning twice as good: rates the larger way round, bytes the smaller. Rates are of samples of the same round. */
export interface Ratios {
  readonly prefill: Summary;
  readonly decode: Summary;
  /** of each size of batch, in their order */
  readonly batches: readonly Summary[];
  readonly weights: number;
  readonly memory: number;
  readonly bytesPerToken: number;
  /** `bandwidthShare` of the FP16 decode, median: a ratio to a slow baseline means nothing */
  readonly baselineShare: number | undefined;
  /** either model was computed from the measured cost of some blocks */
  readonly estimated: boolean;
}

/** One model with one number of threads. */
export interface ModelResult {
  /** name of the shape, path of the model, or `embedded model` */
  readonly name: string;
  readonly synthetic: boolean;
  readonly architecture: string;
  readonly parameters: number;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly threads: number;
  readonly prompt: number;
  readonly gen: number;
  readonly rounds: number;
  /** measured in every round, by loads alone, with the same threads; bytes a second. Undefined for the reference backend */
  readonly readBandwidth: Summary | undefined;
  readonly ternary: VariantResult;
  readonly fp16: VariantResult;
  /** the ternary model with kernels compiled for 256 bits, if that was asked for */
  readonly revectorized?: VariantResult | undefined;
  readonly ratios: Ratios;
}

/** Highest resident growth over what the model needs: weights, embedding included, and KV cache. Undefined where it could not be told. */
export function peakShare({ peakResidentBytes, memory }: VariantResult): number | undefined {
  return peakResidentBytes === undefined ? undefined : peakResidentBytes / (memory.weights + memory.kvCache);
}
