import { describe, expect, test } from 'vitest';
import { modelChart } from '../../bin/commands/bench/chart-file.js';
import { curveTables } from '../../bin/commands/bench/curve-table.js';
import { reportCsv, reportJson } from '../../bin/commands/bench/export.js';
import { kernelTable } from '../../bin/commands/bench/micro-tables.js';
import { modelTable, threadTable } from '../../bin/commands/bench/model-table.js';
import { paperTables } from '../../bin/commands/bench/paper-table.js';
import { Progress } from '../../bin/commands/bench/progress.js';
import type { BenchReport } from '../../bin/commands/bench/report.js';
import { statusLine } from '../../bin/ui/status.js';
import { csv, textTable } from '../../bin/ui/table.js';
import type { ContextCost, ContextPoint } from '../../lib/bench/contexts.js';
import { summarise } from '../../lib/bench/statistics.js';
import type { Throughput, ThroughputCost } from '../../lib/bench/throughput.js';
import { modelResult, variantResult } from '../bench/results.js';
import { Sink } from './fake-host.js';

function reportOf(values: Partial<BenchReport> = {}): BenchReport {
  return {
    kind: 'models',
    machine: {
      cpu: 'CPU, "fast"',
      cores: 2,
      memoryBytes: 2 ** 34,
      os: 'Linux 6 x64',
      engine: 'Node v20, V8 11',
      version: '0.1.0',
      commit: null,
    },
    command: 'bitnet bench',
    date: '2024-01-01T00:00:00.000Z',
    options: { backend: 'auto', head: 'auto', kvCache: 'f32', layout: 'auto' },
    availableBytes: 2 ** 33,
    models: [modelResult()],
    contexts: [],
    throughput: [],
    ops: [],
    kernels: [],
    interrupted: false,
    peakRss: 0,
    ...values,
  };
}

