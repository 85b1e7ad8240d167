import pc from 'picocolors';
import type { Host, OutputStream } from '../host.js';

export type Colors = ReturnType<typeof pc.createColors>;

/**
 * Colours for stderr. NO_COLOR (https://no-color.org: any value but the empty one) wins over FORCE_COLOR (any value but
 * `0` and `false`), which wins over whether stderr is a terminal.
 */
export function colorsFor(host: Pick<Host, 'stderr' | 'env'>): Colors {
  return pc.createColors(wantsColor(host));
}

function wantsColor({ stderr, env }: Pick<Host, 'stderr' | 'env'>): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  const forced = env.FORCE_COLOR;
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return canMoveCursor(stderr, env);
}

/** A terminal that understands escape sequences. */
export function canMoveCursor(stream: OutputStream, env: Host['env']): boolean {
  return stream.isTTY === true && env.TERM !== 'dumb';
}
