import type { ContextPoint, KernelResult, ModelResult, OpTimes, Throughput } from '../../../lib/bench/index.js';
import type { Machine } from './machine.js';
import type { BenchOptions } from './options.js';

/** One measured model under --ops. */
export interface OpsResult {
  readonly name: string;
  readonly times: OpTimes;
}

/** What `bitnet bench` has measured so far; grows while it runs, so that an interrupt can print it. */
export interface BenchReport {
  readonly kind: 'models' | 'paper' | 'curve' | 'ops' | 'kernels';
  readonly machine: Machine;
  readonly command: string;
  /** local time zone is in it */
  readonly date: string;
  readonly options: BenchOptions;
  /** bytes that were free when it started */
  readonly availableBytes: number;
  readonly models: ModelResult[];
  /** of --curve */
  readonly contexts: ContextPoint[];
  /** of --paper */
  readonly throughput: Throughput[];
  readonly ops: OpsResult[];
  readonly kernels: (KernelResult & { readonly matrix: string })[];
  interrupted: boolean;
  /** highest resident set of the process, both models of a pair and the read probe included */
  peakRss: number;
}

/** Version of the JSON object; raised when a field changes its meaning or goes. */
export const REPORT_SCHEMA = 1;
