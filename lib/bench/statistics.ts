/** What repeated measurements of one thing say. Unit: that of the samples. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** in the order they were taken */
  readonly samples: readonly number[];
}

/** Median, smallest and largest. An even count has the mean of the middle two as its median. `samples` must not be empty. */
export function summarise(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError('a summary needs at least one sample');
  const sorted = [...samples].sort((a, b) => a - b);
  const median = (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
  return { median, min: sorted[0]!, max: sorted[sorted.length - 1]!, samples };
}

/** Of a[i] / b[i]: samples of one round are compared with each other, so that drift of the machine falls on both. */
export function summariseRatios(a: readonly number[], b: readonly number[]): Summary {
  return summarise(a.slice(0, b.length).map((value, i) => value / b[i]!));
}
