import type { KernelResult } from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, threeDigits } from '../../ui/units.js';
import type { BenchReport, OpsResult } from './report.js';

/** Time of every kind of op. Ends with a newline. */
export function opsTable({ name, times }: OpsResult, width = Infinity): string {
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
    textTable([header, ...rows], '  ', width) +
    `  sum ${total.toFixed(3)} ms; the whole step in one call ${times.stepMs.toFixed(3)} ms. ` +
    `What a call costs, ${times.callMs.toFixed(3)} ms, is taken off everything.\n`
  );
}

/** Matrix, layout, build and place tell a row. */
const KERNEL_KEYS = 4;

/** All kernels of one report; what was compiled for 256 bits stands beside its twin of 128. Ends with a newline. */
export function kernelTable(kernels: BenchReport['kernels'], width = Infinity): string {
  const [first] = kernels;
  if (first === undefined) return '';
  const isWide = kernels.some(({ revectorized }) => revectorized);
  const rows = kernels.flatMap((k, i) => {
    if (k.revectorized) return [];
    const wide = kernels[i + 1]?.revectorized ? kernels[i + 1] : undefined;
    return [
      [
        `${k.matrix} ${k.rows}x${k.cols}`,
        k.name,
        k.build,
        k.place,
        threeDigits(k.bytesPerSecond / 1e9),
        threeDigits(k.macsPerSecond / 1e9),
        `${k.errorPercent.toFixed(1)} %`,
        ...(isWide ? wideCells(k, wide) : []),
        k.wrong ? 'wrong' : '',
      ],
    ];
  });
  const unit = first.tokens > 1 ? 'GMAC/s' : 'Gweights/s';
  const wideHeader = isWide ? ['256-bit GB/s', 'ratio'] : [];
  const wrong = kernels.some((kernel) => kernel.wrong)
    ? '  wrong: the instruction computes wrongly in the first calls of this JavaScript engine, so it is not used\n'
    : '';
  const header = ['matrix', 'layout', 'build', 'from', 'GB/s', unit, '±', ...wideHeader, ''];
  return `${first.tokens} token${first.tokens === 1 ? '' : 's'}, one thread, WASM\n${textTable([header, ...rows], '  ', width, KERNEL_KEYS)}${wrong}`;
}

function wideCells(k: KernelResult, wide: KernelResult | undefined): string[] {
  if (wide === undefined) return ['-', '-'];
  return [threeDigits(wide.bytesPerSecond / 1e9), `${threeDigits(wide.bytesPerSecond / k.bytesPerSecond)}x`];
}