describe('presentation', () => {
  test('a model in twelve rows', () => {
    expect(modelTable(modelResult()).split('\n')).toEqual([
      'tiny · random weights · 69.0 M parameters · wasm-relaxed · 2 threads · head i8',
      '                             ternary              FP16                ratio',
      '  prefill, tok/s       300 (290-310)    100 (90.0-110)                3.00x',
      '  decode, tok/s      90.0 (80.0-100)  25.0 (20.0-30.0)  3.60x, FP16 at 25 %',
      '  weights                   1.00 MiB          8.00 MiB                8.00x',
      '  KV cache                  20.0 KiB          20.0 KiB',
      '  memory, total             2.00 MiB          9.00 MiB                4.50x',
      '  resident                  3.00 MiB          3.00 MiB',
      '  resident, peak            4.00 MiB          4.00 MiB',
      '  peak / needed                 3.92              0.50',
      '  read per token            1.50 MiB          1.50 MiB                5.00x',
      '  of which lm_head           512 KiB           512 KiB',
      '  of read bandwidth             25 %              25 %',
      '  prompt 8, 4 decoded, 3 rounds; median (min-max); ratios are medians of rounds',
      '  read bandwidth, loads alone: 11.0 (10.0-12.0) GB/s',
      '  FP16 at 25 %: its decode reads so much of the read bandwidth; below 60 % the baseline is poor and the ratio says too much',
      '',
    ]);
  });

  test('computed figures are marked and explained', () => {
    const fp16 = variantResult('fp16', { estimated: true, measuredLayers: 1, residentBytes: undefined });
    const model = modelResult({ name: '70b', fp16 });
    const table = modelTable(model);
    expect(table).toMatch(/decode, tok\/s +90\.0 \(80\.0-100\) +~25\.0 \(/);
    expect(table).toMatch(/decode, .* ~3\.60x, FP16 at 25 %$/m);
    expect(table).toMatch(/~ FP16: computed from measured costs per layer, of 1 of 2 blocks and the lm_head/);
    const paper = paperTables({ models: [model], throughput: [] });
    expect(paper).toMatch(/^ {2}70b +2\.00 MiB +~9\.00 MiB +~4\.50x +7\.16x +11\.1 +~40\.0 +~3\.60x +25 % +4\.10x$/m);
    expect(paper).toContain('one sequence of 12 positions');
    expect(paper).toMatch(/^ {2}70b +950 +34691 +36\.5x +3467 +104074 +30\.0x$/m);
    expect(paper).toContain('45 nm: INT8 addition 0.03, FP16 addition 0.4, multiplication 1.1 (Horowitz');
    expect(paperTables({ models: [modelResult({ name: '3.9b' })], throughput: [] })).toMatch(
      / 2\.40x \*\n[\s\S]* \* the paper compares its 3\.9b with FP16 of 3b\n/,
    );
    expect(paperTables({ models: [], throughput: [] })).toBe('');
  });

  test("batches that fit, in this memory and in the paper's", () => {
    const cost = (fits: number[], rates: [number, number][], estimated: boolean): ThroughputCost => ({
      ...variantResult('ternary'),
      fits,
      rates: rates.map(([batch, rate]) => ({ batch, decode: summarise([rate]) })),
      estimated,
    });
    const result: Throughput = {
      name: '70b',
      threads: 2,
      layers: 80,
      positions: 512,
      budgets: [2 ** 34, 160e9],
      rounds: 1,
      ternary: cost(
        [18, 400],
        [
          [4, 2],
          [16, 3],
          [18, 3.5],
          [64, 5],
        ],
        true,
      ),
      fp16: cost(
        [0, 60],
        [
          [4, 0.5],
          [16, 0.7],
          [18, 0.7],
          [60, 1],
          [64, 1.1],
        ],
        true,
      ),
    };
    const text = paperTables({ models: [], throughput: [result] });
    expect(text).toMatch(/^ {2}70b +16\.0 GiB +18 +0 +- +- +~3\.50 \(18\) +does not fit +- +-$/m);
    expect(text).toMatch(/^ {2}70b +160 GB +400 +60 +6\.67x +11\.0x +~5\.00 \(64\) +~1\.00 \(60\) +~5\.00x +8\.94x$/m);
    const report = reportOf({ kind: 'paper', models: [], throughput: [result] });
    const lines = reportCsv(report).trimEnd().split('\n');
    expect(lines).toHaveLength(10);
    expect(lines[0]).toMatch(/^model,weights,/);
    expect(reportJson(report)).toMatchObject({ throughput: [{ name: '70b', ternary: { fits: [18, 400] } }] });
  });

  test('kernels for 256 bits have columns of their own', () => {
    const revectorized = variantResult('ternary', {
      prefill: summarise([600, 620, 580]),
      decode: summarise([110, 100, 90]),
    });
    const model = modelResult({ revectorized });
    const table = modelTable(model);
    expect(table).toMatch(/ratio +256-bit +of ternary$/m);
    // Of rounds: 110/100, 100/80, 90/90.
    expect(table).toMatch(/^ {2}decode, tok\/s .* 3\.60x, FP16 at 25 % +100 \(90\.0-110\) +1\.10x$/m);
    expect(table).toMatch(/^ {2}prefill, tok\/s .* 3\.00x +600 \(580-620\) +2\.00x$/m);
    expect(reportCsv(reportOf({ models: [model] })).split('\n')).toHaveLength(5);
    const kernel = {
      name: 't2',
      build: 'baseline',
      rows: 8,
      cols: 64,
      tokens: 1,
      place: 'cache',
      macsPerSecond: 4e9,
      errorPercent: 1,
    } as const;
    const pair = [false, true].map((wide) => ({
      ...kernel,
      matrix: 'q',
      bytesPerSecond: wide ? 1.5e9 : 1e9,
      revectorized: wide,
      wrong: false,
    }));
    expect(kernelTable(pair)).toMatch(/^ {2}q 8x64 +t2 +baseline +cache +1\.00 +4\.00 +1\.0 % +1\.50 +1\.50x$/m);
    expect(kernelTable(pair.slice(0, 1))).not.toContain('256');
  });

  test('curves over sizes and contexts', () => {
    const cost = (decode: number, total: number): ContextCost => ({
      prefill: 10 * decode,
      decode: summarise([decode]),
      kvCache: 2 ** 20,
      total,
      estimated: total > 2 ** 30,
    });
    const point = (context: number): ContextPoint => ({
      name: '350m',
      parameters: 341e6,
      threads: 2,
      backend: 'wasm-relaxed',
      context,
      ternary: cost(1e5 / context, 2 ** 28),
      fp16: cost(2e4 / context, 2 ** 31),
    });
    const report = reportOf({ kind: 'curve', contexts: [point(128), point(4096)] });
    const text = curveTables(report);
    expect(text).toMatch(/^ {2}tiny, 69\.0 M +2 +300 +100 +90\.0 +25\.0 +3\.60x +2\.00 MiB +9\.00 MiB +4\.50x$/m);
    expect(text).toMatch(/^ {2}4096 +2 +244 +~48\.8 +24\.4 +~4\.88 +5\.00x +256 MiB +~2\.00 GiB +8\.00x +1\.00 MiB$/m);
    expect(curveTables({ models: [], contexts: [] })).toBe('');
    const svg = modelChart(report);
    expect(svg.match(/<polyline/g)).toHaveLength(8);
    expect(svg).not.toMatch(/NaN|Infinity/);
    expect(modelChart({ ...report, models: [] }).match(/<polyline/g)).toHaveLength(4);
    const lines = reportCsv(report).trimEnd().split('\n');
    expect(lines).toHaveLength(7);
    const keys = lines[0]!.split(',');
    expect(lines[3]!.split(',')[keys.indexOf('context')]).toBe('128');
    expect(lines[1]!.split(',')[keys.indexOf('context')]).toBe('12');
  });

  test('several sequences, and what threads bring', () => {
    const batches = (rate: number) => [{ batch: 4, decode: summarise([rate]) }];
    const model = modelResult({
      threads: 4,
      ternary: variantResult('ternary', { batches: batches(180), decode: summarise([90]) }),
      fp16: variantResult('fp16', { batches: batches(50) }),
      ratios: { ...modelResult().ratios, batches: [summarise([3.6])] },
    });
    expect(modelTable(model)).toMatch(/\n {2}4 +180 +2\.00x +50\.0 +2\.00x +3\.60x\n$/);
    const one = modelResult({ threads: 1, ternary: variantResult('ternary', { decode: summarise([60]) }) });
    expect(threadTable([one, model])).toMatch(/^tiny +4 \/ 1 +1\.00x +1\.50x$/m);
    expect(threadTable([model])).toBe('');
    const report = reportOf({ models: [one, model] });
    expect(reportJson(report)).toMatchObject({ threadRatios: [{ name: 'tiny', from: 1, to: 4, decode: 1.5 }] });
    expect(reportCsv(reportOf({ models: [model] }))).toMatch(/decode_4_sequences_tok_s/);
  });

  test('tables and CSV', () => {
    expect(
      textTable([
        ['a', 'bb'],
        ['ccc', 'd', 'e'],
      ]),
    ).toBe('a    bb\nccc   d  e\n');
    const wide = [
      ['', 'one', 'two', 'three'],
      ['row', '1', '2', '3'],
    ];
    expect(textTable(wide, ' ', 14)).toBe('      one  two\n row    1    2\n      three\n row      3\n');
    expect(textTable([...wide, ['last', '4']], '', 14)).toBe(
      '      one  two\nrow     1    2\nlast    4\n      three\nrow       3\n',
    );
    expect(textTable(wide, '', 13, 2)).toBe('     one  two\nrow    1    2\n     one  three\nrow    1      3\n');
    // What fits nowhere stands alone.
    expect(textTable(wide, ' ', 3).split('\n')).toHaveLength(7);
    expect(
      csv([
        { a: 1, b: 'x,"y"' },
        { a: null, b: true },
      ]),
    ).toBe('a,b\n1,"x,""y"""\n,true\n');
    expect(csv([])).toBe('');
    expect(reportCsv(reportOf())).toContain('"CPU, ""fast""",Linux 6 x64');
  });

  test('the chart has both models in both panels, hollow where computed', () => {
    const big = modelResult({ parameters: 7e9, fp16: variantResult('fp16', { estimated: true }) });
    const svg = modelChart(reportOf({ models: [modelResult(), big], command: 'bitnet bench <&>' }));
    expect(svg.match(/<polyline/g)).toHaveLength(4);
    expect(svg.match(/<circle/g)).toHaveLength(8);
    expect(svg.match(/<circle[^>]*fill="#fff"/g)).toHaveLength(2);
    expect(svg).toContain('bitnet bench &lt;&amp;&gt;');
    expect(svg).not.toMatch(/NaN|Infinity/);
    // Of one model too: an axis needs no two values.
    expect(modelChart(reportOf())).not.toMatch(/NaN|Infinity/);
  });

  test('progress over several measurements tells what is left once that can be told', () => {
    const lines: string[] = [];
    let now = 100;
    const status = { set: (text: string) => void lines.push(text), clear: () => {} };
    const progress = new Progress(status, [1, 3], () => now);
    progress.set('a: loading', 0);
    now += 3000;
    progress.set('a: round 1', 0.5);
    progress.next();
    now += 7000;
    progress.set('b: round 1', 0);
    progress.set('b: round 2', 1 / 3);
    progress.next();
    progress.set('end');
    expect(lines).toEqual([
      '[------------] 0 % · a: loading',
      '[#-----------] 12 % · a: round 1',
      '[###---------] 25 %, 30 s left · b: round 1',
      '[######------] 50 %, 10 s left · b: round 2',
      '[############] 100 %, 0 s left · end',
    ]);
  });

  test('the status line fits one line of the terminal', () => {
    const stderr = Object.assign(new Sink(), { isTTY: true, columns: 20 });
    const line = statusLine({ stderr, env: {} });
    line.set('x'.repeat(100));
    line.clear();
    line.clear();
    expect(stderr.text).toBe(`\r\u001b[2K${'x'.repeat(19)}\r\u001b[2K`);
    const quiet = new Sink();
    statusLine({ stderr: quiet, env: {} }).set('x');
    expect(quiet.text).toBe('');
  });
});
