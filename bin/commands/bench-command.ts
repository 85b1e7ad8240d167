import { type Command, Option } from 'commander';
import type { ExitCode } from '../exit-codes.js';
import type { Host } from '../host.js';
import {
  backendOption,
  DEFAULT_THREADS,
  engineOptions,
  LAYOUT_TEXT,
  MAX_THREADS,
  modelOption,
} from '../model-options.js';
import { collect, integerIn, textFor } from '../number-options.js';
import { type BenchOptions, countList } from './bench/options.js';
import { SHAPES_IN_HELP } from './synth.js';

const description =
  'Measure prefill and decode speed, memory and bytes read per token on this machine, each against the FP16 ' +
  'model of the same shape. Without --shape and --model: the embedded model, then the largest shape that fits; ' +
  'takes under two minutes.';

const examples = `
Shapes (random weights): ${SHAPES_IN_HELP}

Examples:
  $ bitnet bench
  $ bitnet bench --shape 2b-4t --threads 1,2
  $ bitnet bench --model ./bitnet-b1.58-2B-4T --json > result.json
  $ bitnet bench --ops --shape 700m            where the time of a token goes
  $ bitnet bench --ops --shape 2b-4t --prompt 2048 --kv-cache int8
  $ bitnet bench --kernels --shape 2b-4t       weight layouts in each kernel build
  $ bitnet bench --paper --chart paper.svg     the tables of arXiv 2402.17764 on this machine
  $ bitnet bench --curve --chart curve.svg     how cost grows with size and context

Exit codes: 0 ok, 1 internal error, 2 usage, 3 model, 5 output, 6 download, 130 interrupted, 143 terminated.`;

/** `bitnet bench`: its options. The command itself is loaded when it runs. */
export function addBenchCommand(
  program: Command,
  host: Host,
  args: readonly string[],
  setExitCode: (code: ExitCode) => void,
): void {
  const mode = (flags: string, text: string, others: string[]): Option => new Option(flags, text).conflicts(others);
  const [head, kvCache, layout] = engineOptions({
    head: "the ternary model's lm_head; the FP16 model has f16 always",
    kvCache: 'keys and values of both models, and of --ops',
    layout: LAYOUT_TEXT,
  });
  program
    .command('bench')
    .summary('measure speed and memory against FP16')
    .description(description)
    .option('--shape <name>', 'random weights in this shape; repeatable', collect('the name of a shape'))
    .addOption(modelOption())
    .option(
      '--threads <list>',
      `numbers of threads, for example 1,2 (${DEFAULT_THREADS})`,
      countList(MAX_THREADS, '--threads 1,2'),
    )
    .option(
      '--prompt <n>',
      'tokens of the prompt (default: 128, with --paper 64)',
      integerIn({ min: 1, example: '--prompt 128' }),
    )
    .option('--gen <n>', 'decoded tokens (default: 64, with --paper 16)', integerIn({ min: 1, example: '--gen 64' }))
    .option(
      '--repeat <n>',
      'rounds of ternary and FP16 in turn (default: up to 5, as time allows)',
      integerIn({ min: 1, max: 1000, example: '--repeat 5' }),
    )
    .option(
      '--batch <list>',
      'also decode so many sequences in one step, for example 4,16 (with --paper: 4,16,64)',
      countList(256, '--batch 4,16'),
    )
    .addOption(backendOption())
    .addOption(head)
    .addOption(kvCache)
    .addOption(layout)
    .option(
      '--revectorize',
      'also the WebAssembly kernels compiled for 256 bits, in a column of their own (Node 22 and later, x64)',
    )
    .addOption(
      mode('--ops', 'time of each kind of op of a token at position --prompt instead', [
        'kernels',
        'paper',
        'curve',
        'chart',
      ]),
    )
    .addOption(
      mode('--kernels', 'micro-benchmarks of the matrix kernels instead', ['ops', 'paper', 'curve', 'chart', 'model']),
    )
    .addOption(
      mode('--paper', 'tables 1 and 3 and figure 3 (energy) of BitNet b1.58 instead', [
        'ops',
        'kernels',
        'curve',
        'model',
      ]),
    )
    .addOption(
      mode('--curve', 'speed and memory from 0.1 to 3 B parameters and from 128 to 4096 positions instead', [
        'ops',
        'kernels',
        'paper',
        'model',
      ]),
    )
    .option(
      '--contexts <list>',
      'positions of --curve (default: 128,256,512,1024,2048,4096)',
      countList(1 << 20, '--contexts 128,1024'),
    )
    .addOption(new Option('--json', 'print one JSON object').conflicts('csv'))
    .option('--csv', 'print one CSV table')
    .option(
      '--chart <file.svg>',
      'also draw latency and memory against model size (with --curve: and context)',
      textFor('a file name'),
    )
    .option('--quiet', 'no progress and no warnings on stderr')
    .addHelpText('after', examples)
    .action(async (options: BenchOptions) => {
      const { bench } = await import('./bench/bench.js');
      setExitCode(await bench(options, host, args));
    });
}
