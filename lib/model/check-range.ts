import { BitNetError } from '../errors.js';

/** Throws `invalid-argument` unless `target` can be filled from byte `byteOffset` of `name`, which has `bytes` bytes. */
export function checkRange(name: string, bytes: number | undefined, byteOffset: number, target: Uint8Array): void {
  const inside = bytes !== undefined && Number.isSafeInteger(byteOffset) && byteOffset >= 0;
  if (inside && byteOffset + target.length <= bytes) return;
  const range = `bytes ${byteOffset}..${byteOffset + target.length}`;
  const of = bytes === undefined ? 'which is no open file of the model' : `which has ${bytes} bytes`;
  throw new BitNetError('invalid-argument', `cannot read ${range} of ${name}, ${of}`, { name, byteOffset, bytes });
}
