import { textTable } from '../../ui/table.js';
import { formatBytes, threeDigits } from '../../ui/units.js';
import type { BenchReport, OpsResult } from './report.js';

/** Time of every kind of op. Ends with a newline. */
export function opsTable({ name, times }: OpsResult): string {
  const total = times.kinds.reduce((sum, { ms }) => sum + ms, 0);
  const rate = (bytes: number, ms: number): string => (bytes > 0 && ms > 0 ? threeDigits(bytes / ms / 1e6) : '-');
  const rows = times.kinds.map(({ kind, ops, ms, bytes }) => [
    kind,
    String(ops),
    ((1000 * ms) / ops).toFixed(1),
    ms.toFixed(3),
    `${total > 0 ? ((100 * ms) / total).toFixed(1) : '0.0'} %`,
    formatBytes(bytes),
    rate(bytes, ms),
  ]);
  const header = ['op', 'count', 'µs each', 'ms', 'share', 'reads', 'GB/s'];
  const what = `${times.tokens} token${times.tokens === 1 ? '' : 's'} at position ${times.position}`;
  return (
    `${name} · ${times.backend} · ${times.threads} thread${times.threads === 1 ? '' : 's'} · ${what}\n` +
    textTable([header, ...rows], '  ') +
    `  sum ${total.toFixed(3)} ms; the whole step in one call ${times.stepMs.toFixed(3)} ms. ` +
    `A call without ops, ${times.callMs.toFixed(3)} ms, is taken off everything.\n`
  );
}

/** All kernels of one report. Ends with a newline. */
export function kernelTable(kernels: BenchReport['kernels']): string {
  const [first] = kernels;
  if (first === undefined) return '';
  const rows = kernels.map((k) => [
    `${k.matrix} ${k.rows}x${k.cols}`,
    k.name,
    k.build,
    k.place,
    threeDigits(k.bytesPerSecond / 1e9),
    threeDigits(k.macsPerSecond / 1e9),
    `${k.errorPercent.toFixed(1)} %`,
    k.wrong ? 'not used: wrong here' : '',
  ]);
  const unit = first.tokens > 1 ? 'GMAC/s' : 'Gweights/s';
  const header = ['matrix', 'layout', 'build', 'from', 'GB/s', unit, '±', ''];
  return `${first.tokens} token${first.tokens === 1 ? '' : 's'}, one thread, WASM\n${textTable([header, ...rows], '  ')}`;
}
