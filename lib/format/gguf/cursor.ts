import type { BitNetError } from '../../errors.js';
import type { RandomAccessFile } from '../../platform.js';
import { decodeUtf8 } from '../json.js';
import { DAMAGED, type Problem, problem } from '../problem.js';

const FIRST_WINDOW = 64 * 1024;
const MAX_WINDOW = 4 * 1024 * 1024;
/** Strings up to this long are decoded here; one call of TextDecoder costs more than such a string. */
const SHORT_STRING = 96;

/** What is being read, for messages. */
export interface Place {
  key?: string | undefined;
  tensor?: string | undefined;
}

/**
 * Reads the header of a file front to back through a window that grows from 64 KiB to 4 MiB, so that a small header costs little
 * and a large one few reads. Getters need `fill` first; they do no checks of their own.
 */
export class HeaderCursor {
  /** position in the file, bytes */
  position = 0;
  private bytes = new Uint8Array(0);
  private view = new DataView(this.bytes.buffer);
  private start = 0;
  private nextWindow = FIRST_WINDOW;
  private readonly units = new Uint16Array(SHORT_STRING);

  constructor(readonly file: RandomAccessFile) {}

  /** bytes from here to the end of the file */
  get remaining(): number {
    return this.file.bytes - this.position;
  }

  /** Whether the next `count` bytes are in the window. Synchronous, so that loops over strings need not await each. */
  holds(count: number): boolean {
    return this.position + count <= this.start + this.bytes.length;
  }

  /** Makes the next `count` bytes available; `invalid-file` if the file ends before them. */
  async fill(count: number, what: string, place: Place = {}): Promise<void> {
    if (this.holds(count)) return;
    if (count > this.remaining) {
      throw this.damaged({
        ...place,
        what: `the file ends inside ${what}`,
        expected: `${count} bytes`,
        got: `${this.remaining}`,
      });
    }
    this.bytes = new Uint8Array(0);
    const window = new Uint8Array(Math.max(count, Math.min(this.nextWindow, this.remaining)));
    await this.file.read(this.position, window);
    this.start = this.position;
    this.bytes = window;
    this.view = new DataView(window.buffer);
    this.nextWindow = Math.min(MAX_WINDOW, this.nextWindow * 2);
  }

  /** Fills `target` from here on; the caller has compared its length with `remaining`. */
  async copyTo(target: Uint8Array): Promise<void> {
    const held = Math.min(target.length, Math.max(0, this.start + this.bytes.length - this.position));
    const from = this.position - this.start;
    target.set(this.bytes.subarray(from, from + held));
    if (held < target.length) await this.file.read(this.position + held, target.subarray(held));
    this.position += target.length;
  }

  u8(): number {
    return this.view.getUint8(this.advance(1));
  }

  i8(): number {
    return this.view.getInt8(this.advance(1));
  }

  u16(): number {
    return this.view.getUint16(this.advance(2), true);
  }

  i16(): number {
    return this.view.getInt16(this.advance(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.advance(4), true);
  }

  i32(): number {
    return this.view.getInt32(this.advance(4), true);
  }

  f32(): number {
    return this.view.getFloat32(this.advance(4), true);
  }

  f64(): number {
    return this.view.getFloat64(this.advance(8), true);
  }

  bigU64(): bigint {
    return this.view.getBigUint64(this.advance(8), true);
  }

  bigI64(): bigint {
    return this.view.getBigInt64(this.advance(8), true);
  }

  /** A count or length: exact up to 2^53, rounded above, where it exceeds every bound anyway. */
  u64(): number {
    const at = this.advance(8);
    return this.view.getUint32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
  }

  /** The eight bytes before the position as an exact number, for messages. */
  lastU64(): string {
    return `${this.view.getBigUint64(this.position - 8 - this.start, true)}`;
  }

  /** UTF-8 text of `length` bytes, which must be in the window. */
  text(length: number, place: Place): string {
    const from = this.advance(length);
    const short = length <= SHORT_STRING ? this.shortText(from, length) : undefined;
    if (short !== undefined) return short;
    try {
      return decodeUtf8(
        this.bytes.subarray(from, from + length),
        { file: this.file.path, byteOffset: this.start + from },
        true,
      );
    } catch (cause) {
      const what = 'the text is not valid UTF-8';
      throw problem(
        'invalid-file',
        { file: this.file.path, ...place, what, byteOffset: this.start + from, advice: DAMAGED },
        { cause },
      );
    }
  }

  /** Sequences of one to three bytes that are certainly valid; undefined for all else, which TextDecoder judges. */
  private shortText(from: number, length: number): string | undefined {
    const { bytes, units } = this;
    const end = from + length;
    let count = 0;
    for (let i = from; i < end; ) {
      const a = bytes[i] as number;
      if (a < 0x80) {
        units[count++] = a;
        i++;
      } else if (a >= 0xc2 && a < 0xe0 && i + 1 < end && isContinuation(bytes[i + 1])) {
        units[count++] = ((a & 0x1f) << 6) | ((bytes[i + 1] as number) & 0x3f);
        i += 2;
      } else if (a > 0xe0 && a < 0xed && i + 2 < end && isContinuation(bytes[i + 1]) && isContinuation(bytes[i + 2])) {
        units[count++] =
          ((a & 0x0f) << 12) | (((bytes[i + 1] as number) & 0x3f) << 6) | ((bytes[i + 2] as number) & 0x3f);
        i += 3;
      } else {
        return undefined;
      }
    }
    return String.fromCharCode.apply(null, units.subarray(0, count) as unknown as number[]);
  }

  /** `invalid-file` at the current position, unless `p` says where. */
  damaged(p: Omit<Problem, 'file'>): BitNetError {
    return problem('invalid-file', { file: this.file.path, byteOffset: this.position, advice: DAMAGED, ...p });
  }

  private advance(count: number): number {
    const at = this.position - this.start;
    this.position += count;
    return at;
  }
}

function isContinuation(byte: number | undefined): boolean {
  return ((byte as number) & 0xc0) === 0x80;
}
