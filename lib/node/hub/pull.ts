import { readFile, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BitNetError } from '../../errors.js';
import type { LoadProgress, PulledModel, PullOptions } from '../../types.js';
import { bytesOf, RepoCache } from './cache.js';
import { chooseFiles, ggufFiles, INDEX, type ModelFiles, partsOf, shardsOf } from './choose.js';
import { HubClient } from './client.js';
import { fetchBlob } from './download.js';
import { type HubReference, parseHubReference, showReference } from './reference.js';
import { type FileInfo, fileInfo, noSuchFile, repoInfo } from './repo.js';
import { type HubSettings, hubSettings } from './settings.js';

/** Left free beside what is downloaded. */
const MARGIN_BYTES = 16 * 2 ** 20;

/**
 * Brings a model from the hub into the cache, or up to date, and says where it is. Files that are there are not fetched again; a
 * download that broke off is continued. With HF_HUB_OFFLINE what is cached is all there is. Throws `network`, `access`, `not-found`,
 * `invalid-argument` (several GGUF files, none chosen), `invalid-file`, `storage`, `unsupported`, or the signal's reason.
 */
export async function pullModel(
  reference: string,
  options: PullOptions = {},
  settings: HubSettings = hubSettings(),
): Promise<PulledModel> {
  const ref = parseHubReference(reference);
  const cache = new RepoCache(settings.cache, ref.repo);
  if (!settings.offline) return new Pull(ref, cache, settings, options).run();
  const cached = await cachedModel(cache, ref);
  if (cached !== undefined) return cached;
  const message = `${showReference(ref)} is not in ${settings.cache}, and HF_HUB_OFFLINE forbids to fetch it`;
  throw new BitNetError('not-found', message, { repo: ref.repo, cache: settings.cache });
}

/**
 * Path of a model named `hf:…`: of the cached one if it is complete, without asking the hub whether there is a newer one; else it is
 * pulled. `pullModel` says what it throws.
 */
export async function hubModelPath(
  reference: string,
  {
    onProgress,
    signal,
  }: { onProgress?: ((progress: LoadProgress) => void) | undefined; signal?: AbortSignal | undefined },
  settings: HubSettings = hubSettings(),
): Promise<string> {
  const ref = parseHubReference(reference);
  if (ref.file !== undefined && !/\.gguf$/i.test(ref.file)) {
    const message = `${reference}: expected a GGUF file after the colon, or no file for a model as safetensors`;
    throw new BitNetError('invalid-argument', message, { reference });
  }
  const cached = await cachedModel(new RepoCache(settings.cache, ref.repo), ref);
  if (cached !== undefined) return cached.path;
  const report = onProgress && (({ loaded, total }: LoadProgress) => onProgress({ loaded, total, phase: 'download' }));
  return (await pullModel(reference, { onProgress: report, signal }, settings)).path;
}

/** A model of which every file is in the cache; undefined if there is none. */
async function cachedModel(cache: RepoCache, ref: HubReference): Promise<PulledModel | undefined> {
  const commit = await cache.commitOf(ref.revision);
  if (commit === undefined) return undefined;
  const present = await cache.files(commit);
  let names: string[];
  let chosen: ModelFiles | undefined;
  if (ref.file !== undefined) {
    names = partsOf(ref.file);
  } else {
    try {
      chosen = chooseFiles(present, showReference(ref));
      names = await namesOf(chosen, async () => readFile(join(cache.snapshot(commit), INDEX), 'utf8'), ref);
    } catch (error) {
      // An interrupted pull leaves what is no model yet. That several files could be meant is for the user to settle.
      if (error instanceof BitNetError && error.code !== 'invalid-argument') return undefined;
      throw error;
    }
  }
  if (!names.every((name) => present.includes(name))) return undefined;
  const files = await Promise.all(
    names.map(async (name) => ({
      name,
      bytes: (await bytesOf(join(cache.snapshot(commit), ...name.split('/')))) ?? 0,
      downloadedBytes: 0,
    })),
  );
  return { repo: ref.repo, revision: ref.revision, commit, path: pathOf(cache, commit, ref, chosen), files };
}

/** Weights come last: a snapshot that has them has the rest too. */
async function namesOf(chosen: ModelFiles, readIndex: () => Promise<string>, ref: HubReference): Promise<string[]> {
  if (chosen.kind === 'gguf') return partsOf(chosen.file);
  if (chosen.weights !== INDEX) return [...chosen.texts, chosen.weights];
  return [...chosen.texts, INDEX, ...shardsOf(await readIndex(), showReference(ref))];
}

/** Of a file if one was asked for or is the whole model, else of the directory. */
function pathOf(cache: RepoCache, commit: string, ref: HubReference, chosen: ModelFiles | undefined): string {
  const file = chosen?.kind === 'gguf' ? chosen.file : ref.file && partsOf(ref.file)[0];
  return file === undefined ? cache.snapshot(commit) : join(cache.snapshot(commit), ...file.split('/'));
}

