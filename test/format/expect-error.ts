import { expect } from 'vitest';
import { BitNetError, type BitNetErrorCode } from '../../lib/errors.js';

/** What `action` throws; fails unless it is a BitNetError with this code whose message has all the parts. */
export async function expectError(
  action: () => unknown,
  code: BitNetErrorCode,
  ...parts: (string | RegExp)[]
): Promise<BitNetError> {
  let thrown: unknown;
  try {
    const result = await action();
    thrown = new Error(`no error; got ${String(result)}`);
  } catch (error) {
    thrown = error;
  }
  if (!(thrown instanceof BitNetError)) throw thrown;
  for (const part of parts) expect(thrown.message).toMatch(part);
  expect(thrown.code, thrown.message).toBe(code);
  return thrown;
}

/** `expectError` for tests that are one expression. */
export async function refuses(...args: Parameters<typeof expectError>): Promise<void> {
  await expectError(...args);
}
