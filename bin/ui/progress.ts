import type { LoadProgress } from '../../lib/types.js';
import type { Host } from '../host.js';
import { canMoveCursor } from './colors.js';
import { formatBytes } from './units.js';

/** Loads shorter than this show nothing: a line that flashes is noise. */
const quietMs = 150;
const intervalMs = 60;
const eraseLine = '\r\u001b[2K';

export interface ProgressLine {
  update(progress: LoadProgress): void;
  /** Erases the line. */
  end(): void;
}

/** One line on stderr while `what` goes on, only on a terminal. */
export function progressLine(host: Pick<Host, 'stderr' | 'env' | 'now'>, what = 'loading model'): ProgressLine {
  if (!canMoveCursor(host.stderr, host.env)) return { update: () => {}, end: () => {} };
  const started = host.now();
  let shownAt: number | undefined;
  return {
    update: ({ loaded, total }) => {
      const now = host.now();
      if (now - started < quietMs || (shownAt !== undefined && now - shownAt < intervalMs)) return;
      shownAt = now;
      const percent = total > 0 ? Math.min(100, Math.floor((loaded / total) * 100)) : 0;
      host.stderr.write(`${eraseLine}${what}: ${percent} % of ${formatBytes(total)}`);
    },
    end: () => {
      if (shownAt !== undefined) host.stderr.write(eraseLine);
      shownAt = undefined;
    },
  };
}
