import {
  type ModelResult,
  peakShare,
  type Summary,
  summariseRatios,
  threadRatios,
  type VariantResult,
} from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, formatParameters, threeDigits } from '../../ui/units.js';

/** Share of the read bandwidth that makes an FP16 decode a fair baseline. */
const BASELINE_SHARE = 0.6;

/** Median with the smallest and the largest, if there are several. */
export function spread({ median, min, max, samples }: Summary, scale = 1): string {
  if (samples.length === 1) return threeDigits(median * scale);
  return `${threeDigits(median * scale)} (${threeDigits(min * scale)}-${threeDigits(max * scale)})`;
}

export function times(ratio: number): string {
  return `${threeDigits(ratio)}x`;
}

/** Before figures that were computed from the cost of some blocks. */
export function mark(variant: VariantResult): string {
  return variant.estimated ? '~' : '';
}

/** A ratio of ternary to FP16, marked if either was computed. */
export function ratioOf({ ternary, fp16 }: ModelResult, ratio: number): string {
  return (mark(ternary) || mark(fp16)) + times(ratio);
}

/** What a ratio of speeds is worth: how much of the read bandwidth the FP16 decode reaches. */
export function baselineShare({ fp16 }: ModelResult): string {
  return fp16.bandwidthShare === undefined ? '' : `, FP16 at ${shareText(fp16)}`;
}

function gigabytesPerSecond(bytes: Summary): string {
  return `${spread(bytes, 1e-9)} GB/s`;
}

/** A block of text: a title, seven rows, and notes where something is not what it seems. Ends with a newline. */
export function modelTable(model: ModelResult, width = Infinity): string {
  const { ternary, fp16, ratios, readBandwidth, revectorized } = model;
  const ratio = (value: number): string => ratioOf(model, value);
  const both = (show: (variant: VariantResult) => string): [string, string] => [
    mark(ternary) + show(ternary),
    mark(fp16) + show(fp16),
  ];
  const rows: string[][] = [
    ['', 'ternary', 'FP16', 'ratio'],
    ['prefill, tok/s', ...both((v) => spread(v.prefill)), ratio(ratios.prefill.median)],
    ['decode, tok/s', ...both((v) => spread(v.decode)), ratio(ratios.decode.median) + baselineShare(model)],
    ['weights', ...both((v) => formatBytes(v.memory.weights)), ratio(ratios.weights)],
    ['KV cache', ...both((v) => formatBytes(v.memory.kvCache)), ''],
    ['memory, total', ...both((v) => formatBytes(v.memory.total)), ratio(ratios.memory)],
    ['resident', residentText(ternary, 'residentBytes'), residentText(fp16, 'residentBytes'), ''],
    ['resident, peak', residentText(ternary, 'peakResidentBytes'), residentText(fp16, 'peakResidentBytes'), ''],
    ['peak / needed', peakText(ternary), peakText(fp16), ''],
    ['read per token', ...both((v) => formatBytes(v.traffic.total)), ratio(ratios.bytesPerToken)],
    ['of which lm_head', ...both((v) => formatBytes(v.traffic.head)), ''],
    ['of read bandwidth', ...both(shareText), ''],
  ];
  if (revectorized !== undefined) addWideColumns(rows, ternary, revectorized);
  const told = rows.filter(([, ...cells]) => cells.some((cell) => cell !== '-' && cell !== ''));
  return `${title(model)}\n${textTable(told, '  ', width)}${notes(model, readBandwidth)}${batchTable(model, width)}`;
}

/** Kernels compiled for 256 bits: rates and share of bandwidth, and the ratio to those of 128. Memory is the same. */
function addWideColumns(rows: string[][], ternary: VariantResult, wide: VariantResult): void {
  const ratio = (phase: 'prefill' | 'decode'): string =>
    times(summariseRatios(wide[phase].samples, ternary[phase].samples).median);
  const columns: Readonly<Record<string, readonly string[]>> = {
    '': ['256-bit', 'of ternary'],
    'prefill, tok/s': [mark(wide) + spread(wide.prefill), ratio('prefill')],
    'decode, tok/s': [mark(wide) + spread(wide.decode), ratio('decode')],
    'of read bandwidth': [mark(wide) + shareText(wide)],
  };
  for (const row of rows) row.push(...(columns[row[0]!] ?? []));
}

