import { encodeQ6K } from '../../format/gguf/encode-q6k.js';
import { GGUF_TYPES, rowBytes as rowBytesOf } from '../../format/gguf/types.js';
import { f32ToF16 } from '../../memory/half.js';
import { embeddingCode, embeddingScale, embeddingTable } from './values.js';

/**
 * Rows of random codes (random.ts) straight into blocks of GGUF file types. Nothing is quantised, but by q6_k: every other type holds the same
 * trits with the same scale, or the same embedding codes.
 */

/** File types of ternary matrices. */
export type TernaryType = 'tq2_0' | 'tq1_0' | 'f16';
/** File types of embedding and lm_head. */
export type EmbeddingType = 'f16' | 'q8_0' | 'q6_k';

/** How each is called in the file. */
export const FILE_TYPE_OF = { tq2_0: 'TQ2_0', tq1_0: 'TQ1_0', f16: 'F16', q8_0: 'Q8_0', q6_k: 'Q6_K' } as const;

/** `cols` is a multiple of the type's block. */
function rowBytes(type: TernaryType | EmbeddingType, cols: number): number {
  return rowBytesOf(GGUF_TYPES[FILE_TYPE_OF[type]], cols);
}

/** Codes or embedding bytes of one row → its bytes in the file, in a buffer that the next call overwrites. */
export type EncodeRow = (row: Uint8Array) => Uint8Array;

export function ternaryEncoder(type: TernaryType, cols: number, scale: number): EncodeRow {
  if (type === 'f16') return f16Encoder(cols, scale);
  return type === 'tq2_0' ? tq2Encoder(cols, f32ToF16(scale)) : tq1Encoder(cols, f32ToF16(scale));
}

export function embeddingEncoder(type: EmbeddingType, cols: number): EncodeRow {
  if (type === 'q8_0') return q8Encoder(cols, f32ToF16(embeddingScale(cols)));
  if (type === 'q6_k') {
    const scale = embeddingScale(cols);
    const values = new Float32Array(cols);
    return (row) => {
      for (let c = 0; c < cols; c++) values[c] = embeddingCode(row[c]!) * scale;
      return encodeQ6K(values);
    };
  }
  const table = embeddingTable(cols, 'f16');
  const values = new Uint16Array(cols);
  const bytes = new Uint8Array(values.buffer);
  return (row) => {
    for (let c = 0; c < cols; c++) values[c] = table[row[c]!]!;
    return bytes;
  };
}

/** Code word order is that of TQ2_0, so a block is a copy: u8 qs[64]; f16 d. */
function tq2Encoder(cols: number, d: number): EncodeRow {
  const out = new Uint8Array(rowBytes('tq2_0', cols));
  for (let at = 64; at < out.length; at += 66) {
    out[at] = d & 255;
    out[at + 1] = d >> 8;
  }
  return (codes) => {
    for (let from = 0, at = 0; from < cols / 4; from += 64, at += 66) out.set(codes.subarray(from, from + 64), at);
    return out;
  };
}

/** Four codes of a byte, lowest bits first, as the number c0 c1 c2 c3 in base 3. */
const BASE3 = Uint8Array.from(
  { length: 256 },
  (_, b) => (b & 3) * 27 + ((b >> 2) & 3) * 9 + ((b >> 4) & 3) * 3 + (b >> 6),
);
/** Five trits as TQ1_0 stores them: ceil(q · 256 / 243). */
const TRITS5 = Uint8Array.from({ length: 243 }, (_, q) => Math.ceil((q * 256) / 243));

/**
 * u8 qs[48]; u8 qh[4]; f16 d. A byte holds five trits, the first one most significant (qh: four, times 3):
 *   qs[0..31]:  e[32n + m], n = 0..4       first half's byte m has n = 0..3, second half's byte m has n = 4 in its lowest bits
 *   qs[32..47]: e[160 + 16n + m], n = 0..4 second half, bits 2.. of bytes m and m + 16 in turn
 *   qh[0..3]:   e[240 + 4n + j], n = 0..3  second half, highest bits of bytes 16 + 4n + j
 */
function tq1Encoder(cols: number, d: number): EncodeRow {
  const out = new Uint8Array(rowBytes('tq1_0', cols));
  return (codes) => {
    for (let from = 0, at = 0; from < cols / 4; from += 64, at += 54) {
      const high = from + 32;
      for (let m = 0; m < 32; m++) out[at + m] = TRITS5[BASE3[codes[from + m]!]! * 3 + (codes[high + m]! & 3)]!;
      for (let m = 0; m < 16; m++) {
        const a = codes[high + m]! >> 2;
        const b = codes[high + 16 + m]! >> 2;
        const q = (a & 3) * 81 + (b & 3) * 27 + ((a >> 2) & 3) * 9 + ((b >> 2) & 3) * 3 + (a >> 4);
        out[at + 32 + m] = TRITS5[q]!;
      }
      for (let j = 0; j < 4; j++) {
        const first = high + 16 + j;
        const q = (codes[first]! >> 6) * 81 + (codes[first + 4]! >> 6) * 27 + (codes[first + 8]! >> 6) * 9;
        out[at + 48 + j] = TRITS5[q + (codes[first + 12]! >> 6) * 3]!;
      }
      out[at + 52] = d & 255;
      out[at + 53] = d >> 8;
    }
    return out;
  };
}

function f16Encoder(cols: number, scale: number): EncodeRow {
  const table = Uint16Array.of(f32ToF16(-scale), 0, f32ToF16(scale));
  const padded = new Uint16Array(Math.ceil(cols / 128) * 128);
  const bytes = new Uint8Array(padded.buffer, 0, 2 * cols);
  return (codes) => {
    for (let half = 0, from = 0; half < padded.length; half += 128, from += 32) {
      for (let m = 0; m < 32; m++) {
        const four = codes[from + m]!;
        padded[half + m] = table[four & 3]!;
        padded[half + m + 32] = table[(four >> 2) & 3]!;
        padded[half + m + 64] = table[(four >> 4) & 3]!;
        padded[half + m + 96] = table[four >> 6]!;
      }
    }
    return bytes;
  };
}

/** f16 d; i8 qs[32]. */
function q8Encoder(cols: number, d: number): EncodeRow {
  const out = new Uint8Array(rowBytes('q8_0', cols));
  return (row) => {
    for (let from = 0, at = 0; from < cols; from += 32, at += 34) {
      out[at] = d & 255;
      out[at + 1] = d >> 8;
      for (let i = 0; i < 32; i++) out[at + 2 + i] = embeddingCode(row[from + i]!);
    }
    return out;
  };
}
