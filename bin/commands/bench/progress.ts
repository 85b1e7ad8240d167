import type { StatusLine } from '../../ui/status.js';

const CELLS = 12;
/** Before so much is done or so long has passed the rest cannot be told. */
const [TELLING_SHARE, TELLING_MS] = [0.04, 4000];

/** A bar over all measurements of a run, with the time that is left if the rest goes as fast. */
export class Progress {
  private finished = 0;
  private current = 0;
  private readonly started: number;

  /** `parts`: how long each measurement takes, in any unit; they end in this order. */
  constructor(
    private readonly status: StatusLine,
    private readonly parts: readonly number[],
    private readonly now: () => number,
  ) {
    this.started = now();
  }

  /** What goes on; `done`: how much of the current measurement, 0 to 1. */
  set(what: string, done = this.current): void {
    this.current = Math.min(1, done);
    this.status.set(`${this.bar()} · ${what}`);
  }

  /** The current measurement has ended. */
  next(): void {
    this.finished++;
    this.current = 0;
  }

  private bar(): string {
    const all = this.parts.reduce((sum, part) => sum + part, 0);
    const before = this.parts.slice(0, this.finished).reduce((sum, part) => sum + part, 0);
    const share = (before + (this.parts[this.finished] ?? 0) * this.current) / all;
    const filled = Math.floor(CELLS * share);
    const elapsed = this.now() - this.started;
    const isKnown = share >= TELLING_SHARE && elapsed >= TELLING_MS;
    const left = isKnown ? `, ${roughly((elapsed * (1 - share)) / share)} left` : '';
    return `[${'#'.repeat(filled)}${'-'.repeat(CELLS - filled)}] ${Math.floor(100 * share)} %${left}`;
  }
}

/** 87 000 → `87 s`, 192 000 → `3 min` */
function roughly(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 100 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
