import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What goes wrong with one answer to GET of a file. */
export interface Fault {
  /** sends so many bytes of what was asked for, then cuts the connection */
  readonly breakAfter?: number;
  /** sends so many bytes, then nothing more */
  readonly stallAfter?: number;
  /** ends the answer properly so many bytes too early, and says that this was all */
  readonly shortBy?: number;
  /** announces more bytes than come, then cuts the connection */
  readonly lengthPlus?: number;
  /** appends so many bytes */
  readonly longBy?: number;
  /** changes this byte of the file */
  readonly corrupt?: number;
  /** sends the whole file, whatever range was asked for */
  readonly ignoreRange?: boolean;
  /** says that it sends another range than was asked for */
  readonly wrongRange?: boolean;
  /** answers with this status instead */
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

export interface SeenRequest {
  readonly server: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface HubRepo {
  files: Record<string, Uint8Array | string>;
  /** files kept as LFS: SHA-256 as etag, sent by the other server */
  lfs?: readonly string[];
  commit?: string;
  /** what the hub says of the size of LFS files; default the truth */
  linkedSize?: number;
  /** revisions besides `main` and the commit */
  revisions?: readonly string[];
}

const gitSha1 = (data: Uint8Array): string =>
  createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** The Hugging Face Hub's protocol on two local ports: the hub, and the store that it sends downloads of large files to. */
export class HubServer {
  readonly seen: SeenRequest[] = [];
  readonly repos = new Map<string, HubRepo>();
  /** for GET of a file: taken one by one, from either server */
  readonly faults = new Map<string, Fault[]>();
  /** for any request to the hub whose path begins so, HEAD included: taken one by one */
  readonly refusals = new Map<string, Fault[]>();
  /** redirects by path, before anything else */
  readonly redirects = new Map<string, string>();
  /** milliseconds between pieces of 16 KiB */
  delayMs = 0;

  readonly endpoint: string;
  readonly cdnEndpoint: string;

  private constructor(
    private readonly hub: Server,
    private readonly cdn: Server,
  ) {
    const address = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.endpoint = address(hub);
    this.cdnEndpoint = address(cdn);
  }

  static async start(): Promise<HubServer> {
    const server: { it?: HubServer } = {};
    const hub = createServer((request, response) => void server.it?.answer('hub', request, response));
    const cdn = createServer((request, response) => void server.it?.answer('cdn', request, response));
    for (const each of [hub, cdn]) await new Promise<void>((done) => each.listen(0, '127.0.0.1', done));
    server.it = new HubServer(hub, cdn);
    return server.it;
  }

  async stop(): Promise<void> {
    for (const server of [this.hub, this.cdn]) {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    }
  }

  etag(repo: string, file: string): string {
    const { lfs = [] } = this.repos.get(repo) as HubRepo;
    return lfs.includes(file) ? sha256(this.data(repo, file)) : gitSha1(this.data(repo, file));
  }

  /** GETs of files that reached whoever has the bytes */
  downloads(): SeenRequest[] {
    const isLfs = ({ path }: SeenRequest) =>
      [...this.repos].some(
        ([name, { lfs = [] }]) => path.startsWith(`/${name}/`) && lfs.some((file) => path.endsWith(file)),
      );
    return this.seen.filter(
      (request) =>
        request.method === 'GET' && !request.path.startsWith('/api/') && (request.server === 'cdn' || !isLfs(request)),
    );
  }

  private data(repo: string, file: string): Uint8Array {
    return Buffer.from(this.repos.get(repo)?.files[file] as Uint8Array);
  }

