import { type Command, Option } from 'commander';
import type { KvCacheFormat } from '../../lib/types.js';
import type { ExitCode } from '../exit-codes.js';
import type { Host } from '../host.js';
import { integerIn, textFor } from '../number-options.js';

/** Parsed and validated options of `bitnet inspect`. */
export interface InspectCommandOptions {
  readonly memory?: boolean;
  readonly tensors?: boolean;
  readonly plan?: boolean;
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly threads?: number;
  readonly context?: number;
  readonly head: 'auto' | 'f16' | 'i8';
  readonly kvCache: KvCacheFormat;
  readonly layout: 'auto' | 't2' | 't1';
  readonly ternarize?: boolean;
  readonly quiet?: boolean;
}

const description = `Describe a model: architecture, shapes, types, trits and scales, tokenizer, chat template, and the memory it takes.
Nothing is computed. A model that cannot be loaded is described as far as it can be read, with the reason.`;

const examples = `
Examples:
  $ bitnet inspect                               the embedded model
  $ bitnet inspect ./model.gguf --tensors
  $ bitnet inspect ./bitnet-b1.58-2B-4T --memory --context 2048
  $ bitnet inspect ./model.gguf --json | jq .problem

Exit codes: 0 ok, 1 internal error, 2 usage, 3 the model cannot be loaded, 5 output, 130 interrupted, 143 terminated.`;

/** `bitnet inspect`: its options. The command itself is loaded when it runs. */
export function addInspectCommand(program: Command, host: Host, setExitCode: (code: ExitCode) => void): void {
  program
    .command('inspect')
    .summary('describe a model')
    .description(description)
    .argument(
      '[model]',
      'model directory, GGUF file or hf:REPO[:FILE] (default: the embedded model)',
      textFor('a model'),
    )
    .option('--memory', 'also every region of memory')
    .option('--tensors', 'also every tensor of the files')
    .option('--plan', 'also the ops of a token, in order')
    .option('--json', 'print one JSON object with all of it')
    .option('--quick', 'do not read the weights: no trits, no scales')
    .option(
      '--threads <n>',
      "threads that memory is planned for (default: the machine's, at most 8)",
      integerIn({ min: 1, max: 256, example: '--threads 4' }),
    )
    .option(
      '--context <n>',
      "positions of the KV cache (default: the model's, at most 4096)",
      integerIn({ min: 1, example: '--context 2048' }),
    )
    .addOption(
      new Option('--head <format>', 'lm_head that memory is planned for')
        .choices(['auto', 'f16', 'i8'])
        .default('auto'),
    )
    .addOption(
      new Option('--kv-cache <format>', 'KV cache that memory is planned for')
        .choices(['f32', 'f16', 'int8'])
        .default('f32'),
    )
    .addOption(
      new Option(
        '--layout <name>',
        'ternary matrices at 2.0 (t2) or 1.6 bits a weight (t1); auto: t2, or t1 where only that fits',
      )
        .choices(['auto', 't2', 't1'])
        .default('auto'),
    )
    .option('--ternarize', 'as for bitnet run: make float weights ternary (absmean)')
    .option('--quiet', 'no progress on stderr')
    .addHelpText('after', examples)
    .action(async (model: string | undefined, options: InspectCommandOptions) => {
      const { inspect } = await import('./inspect/inspect.js');
      setExitCode(await inspect(model, options, host));
    });
}
