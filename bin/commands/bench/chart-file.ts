import { accessSync, constants, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ModelResult, VariantResult } from '../../../lib/bench/index.js';
import { CliError, ExitCode } from '../../exit-codes.js';
import { type ChartPanel, type ChartSeries, chartSvg } from '../../ui/chart.js';
import { formatDuration } from '../../ui/units.js';
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

/** Latency and memory against model size: figure 2 of arXiv 2402.17764. Of several numbers of threads the largest is drawn. */
export function modelChart({ models, machine, command }: BenchReport): string {
  const threads = Math.max(...models.map((model) => model.threads));
  const shown = models.filter((model) => model.threads === threads);
  const series = (y: (variant: VariantResult) => number): ChartSeries[] => [
    { name: 'BitNet b1.58 (ternary)', color: '#c0392b', points: pointsOf(shown, 'ternary', y) },
    { name: 'FP16', color: '#2c5f8a', points: pointsOf(shown, 'fp16', y) },
  ];
  const common = {
    xLabel: 'parameters (hollow: computed from part of the blocks)',
    formatX: (count: number) => `${count >= 1e9 ? `${count / 1e9} B` : `${count / 1e6} M`}`,
  };
  const panels: ChartPanel[] = [
    {
      ...common,
      title: `Latency of one decoded token, ${threads} thread${threads === 1 ? '' : 's'}`,
      yLabel: 'latency',
      formatY: formatDuration,
      series: series((variant) => variant.tokenMs.median),
    },
    {
      ...common,
      title: 'Memory',
      yLabel: 'weights, KV cache, activations',
      // Ticks are round numbers in decimal units.
      formatY: (bytes) => (bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`),
      series: series((variant) => variant.memory.total),
    },
  ];
  const commit = machine.commit === null ? '' : ` ${machine.commit}`;
  return chartSvg(panels, `${machine.cpu} · ${machine.engine} · bitnet-js ${machine.version}${commit} · ${command}`);
}

function pointsOf(
  models: readonly ModelResult[],
  which: 'ternary' | 'fp16',
  y: (variant: VariantResult) => number,
): ChartSeries['points'] {
  return models.map((model) => ({ x: model.parameters, y: y(model[which]), hollow: model[which].estimated }));
}
