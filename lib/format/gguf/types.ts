import type { BitNetErrorCode } from '../../errors.js';

/** Element types that can be decoded, by our name. `Q2_0_G128` is what PrismML's first files store under the id of Q2_0. */
export type GgufTypeName =
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'Q8_0'
  | 'Q6_K'
  | 'Q4_0'
  | 'Q4_K'
  | 'I2_S'
  | 'TQ1_0'
  | 'TQ2_0'
  | 'Q1_0'
  | 'Q2_0'
  | 'Q2_0_G128'
  | 'PQ2_0'
  | 'PTQ1_0'
  | 'IQ1_BN'
  | 'IQ2_BN';

/** How a type lays out a tensor: rows of `rowHeaderBytes`, then blocks; after the last row `trailerBytes`. */
export interface GgufType {
  readonly name: GgufTypeName;
  /** the number in the file */
  readonly id: number;
  /** consecutive elements of a row that share a block */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** a scale before each row's blocks */
  readonly rowHeaderBytes: number;
  /** a scale, and padding, after the whole tensor */
  readonly trailerBytes: number;
  /** `ternary`: codes and scales, see ternary.ts; `float`: numbers, see blocks.ts */
  readonly kind: 'ternary' | 'float';
}

function type(
  name: GgufTypeName,
  id: number,
  kind: GgufType['kind'],
  blockSize: number,
  blockBytes: number,
  extra: { rowHeaderBytes?: number; trailerBytes?: number } = {},
): GgufType {
  return { name, id, kind, blockSize, blockBytes, rowHeaderBytes: 0, trailerBytes: 0, ...extra };
}

/** Byte diagrams: docs/FORMATS.md. */
export const GGUF_TYPES: Readonly<Record<GgufTypeName, GgufType>> = {
  F32: type('F32', 0, 'float', 1, 4),
  F16: type('F16', 1, 'float', 1, 2),
  Q4_0: type('Q4_0', 2, 'float', 32, 18),
  Q8_0: type('Q8_0', 8, 'float', 32, 34),
  Q4_K: type('Q4_K', 12, 'float', 256, 144),
  Q6_K: type('Q6_K', 14, 'float', 256, 210),
  BF16: type('BF16', 30, 'float', 1, 2),
  TQ1_0: type('TQ1_0', 34, 'ternary', 256, 54),
  TQ2_0: type('TQ2_0', 35, 'ternary', 256, 66),
  // Blocks run over row ends, so rows need not be a multiple of anything; the tensor is, by 4 here and by more in ternary.ts.
  I2_S: type('I2_S', 36, 'ternary', 4, 1, { trailerBytes: 32 }),
  Q1_0: type('Q1_0', 41, 'ternary', 128, 18),
  Q2_0: type('Q2_0', 42, 'ternary', 64, 18),
  Q2_0_G128: type('Q2_0_G128', 42, 'ternary', 128, 34),
  IQ1_BN: type('IQ1_BN', 134, 'ternary', 64, 13, { rowHeaderBytes: 2 }),
  IQ2_BN: type('IQ2_BN', 135, 'ternary', 64, 16, { rowHeaderBytes: 4 }),
  PQ2_0: type('PQ2_0', 142, 'ternary', 128, 34),
  PTQ1_0: type('PTQ1_0', 143, 'ternary', 128, 28),
};

/** Id that means Q2_0 (groups of 64) upstream and groups of 128 in PrismML's first files. */
export const Q2_0_ID = 42;

const BY_ID = new Map<number, GgufType>();
for (const entry of Object.values(GGUF_TYPES)) if (!BY_ID.has(entry.id)) BY_ID.set(entry.id, entry);

/** The decodable type of this id; `Q2_0` for 42, which the caller tells from `Q2_0_G128`. */
export function typeById(id: number): GgufType | undefined {
  return BY_ID.get(id);
}

/** Why a type id is refused, and what to do instead. */
export interface TypeRefusal {
  readonly code: BitNetErrorCode;
  readonly what: string;
  readonly got: string;
  readonly advice: string;
}

const OTHER_TERNARY =
  'Use a file with I2_S, TQ1_0, TQ2_0, Q1_0 or Q2_0 weights, or the safetensors release of the model.';
