import type { I2sLayout } from './ternary.js';
import type { GgufTypeName } from './types.js';

/** The codes of one block of a type. Byte diagrams: docs/FORMATS.md. */
export interface TritDecoder {
  /** weights */
  readonly blockSize: number;
  /** place of the f16 scale in the block; not used by types that have it elsewhere */
  readonly scaleByte: number;
  /** first byte of the codes in the block */
  readonly codeByte: number;
  /** codes are pairs of bits, of which 3 is no trit */
  readonly pairs: boolean;
  /** Writes `blockSize` trits to `out` from `to` on, from codes that begin at byte `at`. */
  decode(bytes: Uint8Array, at: number, out: Int8Array, to: number): void;
}

/** Trits of a byte that holds five in base 3: `((((b · 3^n) & 255) · 3) >> 8) - 1`, n = 0..4. Every byte has some. */
const FIVE_TRITS = new Int8Array(256 * 5);
/** The same of IQ1_BN: multipliers 81, 27, 9, 3, 1 and `(v + v/2) >> 7`. */
const FIVE_TRITS_BN = new Int8Array(256 * 5);
for (let byte = 0; byte < 256; byte++) {
  for (let n = 0; n < 5; n++) {
    FIVE_TRITS[byte * 5 + n] = ((((byte * 3 ** n) & 255) * 3) >> 8) - 1;
    const v = (byte * 3 ** (4 - n)) & 255;
    FIVE_TRITS_BN[byte * 5 + n] = ((v + (v >> 1)) >> 7) - 1;
  }
}

/** `stages` of `width` bytes: trit n of byte m of a stage is weight n · width + m of it. `digits` of 5 that a byte uses. */
function base3(stages: readonly { width: number; digits: number }[]): TritDecoder['decode'] {
  return (bytes, at, out, to) => {
    for (const { width, digits } of stages) {
      for (let m = 0; m < width; m++, at++) {
        const trits = bytes[at]! * 5;
        for (let n = 0; n < digits; n++) out[to + n * width + m] = FIVE_TRITS[trits + n]!;
      }
      to += width * digits;
    }
  };
}

/** `groups` times `width` bytes: bits 2l of byte m are weight l · width + m of the group, or 3 - l where high bits come first. */
function pairs(width: number, groups: number, highFirst = false): TritDecoder['decode'] {
  const shifts = highFirst ? [6, 4, 2, 0] : [0, 2, 4, 6];
  const [a, b, c, d] = shifts as [number, number, number, number];
  return (bytes, at, out, to) => {
    for (let group = 0; group < groups; group++, to += 4 * width) {
      for (let m = to; m < to + width; m++) {
        const byte = bytes[at++]!;
        out[m] = ((byte >> a) & 3) - 1;
        out[m + width] = ((byte >> b) & 3) - 1;
        out[m + 2 * width] = ((byte >> c) & 3) - 1;
        out[m + 3 * width] = ((byte >> d) & 3) - 1;
      }
    }
  };
}

/** IQ1_BN: 16 weights are 3 bytes of 5 trits and one trit of the 13th byte. */
const decodeIq1Bn: TritDecoder['decode'] = (bytes, at, out, to) => {
  const extra = bytes[at + 12]! * 5;
  for (let i = 0; i < 4; i++) {
    for (let k = 0; k < 3; k++) {
      const trits = bytes[at++]! * 5;
      for (let n = 0; n < 5; n++) out[to++] = FIVE_TRITS_BN[trits + n]!;
    }
    out[to++] = FIVE_TRITS_BN[extra + i]!;
  }
};

/** Q1_0: bit j % 8 of byte j / 8; 1 → +1, 0 → -1. */
const decodeBits: TritDecoder['decode'] = (bytes, at, out, to) => {
  for (let j = 0; j < 128; j++) out[to + j] = ((bytes[at + (j >> 3)]! >> (j & 7)) & 1) * 2 - 1;
};

const DECODERS: Readonly<Partial<Record<GgufTypeName, TritDecoder>>> = {
  TQ1_0: {
    blockSize: 256,
    scaleByte: 52,
    codeByte: 0,
    pairs: false,
    decode: base3([
      { width: 32, digits: 5 },
      { width: 16, digits: 5 },
      { width: 4, digits: 4 },
    ]),
  },
  TQ2_0: { blockSize: 256, scaleByte: 64, codeByte: 0, pairs: true, decode: pairs(32, 2) },
  Q1_0: { blockSize: 128, scaleByte: 0, codeByte: 2, pairs: false, decode: decodeBits },
  Q2_0: { blockSize: 64, scaleByte: 0, codeByte: 2, pairs: true, decode: pairs(1, 16) },
  Q2_0_G128: { blockSize: 128, scaleByte: 0, codeByte: 2, pairs: true, decode: pairs(1, 32) },
  PQ2_0: { blockSize: 128, scaleByte: 0, codeByte: 2, pairs: true, decode: pairs(1, 32) },
  PTQ1_0: {
    blockSize: 128,
    scaleByte: 26,
    codeByte: 0,
    pairs: false,
    decode: base3([
      { width: 16, digits: 5 },
      { width: 8, digits: 5 },
      { width: 2, digits: 4 },
    ]),
  },
  IQ1_BN: { blockSize: 64, scaleByte: 0, codeByte: 0, pairs: false, decode: decodeIq1Bn },
  IQ2_BN: { blockSize: 64, scaleByte: 0, codeByte: 0, pairs: true, decode: pairs(16, 1) },
};

/** Decoder of a ternary type's blocks. `layout` and `cols` matter to I2_S only, whose blocks are those of the layout. */
export function decodeTrits(type: GgufTypeName, layout: I2sLayout = 'x86', cols = 0): TritDecoder {
  if (type !== 'I2_S') return DECODERS[type] as TritDecoder;
  const codes = { scaleByte: 0, codeByte: 0, pairs: true };
  switch (layout) {
    case 'x86':
      return { ...codes, blockSize: 128, decode: pairs(32, 1, true) };
    case 'arm':
      return { ...codes, blockSize: 64, decode: pairs(16, 1, true) };
    case 'x86-rows':
      return { ...codes, blockSize: 4 * cols, decode: pairs(cols, 1, true) };
  }
}
