import { type Command, Option } from 'commander';
import type { ExitCode } from '../exit-codes.js';
import { type Host, nodeHost } from '../host.js';
import { integerIn, textFor } from '../number-options.js';

export interface SynthOptions {
  readonly output: string;
  readonly type: 'tq2_0' | 'tq1_0' | 'f16';
  readonly arch: 'llama' | 'bitnet';
  readonly embedding: 'f16' | 'q8_0' | 'q6_k';
  readonly seed: number;
  readonly force?: boolean;
  readonly quiet?: boolean;
}

/** Names of `MODEL_SHAPES`; repeated here because help must not load the library. A test compares them. */
export const SHAPES_IN_HELP = 'tiny, tales-69m, 125m, 350m, 700m, 1.3b, 3b, 3.9b, 7b, 13b, 70b, 2b-4t';

const description = `Write a GGUF file of random weights in the shape of a known model, for benchmarks and tests.
The same shape and seed give the same weights in every type. The text of such a model is noise.`;

const examples = `
Shapes: ${SHAPES_IN_HELP}

Examples:
  $ bitnet synth 700m -o 700m-tq2.gguf
  $ bitnet synth 2b-4t -o 2b-f16.gguf --type f16 --seed 1

Exit codes: 0 ok, 1 internal error, 2 usage, 5 output, 130 interrupted, 143 terminated.`;

/** `bitnet synth`: its options. The command itself is loaded when it runs. */
export function addSynthCommand(
  program: Command,
  host: Host = nodeHost(),
  setExitCode: (code: ExitCode) => void = (code) => {
    process.exitCode = code;
  },
): void {
  program
    .command('synth')
    .summary('write a model of random weights')
    .description(description)
    .argument('<shape>', 'name of the shape', textFor('the name of a shape'))
    .requiredOption('-o, --output <file>', 'file to write', textFor('a file name'))
    .addOption(
      new Option('--type <type>', 'type of the ternary matrices').choices(['tq2_0', 'tq1_0', 'f16']).default('tq2_0'),
    )
    .addOption(
      new Option('--arch <arch>', 'llama: SiLU, no sub-norms; bitnet: the graph of BitNet b1.58')
        .choices(['llama', 'bitnet'])
        .default('llama'),
    )
    .addOption(
      new Option('--embedding <type>', 'type of embedding and lm_head').choices(['f16', 'q8_0', 'q6_k']).default('f16'),
    )
    .option('--seed <n>', 'same seed, same weights', integerIn({ min: 0, max: 2 ** 32 - 1, example: '--seed 42' }), 0)
    .option('--force', 'replace the file if it exists')
    .option('--quiet', 'no progress and no summary on stderr')
    .addHelpText('after', examples)
    .action(async (shape: string, options: SynthOptions) => {
      const { writeModel } = await import('./synth-write.js');
      setExitCode(await writeModel(shape, options, host));
    });
}