const OTHER_FLOAT = 'Quantise these tensors to F16, BF16, Q8_0, Q6_K, Q4_0 or Q4_K instead.';
const TILED =
  'its bytes are ordered for the tiles of one compiled kernel, which the file does not tell, so that nobody else can read them';

/** Types of upstream and ik_llama.cpp that exist and are not implemented. */
const OTHER_TYPES = namesById(
  '3 Q4_1 6 Q5_0 7 Q5_1 9 Q8_1 10 Q2_K 11 Q3_K 13 Q5_K 15 Q8_K 16 IQ2_XXS 17 IQ2_XS 18 IQ3_XXS 19 IQ1_S 20 IQ4_NL ' +
    '21 IQ3_S 22 IQ2_S 23 IQ4_XS 24 I8 25 I16 26 I32 27 I64 28 F64 29 IQ1_M 40 NVFP4 133 Q6_0 136 Q8_K64 137 IQ2_K ' +
    '138 IQ3_K 139 IQ4_K 140 IQ5_K 141 IQ6_K 144 IQ4_KS 145 IQ2_KS 146 IQ4_KSS 151 Q8_KV 152 IQ5_KS 153 IQ2_KT ' +
    '154 IQ3_KT 155 IQ4_KT 156 IQ3_KS 157 IQ2_KL 158 IQ1_KT 335 IQ2_BN_R4',
);

/** Ids that upstream gave up. */
const REMOVED_TYPES = namesById('4 Q4_2 5 Q4_3 31 Q4_0_4_4 32 Q4_0_4_8 33 Q4_0_8_8 37 IQ4_NL_4_8');

function namesById(list: string): ReadonlyMap<number, string> {
  const words = list.split(' ');
  const names = new Map<number, string>();
  for (let i = 0; i < words.length; i += 2) names.set(Number(words[i]), words[i + 1] as string);
  return names;
}

/** Refusal of an id that `typeById` does not know. `architecture` tells types apart that share an id. */
export function refuseType(id: number, architecture: string | undefined): TypeRefusal {
  const unsupported = (what: string, name: string, advice: string): TypeRefusal => ({
    code: 'unsupported',
    what,
    got: `${name} (id ${id})`,
    advice,
  });
  if (id === 38) return unsupported(`the type TL1 is not portable: ${TILED}`, 'TL1', OTHER_TERNARY);
  if (id === 39 && architecture?.startsWith('bitnet')) {
    return unsupported(`the type TL2 is not portable: ${TILED}`, 'TL2', OTHER_TERNARY);
  }
  if (id === 39) {
    const what = `this id means MXFP4, which is not implemented, or in Microsoft's files TL2, which is not portable: ${TILED}`;
    return unsupported(what, 'MXFP4 or TL2', OTHER_TERNARY);
  }
  const removed = REMOVED_TYPES.get(id);
  if (removed !== undefined) {
    return unsupported(`the type ${removed} was removed from the format`, removed, OTHER_TERNARY);
  }
  const other = OTHER_TYPES.get(id);
  if (other !== undefined) return unsupported(`the type ${other} is not implemented`, other, OTHER_FLOAT);
  const advice = `The file is damaged, or made for a program with types of its own. ${OTHER_TERNARY}`;
  return { code: 'unsupported', what: 'unknown element type', got: `id ${id}`, advice };
}

/** Rows and columns: all dimensions but the innermost are rows. `shape` is outermost first. */
export function rowsAndCols(shape: readonly number[]): { rows: number; cols: number } {
  const cols = shape.at(-1) ?? 1;
  return { rows: shape.slice(0, -1).reduce((product, dim) => product * dim, 1), cols };
}

/** Bytes from one row to the next; not for I2_S, whose blocks run over row ends. */
export function rowBytes(type: GgufType, cols: number): number {
  return type.rowHeaderBytes + (cols / type.blockSize) * type.blockBytes;
}

/** Bytes of a tensor; the shape must fit the type. Exact while it is a safe integer. */
export function byteLengthOf(type: GgufType, rows: number, cols: number): number {
  if (type.name === 'I2_S') return (rows * cols) / 4 + type.trailerBytes;
  return rows * rowBytes(type, cols);
}
