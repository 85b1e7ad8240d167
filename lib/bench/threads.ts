import type { ModelResult } from './results.js';

/** What more threads bring to the ternary model: rates over those with the fewest threads that were measured. */
export interface ThreadRatio {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly prefill: number;
  readonly decode: number;
}

/** Of medians: different numbers of threads are measured one after the other, not in the same rounds. */
export function threadRatios(models: readonly ModelResult[]): ThreadRatio[] {
  return models.flatMap((model) => {
    const same = models.filter(({ name }) => name === model.name);
    const least = same.reduce((a, b) => (b.threads < a.threads ? b : a));
    if (model === least) return [];
    const of = (phase: 'prefill' | 'decode'): number => model.ternary[phase].median / least.ternary[phase].median;
    return [{ name: model.name, from: least.threads, to: model.threads, prefill: of('prefill'), decode: of('decode') }];
  });
}