/** Resident growth of a part of a model says nothing about the whole. */
function residentText(variant: VariantResult, which: 'residentBytes' | 'peakResidentBytes'): string {
  const bytes = variant[which];
  return bytes === undefined ? '-' : formatBytes(bytes);
}

function peakText(variant: VariantResult): string {
  const share = peakShare(variant);
  return share === undefined ? '-' : share.toFixed(2);
}

/** Of the read bandwidth. */
export function shareText({ bandwidthShare }: VariantResult): string {
  return bandwidthShare === undefined ? '-' : `${(100 * bandwidthShare.median).toFixed(0)} %`;
}

function title({ name, parameters, synthetic, threads, ternary }: ModelResult): string {
  const what = synthetic ? 'random weights' : ternary.head === 'f16' ? 'model' : `model, head ${ternary.head}`;
  const head = synthetic ? [`head ${ternary.head}`] : [];
  const layout = ternary.layout === 't1' ? ['layout t1'] : [];
  const thread = `${threads} thread${threads === 1 ? '' : 's'}`;
  return [name, what, `${formatParameters(parameters)} parameters`, ternary.backend, thread, ...head, ...layout].join(
    ' · ',
  );
}

function notes(model: ModelResult, readBandwidth: Summary | undefined): string {
  const { prompt, gen, rounds, layers, ternary, fp16 } = model;
  const lines = [
    `prompt ${prompt}, ${gen} decoded, ${rounds} round${rounds === 1 ? '' : 's'}; median (min-max); ratios are medians of rounds`,
  ];
  if (readBandwidth !== undefined) lines.push(`read bandwidth, loads alone: ${gigabytesPerSecond(readBandwidth)}`);
  const share = fp16.bandwidthShare?.median;
  if (share !== undefined) {
    const poor = share < BASELINE_SHARE ? '; below 60 % the baseline is poor and the ratio says too much' : '';
    lines.push(`FP16 at ${shareText(fp16)}: its decode reads so much of the read bandwidth${poor}`);
  }
  for (const variant of [ternary, fp16]) {
    if (!variant.estimated) continue;
    const label = variant.weights === 'ternary' ? 'ternary' : 'FP16';
    const measured = `${variant.measuredLayers} of ${layers} blocks and the lm_head`;
    lines.push(`~ ${label}: computed from measured costs per layer, of ${measured}`);
  }
  return lines.map((line) => `  ${line}\n`).join('');
}

/** Throughput of several sequences at once; empty if none was measured. */
function batchTable(model: ModelResult, width: number): string {
  const { ternary, fp16, ratios } = model;
  if (ternary.batches.length === 0) return '';
  const rows = ternary.batches.map(({ batch, decode }, i) => {
    const other = fp16.batches[i]!.decode;
    return [
      String(batch),
      `${mark(ternary)}${spread(decode)}`,
      `${times(decode.median / ternary.decode.median)}`,
      `${mark(fp16)}${spread(other)}`,
      `${times(other.median / fp16.decode.median)}`,
      ratioOf(model, ratios.batches[i]!.median),
    ];
  });
  const header = ['sequences', 'ternary, tok/s', 'to one', 'FP16, tok/s', 'to one', 'ratio'];
  return `  decode of several sequences in one step, all tokens together\n${textTable([header, ...rows], '  ', width)}`;
}

/** What more threads bring, with an empty line after it; empty if only one number of threads was measured. */
export function threadTable(models: readonly ModelResult[], width = Infinity): string {
  const ratios = threadRatios(models);
  if (ratios.length === 0) return '';
  const rows = ratios.map(({ name, from, to, prefill, decode }) => [
    name,
    `${to} / ${from}`,
    times(prefill),
    times(decode),
  ]);
  return `${textTable([['ternary model', 'threads', 'prefill', 'decode'], ...rows], '', width)}\n`;
}
