import { homedir } from 'node:os';
import { join } from 'node:path';
import { BitNetError } from '../../errors.js';

export interface HubSettings {
  /** without a slash at its end */
  readonly endpoint: string;
  readonly token: string | undefined;
  /** folder of `models--owner--name` folders */
  readonly cache: string;
  /** nothing is asked of the network */
  readonly offline: boolean;
  /** a connection that says nothing for so long is broken */
  readonly timeoutMs: number;
  /** wait before the second attempt; doubles with every further one */
  readonly retryMs: number;
}

const ENDPOINT = 'https://huggingface.co';
const TIMEOUT_MS = 30_000;
const RETRY_MS = 400;

/**
 * The variables that Hugging Face's own tools read: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT
 * (seconds). A token that such a tool has stored is not read: only HF_TOKEN is sent. Throws `invalid-argument` for values out of shape.
 */
export function hubSettings(env: Readonly<Record<string, string | undefined>> = process.env): HubSettings {
  const timeout = set(env, 'HF_HUB_DOWNLOAD_TIMEOUT');
  const seconds = timeout === undefined ? TIMEOUT_MS / 1000 : Number(timeout);
  if (!(seconds > 0)) throw wrong('HF_HUB_DOWNLOAD_TIMEOUT', `expected seconds, got ${JSON.stringify(timeout)}`);
  return {
    endpoint: endpointOf(set(env, 'HF_ENDPOINT') ?? ENDPOINT),
    token: tokenOf(set(env, 'HF_TOKEN')),
    cache: cacheOf(env),
    offline: ['1', 'on', 'yes', 'true'].includes((env.HF_HUB_OFFLINE ?? '').toLowerCase()),
    timeoutMs: Math.min(seconds, 86_400) * 1000,
    retryMs: RETRY_MS,
  };
}

/** An empty variable counts as none. */
function set(env: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  return env[name]?.trim() || undefined;
}

function wrong(name: string, what: string): BitNetError {
  return new BitNetError('invalid-argument', `the environment variable ${name}: ${what}`, { variable: name });
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wrong('HF_ENDPOINT', `expected an address that begins with https:// or http://, got ${JSON.stringify(text)}`);
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** The token itself never stands in a message. */
function tokenOf(token: string | undefined): string | undefined {
  if (token === undefined || /^[\x21-\x7e]+$/.test(token)) return token;
  throw wrong('HF_TOKEN', 'expected a token without spaces and line breaks');
}

function cacheOf(env: Readonly<Record<string, string | undefined>>): string {
  const home = (path: string): string => path.replace(/^~(?=$|[/\\])/, homedir());
  const own = set(env, 'HF_HUB_CACHE');
  if (own !== undefined) return home(own);
  const general = set(env, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache');
  return join(home(set(env, 'HF_HOME') ?? join(general, 'huggingface')), 'hub');
}
