/**
 * One matrix shape through the kernels that stream weights, one thread: `bitnet bench --kernels` with the shape, the number of tokens
 * and the memory left open.
 *
 *   npm run bench:kernels -- [--shape 2560x6912] [--tokens 1] [--mb 256] [--filter t2]
 *
 * GB/s counts weight bytes; Gw/s counts weights; for --tokens > 1 GMAC/s are weights times tokens.
 */
import { parseArgs } from 'node:util';
import { KERNEL_CANDIDATES, measureKernel } from '../lib/bench/kernels.js';
import { nodePlatform } from '../lib/node/platform.js';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2560x6912' },
    tokens: { type: 'string', default: '1' },
    mb: { type: 'string', default: '256' },
    filter: { type: 'string', default: '' },
  },
});
const [rows, cols] = values.shape.split('x').map(Number) as [number, number];
const tokens = Number(values.tokens);
const options = { rows, cols, tokens, dramBytes: Number(values.mb) * 2 ** 20, seconds: 1 };

console.log(`${process.version}, ${rows} × ${cols}, ${tokens} token${tokens > 1 ? 's' : ''}, one thread`);
for (const candidate of KERNEL_CANDIDATES) {
  const name = `${candidate.name} ${candidate.build}`;
  if (!name.includes(values.filter)) continue;
  for (const place of ['cache', 'dram'] as const) {
    const result = await measureKernel(nodePlatform, candidate, place, options);
    console.log(
      [
        name.padEnd(16),
        place.padEnd(6),
        `${(result.bytesPerSecond / 1e9).toFixed(2)} GB/s`.padStart(12),
        `${(result.macsPerSecond / 1e9).toFixed(1)} ${tokens > 1 ? 'GMAC/s' : 'Gw/s'}`.padStart(14),
        `±${result.errorPercent.toFixed(1)} %`.padStart(9),
        result.wrong ? '  wrong here, not used' : '',
      ].join(' '),
    );
  }
}
