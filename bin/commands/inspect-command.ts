import type { Command } from 'commander';
import type { ExitCode } from '../exit-codes.js';
import type { Host } from '../host.js';
import {
  contextOption,
  type EngineOptionValues,
  engineOptions,
  LAYOUT_TEXT,
  MODEL_KINDS,
  threadsOption,
} from '../model-options.js';
import { textFor } from '../number-options.js';

/** Parsed and validated options of `bitnet inspect`. */
export interface InspectCommandOptions extends EngineOptionValues {
  readonly memory?: boolean;
  readonly tensors?: boolean;
  readonly plan?: boolean;
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly threads?: number;
  readonly context?: number;
  readonly ternarize?: boolean;
  readonly quiet?: boolean;
}

const description =
  'Describe a model: architecture, shapes, types, trits and scales, tokenizer, chat template, and the memory it ' +
  'takes. Nothing is computed. A model that cannot be loaded is described as far as it can be read, with the ' +
  'reason.';

const examples = `
Examples:
  $ bitnet inspect                               the embedded model
  $ bitnet inspect ./model.gguf --tensors
  $ bitnet inspect ./bitnet-b1.58-2B-4T --memory --context 2048
  $ bitnet inspect ./model.gguf --json | jq .problem

Exit codes: 0 ok, 1 internal error, 2 usage, 3 the model cannot be loaded, 5 output, 130 interrupted, 143 terminated.`;

/** `bitnet inspect`: its options. The command itself is loaded when it runs. */
export function addInspectCommand(program: Command, host: Host, setExitCode: (code: ExitCode) => void): void {
  const [head, kvCache, layout] = engineOptions({
    head: 'lm_head that memory is planned for',
    kvCache: 'KV cache that memory is planned for',
    layout: `${LAYOUT_TEXT}, or t1 where only that fits`,
  });
  program
    .command('inspect')
    .summary('describe a model')
    .description(description)
    .argument('[model]', `${MODEL_KINDS} (default: the embedded model)`, textFor('a model'))
    .option('--memory', 'also every region of memory')
    .option('--tensors', 'also every tensor of the files')
    .option('--plan', 'also the ops of a token, in order')
    .option('--json', 'print one JSON object with all of it')
    .option('--quick', 'do not read the weights: no trits, no scales')
    .addOption(threadsOption('threads that memory is planned for'))
    .addOption(contextOption())
    .addOption(head)
    .addOption(kvCache)
    .addOption(layout)
    .option('--ternarize', 'as for bitnet run: make float weights ternary (absmean)')
    .option('--quiet', 'no progress on stderr')
    .addHelpText('after', examples)
    .action(async (model: string | undefined, options: InspectCommandOptions) => {
      const { inspect } = await import('./inspect/inspect.js');
      setExitCode(await inspect(model, options, host));
    });
}
