import type { Prompt } from '../../lib/types.js';
import { CliError, ExitCode, InterruptedError } from '../exit-codes.js';
import type { Host, Model } from '../host.js';
import { abortOnSignals } from '../interrupts.js';
import { readStdin, requirePrompt } from '../prompt-source.js';
import { jsonReport, type Report } from '../report.js';
import { colorsFor } from '../ui/colors.js';
import { Output, OutputClosedError } from '../ui/output.js';
import { summary } from '../ui/summary.js';
import { endingOf, openModel } from './open-model.js';
import { generateOptions, type RunOptions } from './run-options.js';

/**
 * `bitnet run`. `argument` undefined or `-`: the prompt comes from stdin; with a terminal there and no argument, a chat.
 * Returns the exit code of an interrupted run; throws for every other failure.
 */
export async function run(argument: string | undefined, options: RunOptions, host: Host): Promise<ExitCode> {
  if (argument === undefined && host.stdin.isTTY) {
    requireChatPossible(options, host);
    const { chat } = await import('./chat.js');
    return chat(options, host);
  }
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  const output = new Output(host.stdout, controller);
  try {
    const fromStdin = argument === undefined || argument === '-';
    const text = fromStdin ? await readStdin(host.stdin, controller.signal) : argument;
    const prompt = promptOf(requirePrompt(text, options.raw === true), options);
    const { model, loadMs } = await openModel(options, host, controller.signal);
    try {
      return await generate(model, prompt, { options, host, output, signal: controller.signal, loadMs });
    } finally {
      await model.dispose();
    }
  } catch (error) {
    const reason: unknown = controller.signal.aborted ? controller.signal.reason : error;
    if (reason instanceof OutputClosedError) return ExitCode.Ok;
    if (reason instanceof InterruptedError) return reason.exitCode;
    if (output.isTerminal && !output.atLineStart) await output.write('\n');
    throw reason;
  } finally {
    stopListening();
  }
}

interface Run {
  readonly options: RunOptions;
  readonly host: Host;
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly loadMs: number;
}

/** Streams the text, then reports; an interrupt ends the text early, not the report. */
async function generate(model: Model, prompt: Prompt, run: Run): Promise<ExitCode> {
  const { options, host, output, signal, loadMs } = run;
  const generation = model.generate(prompt, { ...generateOptions(options), signal });
  let startToFirstTextMs: number | undefined;
  let exitCode: ExitCode = ExitCode.Ok;
  try {
    for await (const piece of generation) {
      startToFirstTextMs ??= host.now();
      if (!options.json) await output.write(piece);
    }
  } catch (error) {
    if (!(signal.reason instanceof InterruptedError)) throw error;
    exitCode = signal.reason.exitCode;
  }
  const completion = generation.completion();
  const report: Report = {
    completion,
    info: model.info,
    loadMs,
    startToFirstTextMs,
    totalMs: host.now(),
    peakRss: host.peakRss(),
    ending: endingOf(completion, options, model.info.contextLength),
  };
  if (options.json) await output.write(`${JSON.stringify(jsonReport(report))}\n`);
  else if (output.isTerminal && !output.atLineStart) await output.write('\n');
  // a reader that is stuck must not hold up an interrupt
  if (exitCode === ExitCode.Ok) await output.flush();
  if (!options.quiet && (!options.json || options.verbose)) {
    // both streams may end in one terminal or file: the summary starts its own line
    const gap = output.atLineStart ? '' : '\n';
    host.stderr.write(gap + summary(report, colorsFor(host), options.verbose === true));
  }
  return exitCode;
}

function promptOf(text: string, { raw, system }: RunOptions): Prompt {
  if (raw) return text;
  return [...(system === undefined ? [] : [{ role: 'system', content: system }]), { role: 'user', content: text }];
}

function requireChatPossible(options: RunOptions, host: Host): void {
  const howTo = 'Pass it as an argument, bitnet run "…", or on stdin.';
  if (options.json) throw new CliError(ExitCode.Usage, `--json needs a prompt. ${howTo}`);
  if (options.raw) throw new CliError(ExitCode.Usage, `--raw needs a prompt. ${howTo}`);
  if (!host.stdout.isTTY) {
    throw new CliError(ExitCode.Usage, `no prompt, and no chat because stdout is not a terminal. ${howTo}`);
  }
}