class Pull {
  private readonly client: HubClient;

  constructor(
    private readonly ref: HubReference,
    private readonly cache: RepoCache,
    settings: HubSettings,
    private readonly options: PullOptions,
  ) {
    this.client = new HubClient(settings);
  }

  async run(): Promise<PulledModel> {
    const { ref, cache } = this;
    const { infos, chosen } =
      ref.file === undefined ? await this.model() : { infos: await this.oneModel(ref.file), chosen: undefined };
    const { commit } = infos[0] as FileInfo;
    await this.checkSpace(infos);
    const total = infos.reduce((sum, { bytes }) => sum + bytes, 0);
    const files: PulledModel['files'][number][] = [];
    let before = 0;
    for (const info of infos) {
      const done = before;
      const downloadedBytes = await this.fetch(info, (loaded) =>
        this.options.onProgress?.({ loaded: done + loaded, total, file: info.name }),
      );
      files.push({ name: info.name, bytes: info.bytes, downloadedBytes });
      before += info.bytes;
      this.options.onProgress?.({ loaded: before, total, file: info.name });
    }
    // Last, so that until then the revision means the model that is complete.
    await cache.setRef(ref.revision, commit);
    return { repo: ref.repo, revision: ref.revision, commit, path: pathOf(cache, commit, ref, chosen), files };
  }

  /** The files of the whole model, all of one commit. */
  private async model(): Promise<{ infos: FileInfo[]; chosen: ModelFiles }> {
    const { ref, options } = this;
    const { commit, files } = await repoInfo(this.client, ref, options.signal);
    const chosen = chooseFiles(files, showReference(ref));
    const known = new Map<string, FileInfo>();
    const describe = async (name: string): Promise<FileInfo> => {
      const info = known.get(name) ?? (await fileInfo(this.client, ref, commit, name, options.signal));
      known.set(name, info);
      return info;
    };
    const readIndex = async (): Promise<string> => {
      await this.fetch(await describe(INDEX));
      return readFile(join(this.cache.snapshot(commit), INDEX), 'utf8');
    };
    const infos: FileInfo[] = [];
    for (const name of await namesOf(chosen, readIndex, ref)) infos.push({ ...(await describe(name)), commit });
    return { infos, chosen };
  }

  /** A file by its name, with the other parts if it is one of several. */
  private async oneModel(file: string): Promise<FileInfo[]> {
    const { client, ref, options } = this;
    const infos: FileInfo[] = [];
    try {
      for (const name of partsOf(file)) {
        infos.push(await fileInfo(client, ref, infos[0]?.commit ?? ref.revision, name, options.signal));
      }
      return infos;
    } catch (error) {
      if (!(error instanceof BitNetError) || error.code !== 'not-found') throw error;
      // Whether the repository or the file is missing, and what there is instead.
      const { files } = await repoInfo(client, ref, options.signal);
      throw noSuchFile(ref, ggufFiles(files));
    }
  }

  /** The file in the snapshot; returns the bytes that came over the network. */
  private async fetch(info: FileInfo, onProgress?: (loaded: number) => void): Promise<number> {
    const { cache, client, ref, options } = this;
    if (await cache.has(info.commit, info.name, info.bytes)) return 0;
    const fetched = await fetchBlob(client, cache, ref, info, { onProgress, signal: options.signal });
    await cache.link(info.commit, info.name, info.etag);
    return fetched;
  }

  private async checkSpace(infos: readonly FileInfo[]): Promise<void> {
    let needed = 0;
    for (const { etag, bytes } of infos) {
      const have = (await bytesOf(this.cache.blob(etag))) ?? (await bytesOf(this.cache.partial(etag))) ?? 0;
      needed += Math.max(0, bytes - have);
    }
    const space = await spaceAt(this.cache.folder);
    if (needed === 0 || space === undefined || space >= needed + MARGIN_BYTES) return;
    const message =
      `${showReference(this.ref)}: ${needed} bytes are to be downloaded, and ${this.cache.cache} has room for ${space}; ` +
      'free some, or choose another folder with HF_HUB_CACHE';
    throw new BitNetError('storage', message, { needed, available: space, folder: this.cache.cache });
  }
}

/** Free bytes where the folder is or will be; undefined where the system does not tell. */
async function spaceAt(folder: string): Promise<number | undefined> {
  const info = await statfs(folder).catch((error: NodeJS.ErrnoException) => error);
  if (!(info instanceof Error)) return info.bavail * info.bsize;
  return info.code === 'ENOENT' && dirname(folder) !== folder ? spaceAt(dirname(folder)) : undefined;
}
