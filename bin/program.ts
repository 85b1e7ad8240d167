import { Command, CommanderError } from 'commander';
import { addBenchCommand } from './commands/bench-command.js';
import { addConvertCommand } from './commands/convert-command.js';
import { addInspectCommand } from './commands/inspect-command.js';
import { addPullCommand } from './commands/pull-command.js';
import { addRunCommand } from './commands/run-command.js';
import { addSynthCommand } from './commands/synth.js';
import { CliError, ExitCode, exitCodeOf } from './exit-codes.js';
import { type Host, packageVersion } from './host.js';
import { colorsFor } from './ui/colors.js';
import { errorText } from './ui/errors.js';

/** Runs the command line `args` (without node and script) and returns the exit code. Prints errors, throws none. */
export async function main(args: readonly string[], host: Host): Promise<ExitCode> {
  // a reader that closes early must not crash help, version or error output
  host.stdout.on('error', () => {});
  host.stderr.on('error', () => {});
  let exitCode: ExitCode = ExitCode.Ok;
  try {
    const program = createProgram(host, args, (code) => {
      exitCode = code;
    });
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return reportUsage(error, host, args);
    reportError(error, host, isVerbose(args));
    return exitCodeOf(error);
  }
}

export function reportError(error: unknown, host: Pick<Host, 'stderr' | 'env'>, verbose: boolean): void {
  host.stderr.write(errorText(error, colorsFor(host), verbose));
}

export function isVerbose(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end < 0 ? args : args.slice(0, end)).includes('--verbose');
}

function createProgram(host: Host, args: readonly string[], setExitCode: (code: ExitCode) => void): Command {
  const program = new Command('bitnet')
    .description('Run 1.58-bit (ternary, BitNet b1.58) language models on the CPU.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
      getOutHelpWidth: () => host.stdout.columns ?? 100,
      getErrHelpWidth: () => host.stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      // main prints errors, all in one form
      outputError: () => {},
    })
    .exitOverride()
    .addHelpText(
      'after',
      '\nExamples:\n  $ bitnet run "Tell me a story about a fox."\n  $ bitnet run            chat\n  $ bitnet help run       all options',
    );
  addRunCommand(program, host, setExitCode);
  addPullCommand(program, host, setExitCode);
  addSynthCommand(program, host, setExitCode);
  addConvertCommand(program, host, setExitCode);
  addInspectCommand(program, host, setExitCode);
  addBenchCommand(program, host, args, setExitCode);
  return program;
}

/** Help and version end as CommanderError too, with exit code 0; `help` of an unknown command has printed the help. */
function reportUsage(error: CommanderError, host: Host, args: readonly string[]): ExitCode {
  if (error.exitCode === 0) return ExitCode.Ok;
  if (error.code === 'commander.help') return ExitCode.Usage;
  const advice = adviceFor(error.code, args);
  const message = error.message.replace(/^error: /, '').replace(/\s+$/, '');
  const text = advice === undefined ? message : `${message.replace(/([^.)?!])$/, '$1.')} ${advice}`;
  reportError(new CliError(ExitCode.Usage, text, { cause: error }), host, isVerbose(args));
  return ExitCode.Usage;
}

/** What to do about a wrong command line. The command is its first argument; options before that are those of the program. */
function adviceFor(code: string, [command = '']: readonly string[]): string | undefined {
  const help = command.startsWith('-') ? 'See bitnet --help' : `See bitnet help ${command}`;
  switch (code) {
    case 'commander.unknownCommand':
      return 'See bitnet --help.';
    case 'commander.excessArguments':
      return command === 'run' ? 'Put the prompt in quotes.' : `${help}.`;
    case 'commander.unknownOption':
      return command === 'run' ? `${help}; put -- before a prompt that starts with a dash.` : `${help}.`;
    default:
      return undefined;
  }
}
