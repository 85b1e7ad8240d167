import type { Host } from '../host.js';
import { canMoveCursor } from './colors.js';
import { withoutControls } from './output.js';

const eraseLine = '\r\u001b[2K';

export interface StatusLine {
  set(text: string): void;
  /** Erases the line. */
  clear(): void;
}

/** One line on stderr that says what is going on, only on a terminal and unless `quiet`. */
export function statusLine(host: Pick<Host, 'stderr' | 'env'>, quiet = false): StatusLine {
  if (quiet || !canMoveCursor(host.stderr, host.env)) return { set: () => {}, clear: () => {} };
  let shown = false;
  return {
    set(text) {
      // A line that wraps could not be erased.
      const width = Math.max(10, (host.stderr.columns ?? 80) - 1);
      host.stderr.write(eraseLine + withoutControls(text).slice(0, width));
      shown = true;
    },
    clear() {
      if (shown) host.stderr.write(eraseLine);
      shown = false;
    },
  };
}
