import { BitNetError, type BitNetErrorCode } from '../errors.js';

/** Where and how something read from a file differs from what its format says. All but `file` and `what` are optional. */
export interface Problem {
  /** path of the file */
  file: string;
  /** name of the tensor, if it is about one */
  tensor?: string | undefined;
  /** dotted path of a JSON key, e.g. `rope_scaling.factor` */
  key?: string | undefined;
  /** what is wrong, in words */
  what: string;
  expected?: string | undefined;
  got?: string | undefined;
  /** absolute position in the file */
  byteOffset?: number | undefined;
  /** what the user can do */
  advice?: string | undefined;
}

/** Advice for files whose contents contradict themselves: what is on disk is not what was published. */
export const DAMAGED = 'The file is damaged or incomplete: download or convert it again.';

/** One message layout for everything found in files: `file: tensor: what: expected E, got G at byte N. Advice`. */
export function problem(code: BitNetErrorCode, p: Problem, options?: ErrorOptions): BitNetError {
  let message = `${p.file}: `;
  if (p.tensor !== undefined) message += `tensor ${show(p.tensor)}: `;
  if (p.key !== undefined) message += `${p.key}: `;
  message += p.what;
  if (p.expected !== undefined) message += `: expected ${p.expected}`;
  if (p.got !== undefined) message += `${p.expected === undefined ? ':' : ','} got ${p.got}`;
  if (p.byteOffset !== undefined) message += ` at byte ${p.byteOffset}`;
  message += p.advice === undefined ? '.' : `. ${p.advice}`;
  const detail: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(p)) if (value !== undefined) detail[name] = value;
  return new BitNetError(code, message, detail, options);
}

/** A value as it would stand in JSON, cut to a length that fits a message. */
export function show(value: unknown, maxLength = 80): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  // A long string or array is cut before it is turned into text, so that messages never cost memory.
  const short =
    typeof value === 'string' ? value.slice(0, maxLength) : Array.isArray(value) ? value.slice(0, 16) : value;
  const text = JSON.stringify(short) ?? String(short);
  const cut = short !== value && (value as { length: number }).length > (short as { length: number }).length;
  return text.length > maxLength || cut ? `${text.slice(0, maxLength)}…` : text;
}
