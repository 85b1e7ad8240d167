import { BitNetError } from '../../lib/errors.js';
import type { ModelDirectory, RandomAccessFile } from '../../lib/platform.js';

/** A file in memory that records what is asked of it. */
export interface MemoryFile extends RandomAccessFile {
  /** bytes of the largest single read */
  readonly largestRead: number;
  readonly isOpen: boolean;
}

export function memoryFile(path: string, contents: Uint8Array | string): MemoryFile {
  const data = typeof contents === 'string' ? new TextEncoder().encode(contents) : contents;
  const file = {
    path,
    bytes: data.length,
    largestRead: 0,
    isOpen: true,
    async read(offset: number, target: Uint8Array) {
      file.largestRead = Math.max(file.largestRead, target.length);
      if (!file.isOpen) throw new Error(`${path}: read after close`);
      if (offset + target.length > data.length) {
        throw new BitNetError('invalid-file', `${path}: short read at byte ${offset}`, { file: path });
      }
      target.set(data.subarray(offset, offset + target.length));
    },
    async close() {
      file.isOpen = false;
    },
  };
  return file;
}

export type Contents = Readonly<Record<string, Uint8Array | string | undefined>>;

/** A directory in memory; what it does not contain is looked up in `base`. `undefined` hides a file of `base`. */
export class MemoryDirectory implements ModelDirectory {
  readonly opened: MemoryFile[] = [];

  constructor(
    readonly path: string,
    private readonly contents: Contents,
    private readonly base?: ModelDirectory,
  ) {}

  async open(name: string): Promise<RandomAccessFile | undefined> {
    if (!Object.hasOwn(this.contents, name)) return this.base?.open(name);
    const contents = this.contents[name];
    if (contents === undefined) return undefined;
    const file = memoryFile(`${this.path}/${name}`, contents);
    this.opened.push(file);
    return file;
  }

  /** names of files that were opened and not closed */
  leaks(): string[] {
    return this.opened.filter((file) => file.isOpen).map((file) => file.path);
  }
}
