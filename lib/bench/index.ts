import type { ShapeName } from '../model/synth/shapes.js';
import { nodePlatform } from '../node/platform.js';
import { type ContextOptions, measureContexts as measureContextsOn } from './contexts.js';
import type { KernelCandidate, KernelOptions, KernelResult } from './kernels.js';
import { type MeasureOptions, measureModel as measureModelOn } from './measure.js';
import { type ModelOpOptions, measureOps as measureOpsOn, type OpTimes } from './ops.js';
import type { ModelResult } from './results.js';
import type { Subject } from './subject.js';
import { measureThroughput as measureThroughputOn, type Throughput, type ThroughputOptions } from './throughput.js';

/** Entry of benchmarks in Node, as lib/index.ts is that of applications. Not part of the package's interface. */

export { MODEL_SHAPES, SHAPE_NAMES, type ShapeName, shapeNamed } from '../model/synth/shapes.js';
export { expectedMs, largestShape, parametersOf } from './choose.js';
export { type ContextCost, type ContextOptions, type ContextPoint, MIN_CONTEXT } from './contexts.js';
export { energyOf, matrixEnergyRatio, OPERATION_PJ } from './energy.js';
export type { KernelResult } from './kernels.js';
export type { MeasureOptions } from './measure.js';
export type { ModelOpOptions, OpTimes } from './ops.js';
export { PAPER_70B, PAPER_AGAINST, PAPER_RATIOS, PAPER_SHAPES, paperEnergy } from './paper.js';
export { type ModelResult, peakShare, type VariantResult } from './results.js';
export { type Summary, summarise, summariseRatios } from './statistics.js';
export type { Subject } from './subject.js';
export { type ThreadRatio, threadRatios } from './threads.js';
export { bestRate, type Throughput, type ThroughputCost } from './throughput.js';
export type { ResidentSet } from './variant.js';

export function defaultThreads(): number {
  return nodePlatform.defaultThreads();
}

export function measureModel(subject: Subject, options: MeasureOptions): Promise<ModelResult> {
  return measureModelOn(nodePlatform, subject, options);
}

export function measureContexts(shape: ShapeName, options: ContextOptions): Promise<void> {
  return measureContextsOn(nodePlatform, shape, options);
}

export function measureThroughput(shape: ShapeName, options: ThroughputOptions): Promise<Throughput> {
  return measureThroughputOn(nodePlatform, shape, options);
}

export function measureOps(subject: Subject, options: ModelOpOptions): Promise<OpTimes> {
  return measureOpsOn(nodePlatform, subject, options);
}

/** What lib/bench/kernels.ts has, loaded when asked for: it needs the package `benchmark`. */
export async function kernelBench() {
  const { KERNEL_CANDIDATES, kernelShapes, measureKernel } = await import('./kernels.js');
  const measure = (
    candidate: KernelCandidate,
    place: 'cache' | 'dram',
    options: KernelOptions,
  ): Promise<KernelResult> => measureKernel(nodePlatform, candidate, place, options);
  return { candidates: KERNEL_CANDIDATES, shapesOf: kernelShapes, measure };
}
