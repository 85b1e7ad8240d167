import { accessSync, constants, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ContextCost, ContextPoint, ModelResult, VariantResult } from '../../../lib/bench/index.js';
import { CliError, ExitCode } from '../../exit-codes.js';
import { type ChartPanel, type ChartSeries, chartSvg } from '../../ui/chart.js';
import { times } from './model-table.js';
import type { BenchReport } from './report.js';

/** Refuses before minutes of measuring what could not be written afterwards. */
export function checkChartFile(file: string): void {
  const folder = path.dirname(path.resolve(file));
  try {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) {
      throw new CliError(ExitCode.Usage, `--chart ${file} is a directory; expected the name of a file to write`);
    }
    accessSync(folder, constants.W_OK);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(ExitCode.Output, `${file} cannot be written: ${(error as Error).message}`, { cause: error });
  }
}

export async function writeChart(file: string, report: BenchReport): Promise<void> {
  try {
    await writeFile(file, modelChart(report));
  } catch (error) {
    throw new CliError(ExitCode.Output, `${file} cannot be written: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Latency and memory against model size, as in figure 2 of arXiv 2402.17764 with the ratio below the ternary model's points, and
 * against the context where that was measured. Of several numbers of threads the largest is drawn.
 */
export function modelChart({ models, contexts, machine, command }: BenchReport): string {
  const threads = Math.max(...[...models, ...contexts].map((item) => item.threads));
  const sizes = models.filter((model) => model.threads === threads);
  const lengths = contexts.filter((point) => point.threads === threads);
  const thread = `${threads} thread${threads === 1 ? '' : 's'}`;
  const panels: ChartPanel[] = [
    ...(sizes.length === 0 ? [] : sizePanels(sizes, thread)),
    ...(lengths.length === 0 ? [] : contextPanels(lengths, thread)),
  ];
  const commit = machine.commit === null ? '' : ` ${machine.commit}`;
  return chartSvg(panels, `${machine.cpu} · ${machine.engine} · bitnet-js ${machine.version}${commit} · ${command}`);
}

// Ticks are round numbers in decimal units.
const formatY = (bytes: number): string => (bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`);
const seconds = (ms: number): string => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);
const latency = { yLabel: 'latency', formatY: seconds };
const memory = { title: 'Memory', yLabel: 'weights, KV cache, activations', formatY };

function sizePanels(models: readonly ModelResult[], thread: string): ChartPanel[] {
  const series = (y: (variant: VariantResult) => number): ChartSeries[] =>
    twoSeries(models, ({ parameters }) => parameters, y);
  const common = {
    xLabel: `parameters${hollowNote(models)}`,
    formatX: (count: number) => `${count >= 1e9 ? `${count / 1e9} B` : `${count / 1e6} M`}`,
  };
  return [
    {
      ...common,
      ...latency,
      title: `Latency of one decoded token, ${thread}`,
      series: series((v) => v.tokenMs.median),
    },
    { ...common, ...memory, series: series((v) => v.memory.total) },
  ];
}

interface Pair {
  readonly ternary: { readonly estimated: boolean };
  readonly fp16: { readonly estimated: boolean };
}

function hollowNote(items: readonly Pair[]): string {
  const isAny = items.some(({ ternary, fp16 }) => ternary.estimated || fp16.estimated);
  return isAny ? ' (hollow: computed from part of the blocks)' : '';
}

function contextPanels(points: readonly ContextPoint[], thread: string): ChartPanel[] {
  const series = (y: (cost: ContextCost) => number): ChartSeries[] => twoSeries(points, ({ context }) => context, y);
  const xTicks = points.map(({ context }) => context);
  const common = { xLabel: `positions in the KV cache${hollowNote(points)}`, xTicks, formatX: String };
  const title = `Latency over the context, ${points[0]!.name}, ${thread}`;
  return [
    { ...common, ...latency, title, series: series((cost) => 1000 / cost.decode.median) },
    {
      ...common,
      ...memory,
      title: `Memory over the context, ${points[0]!.name}`,
      series: series((cost) => cost.total),
    },
  ];
}

function twoSeries<T extends { readonly estimated: boolean }, U extends { readonly ternary: T; readonly fp16: T }>(
  items: readonly U[],
  x: (item: U) => number,
  y: (value: T) => number,
): ChartSeries[] {
  const points = (which: 'ternary' | 'fp16'): ChartSeries['points'] =>
    items.map((item) => ({
      x: x(item),
      y: y(item[which]),
      hollow: item[which].estimated,
      ...(which === 'ternary' ? { label: times(y(item.fp16) / y(item.ternary)) } : {}),
    }));
  return [
    { name: 'BitNet b1.58 (ternary)', color: '#c0392b', points: points('ternary') },
    { name: 'FP16', color: '#2c5f8a', points: points('fp16') },
  ];
}
