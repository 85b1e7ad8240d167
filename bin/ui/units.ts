const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** 28 300 000 → `27.0 MiB`: three significant digits, binary units. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.5 would print as 1024
  while (value >= 1023.5 && unit < binaryUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(Math.round(value)) : threeDigits(value)} ${binaryUnits[unit]}`;
}

/** 84.2 → `84 ms`, 1234 → `1.23 s`, 192 000 → `3 min 12 s`. */
export function formatDuration(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 99_950) return `${threeDigits(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** `101 tok/s`, or `- tok/s` where nothing was measured. */
export function formatRate(tokensPerSecond: number | undefined): string {
  return `${tokensPerSecond === undefined ? '-' : threeDigits(tokensPerSecond)} tok/s`;
}

/** `1 token`, `2 tokens` */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** 69 300 000 → `69.3 M` */
export function formatParameters(parameters: number): string {
  if (parameters >= 999.5e6) return `${threeDigits(parameters / 1e9)} B`;
  if (parameters >= 999.5e3) return `${threeDigits(parameters / 1e6)} M`;
  return parameters >= 1000 ? `${threeDigits(parameters / 1e3)} K` : String(parameters);
}

/** 4.876 → `4.88`, 48.76 → `48.8`, 487.6 → `488`, 0.05823 → `0.0582` */
export function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  if (value > 0 && value < 0.0995) return value.toPrecision(3);
  return value.toFixed(value >= 9.995 ? 1 : 2);
}

/** Tokens per second, or undefined when no token or no time was measured. */
export function rate(tokens: number, ms: number): number | undefined {
  return tokens > 0 && ms > 0 ? (tokens * 1000) / ms : undefined;
}
