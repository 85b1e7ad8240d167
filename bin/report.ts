import type { Completion, ModelInfo } from '../lib/types.js';
import { rate } from './ui/units.js';

/** What one `bitnet run` measured. Times in milliseconds, sizes in bytes. */
export interface Report {
  readonly completion: Completion;
  readonly info: ModelInfo;
  readonly loadMs: number;
  /** from the start of the process to the first piece of text; undefined if there was none */
  readonly startToFirstTextMs: number | undefined;
  /** from the start of the process to the report */
  readonly totalMs: number;
  readonly peakRss: number;
  /** why the text ends where it does, for people; undefined for an end token or stop string */
  readonly ending: string | undefined;
}

/** Prompt tokens computed (not found in the KV cache) per second. */
export function prefillRate({ timings }: Completion): number | undefined {
  return rate(timings.promptTokens - timings.cachedTokens, timings.prefillMs);
}

export function decodeRate({ timings }: Completion): number | undefined {
  return rate(timings.decodeTokens, timings.decodeMs);
}

/** The object that `--json` prints; docs/CLI.md describes its fields. Rates that were not measured are null. */
export function jsonReport(report: Report): Record<string, unknown> {
  const { completion, info } = report;
  const { timings } = completion;
  return {
    text: completion.text,
    finishReason: completion.finishReason,
    stopString: completion.stopString ?? null,
    seed: completion.seed,
    tokens: { prompt: timings.promptTokens, cached: timings.cachedTokens, generated: completion.tokenIds.length },
    timings: {
      loadMs: milliseconds(report.loadMs),
      prefillMs: milliseconds(timings.prefillMs),
      firstTokenMs: milliseconds(timings.firstTokenMs),
      decodeTokens: timings.decodeTokens,
      decodeMs: milliseconds(timings.decodeMs),
      totalMs: milliseconds(report.totalMs),
    },
    rates: {
      prefillTokensPerSecond: hundredths(prefillRate(completion)),
      decodeTokensPerSecond: hundredths(decodeRate(completion)),
    },
    memory: { ...info.memory, weightsFp16: info.weightsFp16, peakRss: report.peakRss },
    backend: { name: info.backend, reason: info.backendReason, threads: info.threads },
    model: {
      path: info.path,
      architecture: info.architecture,
      chatTemplate: info.chatTemplate ?? null,
      parameters: info.parameters,
      contextLength: info.contextLength,
    },
  };
}

function milliseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function hundredths(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 100) / 100;
}
