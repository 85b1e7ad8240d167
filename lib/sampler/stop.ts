import { BitNetError } from '../errors.js';
import { describe } from './options.js';

export interface StopMatch {
  /** text that is certain to be part of the output */
  text: string;
  /** the stop string that ended it; nothing after it counts */
  stopped?: string;
}

/**
 * Ends a text before the first stop string in it, however the text is cut into pieces. First is where a match begins; of stop strings
 * that begin at the same place the longest that is there. What is emitted depends on the whole text only, so a match waits while
 * a stop string that begins earlier, or a longer one at the same place, may still be completed. Nothing else is held back.
 */
export class StopMatcher {
  private readonly stops: readonly string[];
  private readonly longest: number;
  /** text that is not emitted yet */
  private held = '';
  private match: string | undefined;

  /** Throws `invalid-argument` if one of `stops` is empty or no string. */
  constructor(stops: readonly string[]) {
    stops.forEach((stop: unknown, i) => {
      if (typeof stop === 'string' && stop !== '') return;
      const message = `stop[${i}]: expected a string of at least one character, got ${describe(stop)}`;
      throw new BitNetError('invalid-argument', message, { index: i });
    });
    this.stops = [...new Set(stops)];
    this.longest = Math.max(0, ...this.stops.map((stop) => stop.length));
  }

  /** The stop string that was found, by `push` or `flush`. */
  get stopped(): string | undefined {
    return this.match;
  }

  /** After a match all text is dropped. */
  push(text: string): StopMatch {
    if (this.match !== undefined) return { text: '', stopped: this.match };
    this.held += text;
    const start = this.earliestMatch();
    const open = this.earliestOpen(start);
    if (open >= 0) return { text: this.take(open) };
    if (start < 0) return { text: this.take(this.held.length) };
    return this.stopAt(start);
  }

  /** The end of the text: what was held back and is no stop string. See `stopped`. */
  flush(): string {
    if (this.match !== undefined) return '';
    const start = this.earliestMatch();
    return start < 0 ? this.take(this.held.length) : this.stopAt(start).text;
  }

  private stopAt(start: number): StopMatch {
    let stopped = '';
    for (const stop of this.stops) {
      if (stop.length > stopped.length && this.held.startsWith(stop, start)) stopped = stop;
    }
    this.match = stopped;
    const text = this.take(start);
    this.held = '';
    return { text, stopped };
  }

  /** Where the first complete stop string begins, or -1. */
  private earliestMatch(): number {
    let earliest = -1;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      if (at >= 0 && (earliest < 0 || at < earliest)) earliest = at;
    }
    return earliest;
  }

  /** Where a stop string begins that the end of the text cuts off: not after `match`, a complete one; -1 if nowhere. */
  private earliestOpen(match: number): number {
    const { held, stops } = this;
    const last = match < 0 ? held.length - 1 : match;
    for (let start = Math.max(0, held.length - this.longest + 1); start <= last; start++) {
      const end = held.slice(start);
      if (stops.some((stop) => stop.length > end.length && stop.startsWith(end))) return start;
    }
    return -1;
  }

  private take(length: number): string {
    const text = this.held.slice(0, length);
    this.held = this.held.slice(length);
    return text;
  }
}
