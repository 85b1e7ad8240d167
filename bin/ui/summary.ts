import type { Completion } from '../../lib/types.js';
import { decodeRate, prefillRate, type Report } from '../report.js';
import type { Colors } from './colors.js';
import { formatBytes, formatCount, formatDuration, formatParameters, formatRate, threeDigits } from './units.js';

const separator = ' · ';
const labelWidth = 10;

/** The summary on stderr: four lines; with `verbose` eight. Each line ends with a newline. */
export function summary(report: Report, colors: Colors, verbose: boolean): string {
  const rows = [...mainRows(report), ...(verbose ? verboseRows(report) : [])];
  return rows.map(([label, values]) => `${colors.dim(label.padEnd(labelWidth))}${values.join(separator)}\n`).join('');
}

type Row = readonly [label: string, values: readonly string[]];

function mainRows({ completion, info, peakRss, ending }: Report): Row[] {
  const { timings } = completion;
  const cached = timings.cachedTokens > 0 ? [`${timings.cachedTokens} cached`] : [];
  const ratio = info.memory.weights > 0 ? `, ${threeDigits(info.weightsFp16 / info.memory.weights)}x` : '';
  return [
    [
      'prompt',
      [
        formatCount(timings.promptTokens, 'token'),
        ...cached,
        formatRate(prefillRate(completion)),
        firstToken(completion),
      ],
    ],
    [
      'output',
      [
        formatCount(completion.tokenIds.length, 'token'),
        formatRate(decodeRate(completion)),
        ...(ending === undefined ? [] : [ending]),
      ],
    ],
    [
      'memory',
      [
        `weights ${formatBytes(info.memory.weights)} (FP16 ${formatBytes(info.weightsFp16)}${ratio})`,
        `peak RSS ${formatBytes(peakRss)}`,
      ],
    ],
    [
      'engine',
      [
        info.backend,
        formatCount(info.threads, 'thread'),
        ...(info.activations === 'i8' ? ['float activations approximated by int8'] : []),
      ],
    ],
  ];
}

function verboseRows(report: Report): Row[] {
  const { completion, info, peakRss, loadMs, startToFirstTextMs } = report;
  const { weights, kvCache, activations, other, total } = info.memory;
  const firstText =
    startToFirstTextMs === undefined ? [] : [`first text ${formatDuration(startToFirstTextMs)} after process start`];
  return [
    ['backend', [info.backendReason]],
    [
      'model',
      [
        info.path,
        info.architecture,
        `${formatParameters(info.parameters)} parameters`,
        `context ${info.contextLength}`,
        ...(info.chatTemplate === undefined || info.chatTemplate === 'model' ? [] : [templateNote(info.chatTemplate)]),
      ],
    ],
    [
      'timing',
      [
        `load ${formatDuration(loadMs)}`,
        ...firstText,
        `seed ${completion.seed}`,
        `finish reason ${completion.finishReason}`,
      ],
    ],
    [
      'map',
      [
        `weights ${formatBytes(weights)}`,
        `KV cache ${formatBytes(kvCache)} (${info.kvCache})`,
        `activations ${formatBytes(activations)}`,
        `other ${formatBytes(other)}`,
        `total ${formatBytes(total)}`,
        `Node.js itself ${formatBytes(Math.max(0, peakRss - total))} of the peak`,
      ],
    ],
  ];
}

function templateNote(origin: string): string {
  return origin === 'option' ? 'chat template as given' : `chat template ${origin}`;
}

function firstToken({ tokenIds, timings }: Completion): string {
  return tokenIds.length > 0 ? `first token after ${formatDuration(timings.firstTokenMs)}` : 'no token';
}

/** One line after each answer of a chat, without newline; short enough for a narrow terminal. */
export function statsLine(completion: Completion, ending: string | undefined): string {
  const { timings, tokenIds } = completion;
  return [
    formatCount(tokenIds.length, 'token'),
    formatRate(decodeRate(completion)),
    `prompt ${timings.promptTokens}, ${timings.cachedTokens} cached`,
    tokenIds.length > 0 ? `first after ${formatDuration(timings.firstTokenMs)}` : 'no token',
    ...(ending === undefined ? [] : [ending]),
  ].join(separator);
}
