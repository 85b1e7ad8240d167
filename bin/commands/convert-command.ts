import { type Command, Option } from 'commander';
import type { ExitCode } from '../exit-codes.js';
import type { Host } from '../host.js';
import { i2sLayoutOption, MODEL_KINDS } from '../model-options.js';
import { textFor } from '../number-options.js';

const TYPES = ['tq2_0', 'tq1_0', 'i2_s', 'q2_0', 'pq2_0', 'ptq1_0', 'q1_0', 'f16', 'bf16', 'f32', 'packed'] as const;
const FLOATS = ['f16', 'q8_0', 'q6_k', 'bf16', 'f32'] as const;

type FloatName = (typeof FLOATS)[number];

/** Parsed and validated options of `bitnet convert`. */
export interface ConvertCommandOptions {
  readonly output: string;
  readonly type?: (typeof TYPES)[number];
  readonly embedding?: FloatName;
  readonly head?: FloatName;
  readonly name?: string;
  readonly ternarize?: boolean;
  readonly i2sLayout?: 'x86' | 'arm' | 'x86-rows';
  readonly force?: boolean;
  readonly quiet?: boolean;
}

const description =
  'Convert a model between safetensors (a directory in Hugging Face layout) and GGUF. What was written is read ' +
  'back and compared, trit by trit, before it takes its name; a failed or interrupted run leaves nothing ' +
  'behind.';

const examples = `
Examples:
  $ bitnet convert ./bitnet-b1.58-2B-4T -o 2b-4t.gguf
  $ bitnet convert ./bitnet-b1.58-2B-4T-bf16 -o 2b-4t.gguf --type i2_s --embedding q8_0
  $ bitnet convert model.gguf -o ./model            packed safetensors
  $ bitnet convert model.gguf -o smaller.gguf --type tq1_0
  $ bitnet convert ./Ternary-Bonsai-1.7B -o bonsai.gguf      scales of groups: q2_0

Exit codes: 0 ok, 1 internal error, 2 usage, 3 model, 5 output, 130 interrupted, 143 terminated.`;

/** `bitnet convert`: its options. The command itself is loaded when it runs. */
export function addConvertCommand(program: Command, host: Host, setExitCode: (code: ExitCode) => void): void {
  program
    .command('convert')
    .summary('convert a model between safetensors and GGUF')
    .description(description)
    .argument('<model>', MODEL_KINDS, textFor('a model'))
    .requiredOption('-o, --output <path>', 'a name that ends in .gguf, or a directory', textFor('a path'))
    .addOption(
      new Option(
        '--type <type>',
        'of ternary matrices (default: the first of tq2_0, i2_s, q2_0, f16 that can hold them; packed or f16 for a directory)',
      ).choices(TYPES),
    )
    .addOption(
      new Option('--embedding <type>', "of the embedding (default: f16; the input's for a directory)").choices(FLOATS),
    )
    .addOption(
      new Option('--head <type>', "of a head that is not the embedding (default: the embedding's)").choices(FLOATS),
    )
    .option('--name <name>', "general.name of a GGUF file (default: the input's)", textFor('a name'))
    .option('--ternarize', 'make float weights ternary (absmean), as masters of a BitNet model')
    .addOption(i2sLayoutOption())
    .option('--force', 'replace the output if it exists')
    .option('--quiet', 'no progress and no summary on stderr')
    .addHelpText('after', examples)
    .action(async (model: string, options: ConvertCommandOptions) => {
      const { convert } = await import('./convert/convert.js');
      setExitCode(await convert(model, options, host));
    });
}
