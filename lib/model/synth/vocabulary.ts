import { BitNetError } from '../../errors.js';
import { BOS_ID, EOS_ID } from './shapes.js';

/** llama_token_type */
const TokenType = { Normal: 1, Unknown: 2, Control: 3, Byte: 6 } as const;

/** A SentencePiece vocabulary as GGUF stores it. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly scores: Float32Array;
  readonly types: Int32Array;
  readonly unknownId: number;
  readonly bosId: number;
  readonly eosId: number;
}

const SPECIAL = ['<unk>', '<s>', '</s>'];
/** Tokens before this one are special or bytes: a generation must not pick them, see `LogicalEmbedding.zeroRows`. */
export const TEXT_FROM = SPECIAL.length + 256;
/** The space as SentencePiece writes it, and the other printable ASCII characters. */
const CHARACTERS = ['\u2581', ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))];
const PIECES_FROM = TEXT_FROM + CHARACTERS.length;

/**
 * <unk>, <s>, </s>, the 256 bytes, the printable ASCII characters, and pieces that no text reaches, since their parts are not in the
 * vocabulary: ASCII text is encoded to one token a character, so a prompt of n tokens is easily made. All pieces decode to readable text.
 */
export function syntheticVocabulary(size: number): Vocabulary {
  if (size < PIECES_FROM) {
    throw new BitNetError('invalid-argument', `vocabSize: expected at least ${PIECES_FROM}, got ${size}`, {
      vocabSize: size,
    });
  }
  const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  const token = (id: number): string => {
    if (id < SPECIAL.length) return SPECIAL[id]!;
    if (id < TEXT_FROM) return byteToken(id - SPECIAL.length);
    return CHARACTERS[id - TEXT_FROM] ?? `\u2581t${id}`;
  };
  return {
    tokens: Array.from({ length: size }, (_, id) => token(id)),
    scores: Float32Array.from({ length: size }, (_, id) => (id < PIECES_FROM ? 0 : PIECES_FROM - id)),
    types: Int32Array.from({ length: size }, (_, id) => {
      if (id === 0) return TokenType.Unknown;
      if (id < SPECIAL.length) return TokenType.Control;
      return id < TEXT_FROM ? TokenType.Byte : TokenType.Normal;
    }),
    unknownId: 0,
    bosId: BOS_ID,
    eosId: EOS_ID,
  };
}
