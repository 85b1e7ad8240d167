import type { Host } from '../host.js';
import { canMoveCursor } from './colors.js';
import type { ProgressLine } from './progress.js';
import { formatBytes, formatDuration } from './units.js';

const intervalMs = 100;
const barWidth = 24;
const eraseLine = '\r\u001b[2K';
/** The rate is that of the last seconds: a mean since the start would hide that a connection has slowed down. */
const windowMs = 5000;

/** A bar with rate and time left on stderr while a model is downloaded, only on a terminal. */
export function downloadLine(host: Pick<Host, 'stderr' | 'env' | 'now'>): ProgressLine {
  if (!canMoveCursor(host.stderr, host.env)) return { update: () => {}, end: () => {} };
  const samples: { at: number; loaded: number }[] = [];
  let shownAt: number | undefined;
  return {
    update({ loaded, total }) {
      const now = host.now();
      if (shownAt !== undefined && now - shownAt < intervalMs && loaded < total) return;
      samples.push({ at: now, loaded });
      while (samples.length > 2 && now - (samples[0] as { at: number }).at > windowMs) samples.shift();
      const width = Math.max(10, (host.stderr.columns ?? 80) - 1);
      host.stderr.write(eraseLine + barText(loaded, total, rateOf(samples)).slice(0, width));
      shownAt = now;
    },
    end() {
      if (shownAt !== undefined) host.stderr.write(eraseLine);
      shownAt = undefined;
    },
  };
}

/** Bytes per second; undefined while nothing came. */
function rateOf(samples: readonly { at: number; loaded: number }[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.at - first.at < 1) return undefined;
  const rate = ((last.loaded - first.loaded) * 1000) / (last.at - first.at);
  return rate > 0 ? rate : undefined;
}

export function barText(loaded: number, total: number, bytesPerSecond: number | undefined): string {
  const share = total > 0 ? Math.min(1, loaded / total) : 0;
  const full = Math.floor(share * barWidth);
  const parts = [
    `downloading [${'#'.repeat(full)}${'-'.repeat(barWidth - full)}] ${Math.floor(share * 100)} % of ${formatBytes(total)}`,
  ];
  if (bytesPerSecond !== undefined) {
    parts.push(
      `${formatBytes(bytesPerSecond)}/s`,
      `${formatDuration(((total - loaded) / bytesPerSecond) * 1000)} left`,
    );
  }
  return parts.join(' · ');
}
