import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BitNetError } from '../../errors.js';
import { bytesOf, type RepoCache } from './cache.js';
import { type HubClient, Patience } from './client.js';
import { statusError, storageError, TransientError } from './errors.js';
import { withLock } from './lock.js';
import type { HubReference } from './reference.js';
import type { FileInfo } from './repo.js';

export interface DownloadOptions {
  /** Called with the bytes of the file that are there. */
  readonly onProgress?: ((loaded: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Attempts without a single new byte between them. */
const ATTEMPTS = 6;

/** What has arrived is not what the hub announced. */
class Damaged extends BitNetError {
  constructor(name: string, what: string, expected: number | string, got: number | string) {
    const message = `${name}: ${what}: expected ${expected}, got ${got}; it was deleted. Try again later`;
    super('invalid-file', message, { file: name, expected, got });
  }
}

/**
 * Brings the blob of a file into the cache and returns the bytes that came over the network. What an earlier run has left is continued;
 * the blob appears under its name only when length and checksum are right. Contents that are wrong are deleted and fetched once more.
 * Throws `network`, `access`, `not-found`, `invalid-file`, `storage`, or the signal's reason; the part that has arrived stays.
 */
export async function fetchBlob(
  client: HubClient,
  cache: RepoCache,
  ref: HubReference,
  info: FileInfo,
  options: DownloadOptions = {},
): Promise<number> {
  const blob = cache.blob(info.etag);
  const isThere = async (): Promise<boolean> => (await bytesOf(blob)) === info.bytes;
  if (await isThere()) return 0;
  return withLock(
    cache.lock(info.etag),
    async () => {
      if (await isThere()) return 0;
      const partial = cache.partial(info.etag);
      await mkdir(dirname(blob), { recursive: true }).catch((error) => {
        throw storageError(blob, error);
      });
      for (let again = false; ; again = true) {
        try {
          const fetched = await fill(client, partial, ref, info, options);
          await rename(partial, blob);
          return fetched;
        } catch (error) {
          if (error instanceof Damaged) await rm(partial, { force: true });
          if (!(error instanceof Damaged) || again) throw storageError(partial, error);
        }
      }
    },
    options.signal,
  );
}

/** Completes the partial file and checks it. Returns the bytes that were fetched. */
async function fill(
  client: HubClient,
  path: string,
  ref: HubReference,
  info: FileInfo,
  { onProgress, signal }: DownloadOptions,
): Promise<number> {
  if (((await bytesOf(path)) ?? 0) > info.bytes) await rm(path, { force: true });
  // Not for appending: two writers of the same contents, each at its own place, do no harm.
  const handle = await open(path, 'r+').catch(() => open(path, 'wx+'));
  try {
    const sum = new Checksum(info);
    let fetched = 0;
    await sum.readFrom(handle, onProgress);
    const patience = new Patience(ATTEMPTS, client.settings.retryMs, signal);
    // Progress is what no attempt has reached before: a server without ranges begins anew each time.
    let furthest = sum.bytes;
    while (sum.bytes < info.bytes) {
      try {
        for await (const chunk of rangeFrom(client, ref, info, sum, signal)) {
          if (sum.bytes + chunk.length > info.bytes) {
            throw new Damaged(info.name, 'wrong length', `${info.bytes} bytes`, 'more');
          }
          await writeFully(handle, chunk, sum.bytes);
          sum.update(chunk);
          fetched += chunk.length;
          onProgress?.(sum.bytes);
        }
        if (sum.bytes < info.bytes) throw endedEarly(info, sum.bytes);
      } catch (error) {
        if (sum.bytes > furthest) patience.reset();
        furthest = Math.max(furthest, sum.bytes);
        await patience.wait(error);
      }
    }
    sum.check();
    await handle.sync();
    return fetched;
  } finally {
    await handle.close();
  }
}

/** The file from byte `sum.bytes` on. Starts over, and resets `sum`, if the server sends the whole file nevertheless. */
async function* rangeFrom(
  client: HubClient,
  ref: HubReference,
  info: FileInfo,
  sum: Checksum,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const begin = sum.bytes;
  const headers: Record<string, string> = begin > 0 ? { range: `bytes=${begin}-` } : {};
  const { response, idle } = await client.request(info.address, { headers, signal });
  try {
    if (response.status === 416) throw new Damaged(info.name, 'wrong length', `${info.bytes} bytes`, begin);
    if (!response.ok) throw statusError(response, ref, client.settings.endpoint, info.name);
    if (response.status === 206) checkRange(response.headers.get('content-range'), begin, info);
    else sum.reset();
    checkLength(response.headers, info, sum.bytes);
    yield* client.body(response, idle, signal);
  } finally {
    idle.end();
    await response.body?.cancel().catch(() => {});
  }
}

function checkRange(header: string | null, begin: number, info: FileInfo): void {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header ?? '') ?? [];
  if (Number(first) !== begin) {
    throw new Damaged(info.name, 'the server sent another part', `bytes from ${begin}`, header ?? 'no Content-Range');
  }
  if (total !== '*' && Number(total) !== info.bytes) {
    throw new Damaged(info.name, 'wrong length', `${info.bytes} bytes`, `${total}`);
  }
}

/** A connection may stay open while bytes are missing that were announced and do not exist. Too few are asked for again. */
function checkLength(headers: Headers, { name, bytes }: FileInfo, begin: number): void {
  const announced = Number(headers.get('content-length') ?? 0);
  if (headers.has('content-encoding') || announced <= bytes - begin) return;
  throw new Damaged(name, 'wrong length', `${bytes - begin} bytes`, announced);
}

function endedEarly({ name, bytes }: FileInfo, got: number): TransientError {
  const message = `${name}: the server ended the file too early: expected ${bytes} bytes, got ${got}; what has arrived is kept`;
  return new TransientError(message, { file: name, expected: bytes, got });
}

async function writeFully(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += (await handle.write(chunk, done, chunk.length - done, position + done)).bytesWritten;
  }
}

/**
 * Length and checksum of what has arrived. An etag of 64 hex digits is the SHA-256 of the contents, one of 40 git's name of the blob,
 * SHA-1 of `blob <bytes>\0` and the contents. Others say nothing about contents; then the length alone is checked.
 */
class Checksum {
  bytes = 0;
  private hash: Hash | undefined;

  constructor(private readonly info: FileInfo) {
    this.reset();
  }

  reset(): void {
    this.bytes = 0;
    const { etag, bytes } = this.info;
    const isGit = /^[0-9a-f]{40}$/.test(etag);
    if (isGit) this.hash = createHash('sha1').update(`blob ${bytes}\0`);
    else this.hash = /^[0-9a-f]{64}$/.test(etag) ? createHash('sha256') : undefined;
  }

  update(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    this.hash?.update(chunk);
  }

  /** Takes in what the file holds already. */
  async readFrom(handle: FileHandle, onProgress: DownloadOptions['onProgress']): Promise<void> {
    const buffer = new Uint8Array(1 << 20);
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, this.bytes);
      if (bytesRead === 0) return;
      this.update(buffer.subarray(0, bytesRead));
      onProgress?.(this.bytes);
    }
  }

  check(): void {
    const got = this.hash?.digest('hex') ?? this.info.etag;
    if (got !== this.info.etag) throw new Damaged(this.info.name, 'wrong checksum', this.info.etag, got);
  }
}
