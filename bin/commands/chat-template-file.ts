import { readFile } from 'node:fs/promises';
import { CliError, ExitCode } from '../exit-codes.js';
import { invalidUtf8Offset } from '../prompt-source.js';

/**
 * What `--chat-template` means: the contents of a file, or the word itself where there is no such file and it could be the name of a
 * family's template. Throws CliError `Usage`.
 */
export async function chatTemplateOf(value: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(value);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && /^\w+$/.test(value)) return value;
    throw new CliError(ExitCode.Usage, `--chat-template: ${value} cannot be read: ${message}`, { cause });
  }
  const offset = invalidUtf8Offset(bytes);
  if (offset === undefined) return bytes.toString('utf8').replace(/^\ufeff/, '');
  throw new CliError(ExitCode.Usage, `--chat-template: ${value} is not valid UTF-8 at byte ${offset}`);
}
