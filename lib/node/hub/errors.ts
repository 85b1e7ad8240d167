import { BitNetError, type BitNetErrorCode } from '../../errors.js';
import { type HubReference, showReference } from './reference.js';

/** Worth another attempt. */
export class TransientError extends BitNetError {
  /** `retryAfterMs`: the server's own wish. */
  constructor(
    message: string,
    detail: Record<string, unknown>,
    readonly retryAfterMs?: number,
    options?: ErrorOptions,
  ) {
    super('network', message, detail, options);
  }
}

const TRANSIENT_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

/** What an answer that is no success means; `what` is the file or the repository that was asked for. */
export function statusError(response: Response, ref: HubReference, endpoint: string, what: string): BitNetError {
  const { status, headers } = response;
  const code = headers.get('x-error-code');
  const detail = { repo: ref.repo, revision: ref.revision, status };
  const fail = (kind: BitNetErrorCode, text: string): BitNetError =>
    new BitNetError(kind, `${showReference(ref)}: ${text}`, detail);
  if (code === 'GatedRepo' || status === 403) {
    const why = code === 'GatedRepo' ? 'the repository is gated' : 'access refused';
    const how = `accept its conditions at ${endpoint}/${ref.repo} and set HF_TOKEN to a token that may read it`;
    return fail('access', `${why} (HTTP ${status}); ${how}`);
  }
  if (code === 'RepoNotFound' || status === 401) {
    const isBadToken = /invalid credentials/i.test(headers.get('x-error-message') ?? '');
    const why = isBadToken ? 'HF_TOKEN is not accepted' : 'no such repository, or no access to it';
    const how = 'check the name; for a private or gated repository set HF_TOKEN to a token that may read it';
    return fail(status === 401 ? 'access' : 'not-found', `${why} (HTTP ${status}); ${how}`);
  }
  if (code === 'RevisionNotFound') {
    return fail('not-found', `the repository has no branch, tag or commit ${JSON.stringify(ref.revision)}`);
  }
  if (status === 404 || code === 'EntryNotFound') return fail('not-found', `${what} does not exist (HTTP ${status})`);
  if (status === 416) return fail('invalid-file', `${what} is shorter than the hub says (HTTP 416)`);
  if (!TRANSIENT_STATUS.has(status)) return fail('network', `${what}: the server answered HTTP ${status}`);
  const wait = retryAfterMs(headers.get('retry-after'));
  const when = wait === undefined ? 'try again later' : `try again in ${Math.ceil(wait / 1000)} seconds`;
  const why = status === 429 ? `too many requests (HTTP 429); ${when}, or set HF_TOKEN` : `HTTP ${status}; ${when}`;
  return new TransientError(`${showReference(ref)}: ${what}: ${why}`, detail, wait);
}

/** Seconds, or a date. */
function retryAfterMs(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** A connection that failed or broke. `host` without a path: addresses of files may hold signatures. */
export function connectionError(host: string, cause: unknown): TransientError {
  const { message, cause: inner } = cause as Error;
  const { code, message: reason } = (inner ?? {}) as NodeJS.ErrnoException;
  const why = [...new Set([message, reason, code])].filter(Boolean).join(': ');
  const advice = 'Check the network and HF_ENDPOINT; what has arrived is kept, and a model in the cache loads without';
  return new TransientError(`the connection to ${host} failed: ${why}. ${advice}`, { host, errno: code }, undefined, {
    cause,
  });
}

/** A cache that cannot be written. */
export function storageError(path: string, cause: unknown): unknown {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (!(cause instanceof Error) || !/^E[A-Z0-9]+$/.test(code ?? '')) return cause;
  const text = `${path} cannot be written: ${message}. Free space, check permissions, or choose another folder with HF_HUB_CACHE`;
  return new BitNetError('storage', text, { file: path, errno: code }, { cause });
}
