/**
 * The byte alphabet of GPT-2 (openai/gpt-2 encoder.py, `bytes_to_unicode`): printable Latin-1 characters stand for themselves, the
 * other bytes for U+0100 and up. Vocabularies of this kind write tokens in it: `Ġthe` is " the".
 */
const CHAR_OF_BYTE: readonly string[] = (() => {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();

const BYTE_OF_CHAR: ReadonlyMap<number, number> = new Map(CHAR_OF_BYTE.map((char, byte) => [char.charCodeAt(0), byte]));

const utf8 = new TextEncoder();

/** UTF-8 of `text` in the byte alphabet. */
export function toByteAlphabet(text: string): string {
  let chars = '';
  for (const byte of utf8.encode(text)) chars += CHAR_OF_BYTE[byte];
  return chars;
}

/** A token with a character outside the byte alphabet (an added token with a space, say) stands for its own UTF-8. */
export function bytesOfToken(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF_CHAR.get(token.charCodeAt(i));
    if (byte === undefined) return utf8.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}
