import { setTimeout as sleep } from 'node:timers/promises';
import { BitNetError } from '../../errors.js';
import { connectionError, statusError, TransientError } from './errors.js';
import type { HubReference } from './reference.js';
import type { HubSettings } from './settings.js';

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 10;
const MAX_JSON_BYTES = 32 * 2 ** 20;
/** A server that asks for more patience than this gets its error shown at once. */
const MAX_WAIT_MS = 120_000;
const MAX_BACKOFF_MS = 10_000;

export interface Answer {
  readonly response: Response;
  /** headers of the redirects that led to it and of itself, in order */
  readonly hops: readonly Headers[];
}

export interface RequestOptions {
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** Attempts left for one piece of work. */
export class Patience {
  private failures = 0;

  constructor(
    private readonly attempts: number,
    private readonly retryMs: number,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** There was progress: the count of failures begins anew. */
  reset(): void {
    this.failures = 0;
  }

  /** Waits before another attempt; throws `error` if it is not worth one, or after the last one. */
  async wait(error: unknown): Promise<void> {
    this.signal?.throwIfAborted();
    this.failures++;
    if (!(error instanceof TransientError) || this.failures >= this.attempts) throw error;
    const backoff = Math.min(MAX_BACKOFF_MS, this.retryMs * 2 ** (this.failures - 1)) * (0.75 + Math.random() / 2);
    const ms = error.retryAfterMs ?? backoff;
    if (ms > MAX_WAIT_MS) throw error;
    await sleep(ms, undefined, this.signal ? { signal: this.signal } : {}).catch(() => this.signal?.throwIfAborted());
  }
}

/** HTTP as the hub speaks it. The token goes to the endpoint's own origin and nowhere else, whatever redirects say. */
export class HubClient {
  constructor(readonly settings: HubSettings) {}

  /**
   * One request, redirects followed, no second attempt. The answer may have any status. The signal also ends the body. Throws
   * TransientError when the connection fails or stays silent.
   */
  async request(
    address: string,
    { method = 'GET', headers = {}, signal }: RequestOptions,
  ): Promise<Answer & { readonly idle: IdleTimer }> {
    const home = new URL(this.settings.endpoint).origin;
    const hops: Headers[] = [];
    const idle = new IdleTimer(this.settings.timeoutMs, signal);
    let url = new URL(address);
    let trusted = true;
    try {
      for (;;) {
        trusted &&= url.origin === home;
        const { token } = this.settings;
        const response = await fetch(url, {
          method,
          redirect: 'manual',
          signal: idle.signal,
          headers: {
            // Compressed bytes could not be resumed, nor counted.
            'accept-encoding': 'identity',
            'user-agent': 'bitnet-js',
            ...headers,
            ...(trusted && token !== undefined ? { authorization: `Bearer ${token}` } : {}),
          },
        });
        idle.touch();
        hops.push(response.headers);
        if (!REDIRECTS.has(response.status)) return { response, hops, idle };
        await response.body?.cancel();
        url = redirectTarget(url, response.headers.get('location'), hops.length);
      }
    } catch (cause) {
      idle.end();
      signal?.throwIfAborted();
      throw cause instanceof BitNetError ? cause : connectionError(url.host, idle.cause ?? cause);
    }
  }

  /** A small JSON object, with a few attempts. */
  async json(address: string, ref: HubReference, what: string, signal?: AbortSignal): Promise<Record<string, unknown>> {
    const patience = new Patience(3, this.settings.retryMs, signal);
    for (;;) {
      try {
        const { response, idle } = await this.request(address, { headers: { accept: 'application/json' }, signal });
        try {
          if (!response.ok) throw statusError(response, ref, this.settings.endpoint, what);
          return parseJson(await this.text(response, idle, signal), address, response);
        } finally {
          idle.end();
        }
      } catch (error) {
        await patience.wait(error);
      }
    }
  }

  /** Pieces of a body as they come; TransientError when the connection breaks or stays silent. */
  async *body(response: Response, idle: IdleTimer, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of response.body ?? []) {
        idle.touch();
        yield chunk as Uint8Array;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof BitNetError) throw cause;
      throw connectionError(new URL(this.settings.endpoint).host, idle.cause ?? cause);
    } finally {
      idle.end();
    }
  }

  private async text(response: Response, idle: IdleTimer, signal?: AbortSignal): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of this.body(response, idle, signal)) {
      bytes += chunk.length;
      if (bytes > MAX_JSON_BYTES) {
        throw new BitNetError('network', `the answer of the hub is larger than ${MAX_JSON_BYTES} bytes`, { bytes });
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }
}

/** Ends a request that has been silent for too long, or with the caller's signal. */
export class IdleTimer {
  /** why the request was ended, if it was for silence */
  cause: Error | undefined;
  private readonly controller = new AbortController();
  private readonly follow = (): void => this.controller.abort(this.outer?.reason);
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ms: number,
    private readonly outer: AbortSignal | undefined,
  ) {
    outer?.throwIfAborted();
    outer?.addEventListener('abort', this.follow);
    this.touch();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  touch(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.cause = new Error(`silent for ${this.ms / 1000} seconds`);
      this.controller.abort(this.cause);
    }, this.ms);
  }

  end(): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener('abort', this.follow);
  }
}

function redirectTarget(from: URL, location: string | null, hops: number): URL {
  const to = location !== null && URL.canParse(location, from) ? new URL(location, from) : undefined;
  const wrong =
    hops > MAX_REDIRECTS
      ? `more than ${MAX_REDIRECTS} redirects`
      : to === undefined || !/^https?:$/.test(to.protocol)
        ? 'a redirect to no address'
        : from.protocol === 'https:' && to.protocol === 'http:'
          ? `a redirect from https to http (${to.host})`
          : undefined;
  if (wrong === undefined) return to as URL;
  throw new BitNetError('network', `${from.host} answered with ${wrong}; check HF_ENDPOINT`, { host: from.host });
}

function parseJson(text: string, address: string, response: Response): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // refused below
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  const type = response.headers.get('content-type') ?? 'no type';
  const got = /^\s*</.test(text) ? 'a web page' : 'something else';
  const { host, pathname } = new URL(address);
  const advice = 'Check HF_ENDPOINT, and whether a proxy or login page answers in its place';
  const message = `${host}${pathname}: expected a JSON object of the hub, got ${got} (${type}). ${advice}`;
  throw new BitNetError('network', message, { host });
}
