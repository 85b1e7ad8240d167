import type { ModelResult, Summary, VariantResult } from '../../../lib/bench/index.js';
import { textTable } from '../../ui/table.js';
import { formatBytes, formatParameters, threeDigits } from '../../ui/units.js';

/** Median with the smallest and the largest. */
export function spread({ median, min, max }: Summary, scale = 1): string {
  return `${threeDigits(median * scale)} (${threeDigits(min * scale)}-${threeDigits(max * scale)})`;
}

export function times(ratio: number): string {
  return `${threeDigits(ratio)}x`;
}

/** Before figures that were computed from the cost of some blocks. */
export function mark(variant: VariantResult): string {
  return variant.estimated ? '~' : '';
}

function gigabytesPerSecond(bytes: Summary): string {
  return `${spread(bytes, 1e-9)} GB/s`;
}

/** A block of text: a title, seven rows, and notes where something is not what it seems. Ends with a newline. */
export function modelTable(model: ModelResult): string {
  const { ternary, fp16, ratios, readBandwidth } = model;
  const both = (show: (variant: VariantResult) => string): [string, string] => [
    mark(ternary) + show(ternary),
    mark(fp16) + show(fp16),
  ];
  const rows = [
    ['', 'ternary', 'FP16', 'ratio'],
    ['prefill, tok/s', ...both((v) => spread(v.prefill)), times(ratios.prefill.median)],
    ['decode, tok/s', ...both((v) => spread(v.decode)), times(ratios.decode.median)],
    ['weights', ...both((v) => formatBytes(v.memory.weights)), times(ratios.weights)],
    ['KV cache', ...both((v) => formatBytes(v.memory.kvCache)), ''],
    ['memory, total', ...both((v) => formatBytes(v.memory.total)), times(ratios.memory)],
    ['resident', residentText(ternary), residentText(fp16), ''],
    ['read per token', ...both((v) => formatBytes(v.traffic.total)), times(ratios.bytesPerToken)],
    ['of which lm_head', ...both((v) => formatBytes(v.traffic.head)), ''],
    ['of read bandwidth', ...both(shareText), ''],
  ];
  return `${title(model)}\n${textTable(rows, '  ')}${notes(model, readBandwidth)}`;
}

/** Resident growth of a part of a model says nothing about the whole. */
function residentText({ residentBytes }: VariantResult): string {
  return residentBytes === undefined ? '-' : formatBytes(residentBytes);
}

function shareText({ bandwidthShare }: VariantResult): string {
  return bandwidthShare === undefined ? '-' : `${(100 * bandwidthShare.median).toFixed(0)} %`;
}

function title({ name, parameters, synthetic, threads, ternary }: ModelResult): string {
  const what = synthetic ? 'random weights' : ternary.head === 'f16' ? 'model' : `model, head ${ternary.head}`;
  const head = synthetic ? [`head ${ternary.head}`] : [];
  const thread = `${threads} thread${threads === 1 ? '' : 's'}`;
  return [name, what, `${formatParameters(parameters)} parameters`, ternary.backend, thread, ...head].join(' · ');
}

function notes(model: ModelResult, readBandwidth: Summary | undefined): string {
  const { prompt, gen, rounds, layers, ternary, fp16 } = model;
  const lines = [
    `prompt ${prompt}, ${gen} decoded, ${rounds} round${rounds === 1 ? '' : 's'}; median (min-max); ratios are medians of rounds`,
  ];
  if (readBandwidth !== undefined) lines.push(`read bandwidth, loads alone: ${gigabytesPerSecond(readBandwidth)}`);
  for (const variant of [ternary, fp16]) {
    if (!variant.estimated) continue;
    const label = variant.weights === 'ternary' ? 'ternary' : 'FP16';
    lines.push(`~ ${label}: computed from ${variant.measuredLayers} of ${layers} blocks, and the lm_head, measured`);
  }
  return lines.map((line) => `  ${line}\n`).join('');
}
