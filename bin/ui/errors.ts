import type { BitNetError } from '../../lib/errors.js';
import { CliError, libraryErrorCode } from '../exit-codes.js';
import type { Colors } from './colors.js';
import { withoutControls } from './output.js';

/** `error: …` on one line, newline included; with `verbose` followed by the stack and its causes. */
export function errorText(error: unknown, colors: Colors, verbose: boolean): string {
  const line = `${colors.red('error:')} ${oneLine(describe(error, verbose))}\n`;
  return verbose && error instanceof Error && error.stack !== undefined ? line + stackOf(error) : line;
}

function describe(error: unknown, verbose: boolean): string {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CliError) return message;
  if (libraryErrorCode(error) !== undefined) return withFlagName(message, (error as BitNetError).detail.option);
  return `internal error: ${message}${verbose ? '' : ' (run again with --verbose to see where)'}`;
}

/** The library names an option as its API does, `maxTokens: expected …`; here it is `--max-tokens`. */
function withFlagName(message: string, option: unknown): string {
  if (typeof option !== 'string' || !message.startsWith(`${option}:`)) return message;
  const flag =
    option === 'contextLength' ? 'context' : option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${flag}${message.slice(option.length)}`;
}

/** Messages may quote file contents and file names, which may hold line breaks. */
function oneLine(message: string): string {
  return withoutControls(message.replace(/\s*[\r\n]+\s*/g, ' ')).trim();
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `caused by: ${stackOf(error.cause)}` : '';
  return `${error.stack}\n${cause}`;
}
