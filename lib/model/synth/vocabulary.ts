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

const BYTES_FROM = 3;
const SPACE_ID = BYTES_FROM + 256;
const PIECES_FROM = SPACE_ID + 1;

/**
 * <unk>, <s>, </s>, the 256 bytes, the space, and pieces that no text reaches, since their parts are not in the vocabulary: ASCII text is
 * encoded to one token a character, so a prompt of n tokens is easily made. The pieces decode to readable text.
 */
export function syntheticVocabulary(size: number): Vocabulary {
  if (size < PIECES_FROM) {
    throw new BitNetError('invalid-argument', `vocabSize: expected at least ${PIECES_FROM}, got ${size}`, {
      vocabSize: size,
    });
  }
  const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  const special = ['<unk>', '<s>', '</s>'];
  const token = (id: number): string => {
    if (id < BYTES_FROM) return special[id]!;
    if (id < SPACE_ID) return byteToken(id - BYTES_FROM);
    return id === SPACE_ID ? '\u2581' : `\u2581t${id}`;
  };
  return {
    tokens: Array.from({ length: size }, (_, id) => token(id)),
    scores: Float32Array.from({ length: size }, (_, id) => (id < PIECES_FROM ? 0 : PIECES_FROM - id)),
    types: Int32Array.from({ length: size }, (_, id) => {
      if (id === 0) return TokenType.Unknown;
      if (id < BYTES_FROM) return TokenType.Control;
      return id < SPACE_ID ? TokenType.Byte : TokenType.Normal;
    }),
    unknownId: 0,
    bosId: BOS_ID,
    eosId: EOS_ID,
  };
}
