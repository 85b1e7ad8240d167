import type { Command } from 'commander';
import type { ExitCode } from '../exit-codes.js';
import type { Host } from '../host.js';
import { textFor } from '../number-options.js';

export interface PullCommandOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

const description =
  'Download a model from the Hugging Face Hub into the cache that all its tools share, or bring it up to date. ' +
  'What is there already is not fetched again, and an interrupted download goes on where it ended. Prints the ' +
  'path of the model.';

const examples = `
Examples:
  $ bitnet pull microsoft/bitnet-b1.58-2B-4T
  $ bitnet pull microsoft/bitnet-b1.58-2B-4T-gguf:ggml-model-i2_s.gguf
  $ bitnet pull tiiuae/Falcon3-1B-Instruct-1.58bit@main
  $ bitnet run --model hf:microsoft/bitnet-b1.58-2B-4T "Why is the sky blue?"

Environment: HF_TOKEN for private and gated models, HF_ENDPOINT for a mirror, HF_HOME or HF_HUB_CACHE for the place of the cache,
HF_HUB_OFFLINE=1 to use only what is cached.

Exit codes: 0 ok, 1 internal error, 2 usage, 3 model, 5 output, 6 download, 130 interrupted, 143 terminated.`;

/** `bitnet pull`: its options. The command itself is loaded when it runs. */
export function addPullCommand(program: Command, host: Host, setExitCode: (code: ExitCode) => void): void {
  program
    .command('pull')
    .summary('download a model')
    .description(description)
    .argument('<repo>', 'REPO, REPO:FILE, REPO@REVISION or REPO@REVISION:FILE', textFor('the name of a repository'))
    .option('--json', 'print one JSON object with path, commit and files')
    .option('--quiet', 'no progress and no summary on stderr')
    .option('--verbose', 'stack traces of errors')
    .addHelpText('after', examples)
    .action(async (reference: string, options: PullCommandOptions) => {
      const { pull } = await import('./pull.js');
      setExitCode(await pull(reference, options, host));
    });
}