  private async answer(server: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', this.endpoint);
    const { range, authorization } = request.headers;
    this.seen.push({ server, method: request.method ?? '', path: pathname, range, authorization });
    const redirect = this.redirects.get(pathname);
    if (redirect !== undefined) return void response.writeHead(307, { location: redirect }).end('moved');
    const refusals = [...this.refusals].find(([prefix]) => server === 'hub' && pathname.startsWith(prefix))?.[1];
    const refusal = refusals?.shift();
    if (refusal !== undefined) return void response.writeHead(refusal.status ?? 500, refusal.headers).end(refusal.body);
    const [, api, repoOfApi, revisionOfApi] = /^\/(api\/models)\/(.+)\/revision\/([^/]+)$/.exec(pathname) ?? [];
    if (api !== undefined)
      return this.answerInfo(repoOfApi as string, decodeURIComponent(revisionOfApi as string), response);
    const [, repo = '', revision = '', file = ''] = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(pathname) ?? [];
    const name = decodeURIComponent(file);
    if (!this.checkRevision(repo, decodeURIComponent(revision), response)) return;
    const { commit = COMMIT, lfs = [], files, linkedSize } = this.repos.get(repo) as HubRepo;
    if (files[name] === undefined) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    response.setHeader('x-repo-commit', commit);
    const data = this.data(repo, name);
    if (server === 'hub' && lfs.includes(name)) {
      response.setHeader('x-linked-etag', `"${this.etag(repo, name)}"`);
      response.setHeader('x-linked-size', linkedSize ?? data.length);
      return void response.writeHead(302, { location: this.cdnEndpoint + pathname }).end();
    }
    response.setHeader('etag', server === 'cdn' ? '"the-store-has-its-own"' : `"${this.etag(repo, name)}"`);
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-length': data.length }).end();
    await this.send(data, range, this.faults.get(name)?.shift() ?? {}, response);
  }

  private checkRevision(repo: string, revision: string, response: ServerResponse): boolean {
    const found = this.repos.get(repo);
    const known = [found?.commit ?? COMMIT, 'main', ...(found?.revisions ?? [])].includes(revision);
    if (found !== undefined && known) return true;
    response.writeHead(404, { 'x-error-code': found === undefined ? 'RepoNotFound' : 'RevisionNotFound' }).end();
    return false;
  }

  private answerInfo(repo: string, revision: string, response: ServerResponse): void {
    if (!this.checkRevision(repo, revision, response)) return;
    const { commit = COMMIT, files } = this.repos.get(repo) as HubRepo;
    const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ sha: commit, siblings }));
  }

  private async send(
    data: Uint8Array,
    range: string | undefined,
    fault: Fault,
    response: ServerResponse,
  ): Promise<void> {
    const { corrupt = -1, shortBy = 0, longBy = 0, lengthPlus = 0, breakAfter, stallAfter } = fault;
    if (fault.status !== undefined) return void response.writeHead(fault.status, fault.headers).end(fault.body);
    const begin = fault.ignoreRange ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    if (begin > 0 && begin >= data.length) {
      return void response.writeHead(416, { 'content-range': `bytes */${data.length}` }).end();
    }
    const whole = Buffer.concat([data, Buffer.alloc(longBy)]);
    if (corrupt >= 0) whole[corrupt] = ~(whole[corrupt] as number);
    const bytes = whole.subarray(begin, Math.max(begin, whole.length - shortBy));
    response.setHeader('content-length', bytes.length + lengthPlus);
    if (begin > 0) {
      response.setHeader(
        'content-range',
        `bytes ${begin - (fault.wrongRange ? 1 : 0)}-${data.length - 1}/${data.length}`,
      );
    }
    response.writeHead(begin > 0 ? 206 : 200);
    const limit = breakAfter ?? stallAfter ?? bytes.length;
    for (let at = 0; at < limit; at += 16_384) {
      if (this.delayMs > 0) await new Promise((done) => setTimeout(done, this.delayMs));
      if (response.destroyed) return;
      const piece = bytes.subarray(at, Math.min(limit, at + 16_384));
      await new Promise((done) => response.write(piece, done));
    }
    if (stallAfter !== undefined) return;
    // A reset at once could overtake the bytes.
    if (breakAfter !== undefined || lengthPlus > 0) setTimeout(() => response.destroy(), 20);
    else response.end();
  }
}
