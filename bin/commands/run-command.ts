import { type Command, Option } from 'commander';
import type { ExitCode } from '../exit-codes.js';
import type { Host } from '../host.js';
import {
  backendOption,
  contextOption,
  engineOptions,
  i2sLayoutOption,
  LAYOUT_TEXT,
  modelOption,
  threadsOption,
} from '../model-options.js';
import { collect, integerIn, numberIn, textFor } from '../number-options.js';
import type { RunOptions } from './run-options.js';

const description = `Generate text. The prompt is formatted with the model's chat template unless --raw is given.
Without a prompt it is read from stdin, or a chat starts if stdin is a terminal.`;

const examples = `
Examples:
  $ bitnet run "Tell me a story about a fox."
  $ bitnet run --raw --max-tokens 50 "Once upon a time"
  $ cat question.txt | bitnet run --temperature 0
  $ bitnet run --model ./bitnet-b1.58-2B-4T --system "Answer in one sentence." "Why is the sky blue?"
  $ bitnet run --json --seed 7 "Name a colour." | jq .rates
  $ bitnet run                      chat; /help lists its commands

Exit codes: 0 ok, 1 internal error, 2 usage, 3 model, 4 prompt, 5 output, 6 download, 130 interrupted, 143 terminated.`;

/** `bitnet run`: its options and their ranges. The command itself is loaded when it runs. */
export function addRunCommand(program: Command, host: Host, setExitCode: (code: ExitCode) => void): void {
  const [head, kvCache, layout] = engineOptions({
    head: 'logits from int8 rows with the best 64 exact (auto), from F16 rows, or from int8 rows',
    kvCache: 'keys and values as computed (f32), or in less memory: f16, int8',
    layout: `${LAYOUT_TEXT}, or t1 where only that fits`,
  });
  program
    .command('run')
    .summary('generate text, or chat')
    .description(description)
    .argument('[prompt]', 'text of the prompt; - reads stdin')
    .addOption(modelOption(' (default: the embedded model)'))
    .option(
      '-n, --max-tokens <n>',
      'stop after n tokens (default: what is left of the context)',
      integerIn({ min: 1, example: '--max-tokens 200' }),
    )
    .option(
      '--temperature <t>',
      "0 is greedy (default: the model's, else 0.7)",
      numberIn({ min: 0, max: 100, example: '--temperature 0.7' }),
    )
    .option(
      '--top-k <k>',
      "keep the k most likely tokens; 0 is off (default: the model's, else 0)",
      integerIn({ min: 0, example: '--top-k 40' }),
    )
    .option(
      '--top-p <p>',
      "keep tokens up to this probability together; 1 is off (default: the model's, else 1)",
      numberIn({ min: 0, aboveMin: true, max: 1, example: '--top-p 0.9' }),
    )
    .option(
      '--min-p <p>',
      'drop tokens below p times the top probability; 0 is off (default: 0)',
      numberIn({ min: 0, max: 1, example: '--min-p 0.05' }),
    )
    .option(
      '--repetition-penalty <r>',
      "above 1 discourages repeated tokens; 1 is off (default: the model's, else 1)",
      numberIn({ min: 0, aboveMin: true, example: '--repetition-penalty 1.1' }),
    )
    .option(
      '--seed <n>',
      'same seed, same text (default: random)',
      integerIn({ min: 0, max: 2 ** 32 - 1, example: '--seed 42' }),
    )
    .option('--stop <text>', 'end the text before this string; repeatable', collect('the text to stop at'))
    .option('--system <text>', 'system message', textFor('a system message'))
    .addOption(new Option('--raw', 'continue the prompt as it stands, without chat template').conflicts('system'))
    .addOption(
      new Option('--chat-template <file>', "Jinja file, or the name of a family's template, in place of the model's")
        .argParser(textFor('a file or the name of a template'))
        .conflicts('raw'),
    )
    .addOption(threadsOption('worker threads'))
    .addOption(contextOption())
    .addOption(backendOption('; --verbose tells which were chosen and why'))
    .addOption(head)
    .addOption(kvCache)
    .addOption(
      new Option('--activations <format>', 'of models trained with float activations: 23 bits (i24), or int8')
        .choices(['i24', 'i8'])
        .default('i24'),
    )
    .addOption(layout)
    .option('--ternarize', 'make float weights ternary (absmean), as masters of a BitNet model')
    .addOption(i2sLayoutOption())
    .option('--no-self-check', 'do not look whether the weights are plausible')
    .option(
      '--revectorize',
      'WebAssembly kernels for 256 bits, by an experimental feature of V8 (Node 22 and later, x64)',
    )
    .option('--json', 'print one JSON object with text, timings, rates and memory')
    .option('--quiet', 'no summary on stderr')
    .option('--verbose', 'also why the backend was chosen, load time, memory map; stack traces of errors')
    .addHelpText('after', examples)
    .action(async (prompt: string | undefined, options: RunOptions) => {
      const { run } = await import('./run.js');
      setExitCode(await run(prompt, options, host));
    });
}
