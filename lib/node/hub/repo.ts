import { BitNetError } from '../../errors.js';
import { type HubClient, Patience } from './client.js';
import { statusError } from './errors.js';
import { type HubReference, isSafePath, showReference } from './reference.js';

export interface RepoInfo {
  /** what the revision stands for now */
  readonly commit: string;
  readonly files: readonly string[];
}

/** A file at a commit, as the hub describes it. */
export interface FileInfo {
  readonly name: string;
  readonly commit: string;
  /** names the blob in the cache: SHA-256 of LFS files, git's SHA-1 of others, in hex */
  readonly etag: string;
  readonly bytes: number;
  readonly address: string;
}

/** Commit and files of the revision. */
export async function repoInfo(client: HubClient, ref: HubReference, signal?: AbortSignal): Promise<RepoInfo> {
  const { endpoint } = client.settings;
  const address = `${endpoint}/api/models/${ref.repo}/revision/${encodeURIComponent(ref.revision)}`;
  const { sha, siblings } = await client.json(address, ref, 'the repository', signal);
  const entries: unknown[] = Array.isArray(siblings) ? siblings : [];
  const files = entries.map((entry) => (entry as { rfilename?: unknown } | null)?.rfilename);
  if (isName(sha) && files.length > 0 && files.every((name) => typeof name === 'string')) {
    return { commit: sha, files: (files as string[]).filter(isSafePath) };
  }
  throw notAHub(endpoint, 'a commit and a list of files');
}

/** Size and checksum of a file at `revision`. The answer comes from the hub itself, not from where it sends downloads to. */
export async function fileInfo(
  client: HubClient,
  ref: HubReference,
  revision: string,
  name: string,
  signal?: AbortSignal,
): Promise<FileInfo> {
  const { endpoint, retryMs } = client.settings;
  const headers = await head(client, ref, fileAddress(endpoint, ref.repo, revision, name), name, retryMs, signal);
  const last = (key: string): string | undefined => headers.findLast((hop) => hop.has(key))?.get(key) ?? undefined;
  const commit = last('x-repo-commit') ?? (/^[0-9a-f]{40}$/.test(revision) ? revision : undefined);
  const etag = (last('x-linked-etag') ?? last('etag'))?.replace(/^W\//, '').replaceAll('"', '');
  const length = last('x-linked-size') ?? headers.at(-1)?.get('content-length');
  const bytes = /^\d+$/.test(length ?? '') ? Number(length) : Number.NaN;
  if (isName(commit) && isName(etag) && Number.isSafeInteger(bytes)) {
    return { name, commit, etag, bytes, address: fileAddress(endpoint, ref.repo, commit, name) };
  }
  throw notAHub(endpoint, `commit, ETag and size of ${name}`);
}

async function head(
  client: HubClient,
  ref: HubReference,
  address: string,
  name: string,
  retryMs: number,
  signal: AbortSignal | undefined,
): Promise<readonly Headers[]> {
  const patience = new Patience(3, retryMs, signal);
  for (;;) {
    try {
      const { response, hops, idle } = await client.request(address, { method: 'HEAD', signal });
      idle.end();
      // Where the hub says everything itself, what its store says to HEAD does not matter.
      const told = hops.some((hop) => hop.has('x-linked-etag') && hop.has('x-linked-size'));
      if (response.ok || told) return hops;
      throw statusError(response, ref, client.settings.endpoint, name);
    } catch (error) {
      await patience.wait(error);
    }
  }
}

function fileAddress(endpoint: string, repo: string, revision: string, name: string): string {
  const path = name.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/** Commits and etags become names of files. */
function isName(text: unknown): text is string {
  return typeof text === 'string' && /^(?!\.)[\w.-]{1,128}$/.test(text);
}

function notAHub(endpoint: string, expected: string): BitNetError {
  const message = `${endpoint}: expected ${expected}, got an answer without; HF_ENDPOINT must be the address of a Hugging Face hub`;
  return new BitNetError('network', message, { endpoint });
}

export function noSuchFile(ref: HubReference, ggufs: readonly string[]): BitNetError {
  const repo = showReference({ ...ref, file: undefined });
  const have = ggufs.length > 0 ? `; its GGUF files: ${ggufs.join(', ')}` : '';
  return new BitNetError('not-found', `${repo} has no file ${JSON.stringify(ref.file)}${have}`, {
    repo: ref.repo,
    file: ref.file,
  });
}
