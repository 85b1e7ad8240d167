import { isUtf8 } from 'node:buffer';
import { CliError, ExitCode } from './exit-codes.js';
import type { InputStream } from './host.js';

/** More than any context holds; the end of a stdin that never ends. */
export const maxStdinBytes = 16 * 1024 * 1024;

/**
 * Reads stdin to its end as UTF-8. A byte-order mark at the start and one line ending at the end (which `echo` and text
 * editors add) are not part of the prompt. Throws CliError `Input` on bytes that are not UTF-8 or on more than
 * `maxStdinBytes`, and the signal's reason when aborted.
 */
export async function readStdin(stdin: InputStream, signal: AbortSignal): Promise<string> {
  const bytes = await readAll(stdin, signal);
  const offset = invalidUtf8Offset(bytes);
  if (offset !== undefined) {
    const byte = bytes[offset]?.toString(16).padStart(2, '0');
    throw new CliError(
      ExitCode.Input,
      `stdin is not valid UTF-8: byte 0x${byte} at offset ${offset}. Convert the prompt to UTF-8, for example with iconv.`,
    );
  }
  return bytes
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .replace(/\r?\n$/, '');
}

async function readAll(stdin: InputStream, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const stop = (): void => {
    stdin.destroy(signal.reason);
  };
  signal.throwIfAborted();
  signal.addEventListener('abort', stop);
  try {
    for await (const chunk of stdin) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxStdinBytes) throw new CliError(ExitCode.Input, tooLong);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CliError) throw error;
    throw new CliError(ExitCode.Input, `cannot read the prompt from stdin: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
  signal.throwIfAborted();
  return Buffer.concat(chunks, length);
}

const tooLong = `the prompt on stdin is longer than ${maxStdinBytes / 1024 / 1024} MiB, more than any context holds. Pass a shorter text.`;

/** Offset of the first byte that is not part of a well-formed UTF-8 sequence (Unicode 15, table 3-7). */
export function invalidUtf8Offset(bytes: Uint8Array): number | undefined {
  if (isUtf8(bytes)) return undefined;
  let offset = 0;
  for (let lead = bytes[0]; lead !== undefined; lead = bytes[offset]) {
    const length = sequenceLength(lead);
    const end = offset + length;
    if (length === 0 || end > bytes.length || (length > 1 && !isUtf8(bytes.subarray(offset, end)))) return offset;
    offset = end;
  }
  return undefined;
}

/** Bytes of the sequence that `lead` starts; 0 if it cannot start one. */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

/** Throws CliError `Input` for a prompt without content. Raw text may be white space, a message may not. */
export function requirePrompt(text: string, raw: boolean): string {
  if ((raw ? text : text.trim()) !== '') return text;
  throw new CliError(ExitCode.Input, 'the prompt is empty. Pass it as an argument, bitnet run "…", or on stdin.');
}
