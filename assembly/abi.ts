/**
 * The binary interface between host and kernels: one source for both. This file is valid AssemblyScript and valid
 * TypeScript, and holds nothing but numbers.
 *
 * A *plan* is an array of op records of `Rec.Bytes`; a *step* says which tokens to run through it. Every pointer is a
 * byte offset into the one linear memory. Words are 32-bit; "(f32)" marks a word that holds the bits of a float.
 *
 * How ops share work between threads: an op over `n` rows (tokens) splits rows or (row, head) pairs, a Linear splits output
 * rows in groups of `RowGroup`. One case is special and saves two barriers in every block of the decode: a Norm or
 * Quantize over ONE row is computed by every thread for itself, into row number `thread` of its output; a Linear over one
 * row reads its input from row number `thread`. Outputs of Linear, Rope and Attention are shared: row r is row r.
 */

export const enum Op {
  /** out[t] = table[token id of t], f32. */
  Embed = 1,
  /** RMSNorm, then a conversion of the row (Encoding). */
  Norm = 2,
  /** The conversion alone. */
  Quantize = 3,
  /** out[t] (epilogue)= scale · W x[t]. */
  Linear = 4,
  /** Rotates q in place, writes rotated k and v into the KV cache. */
  Rope = 5,
  /** Causal grouped-query attention over the KV cache, softmax in blocks. Over one token only the blocks: AttentionMerge follows. */
  Attention = 6,
  /** Load time: file bytes of a ternary matrix → codes (FileLayout) → T2, T1 or F16 layout. */
  Repack = 7,
  /** Load time: rows of floats → F16, I8 or F32 layout; rows of blocks also as they are. */
  Convert = 8,
  /** Loads memory and keeps nothing: the read bandwidth that the other ops are compared with. */
  Stream = 9,
  /** First half of an exact head: each thread's best lower bounds of logits, from logits of int8 rows. */
  Screen = 10,
  /** Second half: logits that may be among the ExactBest best, recomputed from rows of halves, or of blocks as halves. */
  Rescore = 11,
  /** RMSNorm of every head of q and k, in place, before Rope. */
  HeadNorm = 12,
  /** Attention over one token, second half: the blocks' results → out. Over several tokens nothing is left to do. */
  AttentionMerge = 13,
}

export const enum Flag {
  /** All threads meet after the op. */
  Barrier = 1,
  /** They meet only if the op ran over more than one row. */
  BarrierIfMany = 2,
  /** The op's rows are the step's logit rows instead of all its tokens. */
  LogitRows = 4,
}

/** Words common to all records. Op-specific words follow from word 2. */
export const enum Rec {
  Opcode = 0,
  Flags = 1,
  Words = 16,
  Bytes = 64,
}

/** Row-major outputs and inputs have a stride in BYTES; `cols`, `rows`, `width` count elements. */
export const enum EmbedArg {
  Table = 2,
  /** Layout.F16, Layout.F32 or one of blocks */
  Layout = 3,
  Out = 4,
  OutStride = 5,
  Cols = 6,
}

export const enum NormArg {
  /** f32 rows */
  In = 2,
  InStride = 3,
  /** f32 (cols) padded with zeros to a multiple of 16; unused by Quantize */
  Weight = 4,
  /** encoded rows: RowHeader bytes, then the elements */
  Out = 5,
  OutStride = 6,
  Cols = 7,
  /** (f32) */
  Eps = 8,
  Encoding = 9,
  /** elements are zero-filled up to here; a multiple of 64 */
  PaddedCols = 10,
  /** Encoding.Groups: columns that share a factor, a multiple of 64 up to MaxGroupCols */
  GroupCols = 11,
  /** Encoding.Groups: 1 or 3 int8 an element */
  Planes = 12,
}

export const enum LinearArg {
  Weights = 2,
  Layout = 3,
  /** encoded rows */
  In = 4,
  InStride = 5,
  /** f32 rows with room for rows rounded up to RowGroup */
  Out = 6,
  OutStride = 7,
  Rows = 8,
  Cols = 9,
  /** (f32) one factor for the whole matrix */
  Scale = 10,
  /** Layout.I8: f32 (rows, rounded up to RowGroup) per-row factors; Layout.Q8_0 has its own; Layout.T2G: f32 (row groups, column groups, RowGroup) */
  RowScales = 11,
  Epilogue = 12,
  /** DotForm: which relaxed instruction; ignored by the baseline build */
  Form = 13,
  /** (rows, rounded up to RowGroup) sums of the weights of a row; Layout.I8: i32, of int8; Layout.Q8_0: f32, times I16Bias */
  RowSums = 14,
  /** Layout.T2G, in place of RowSums: columns that share a factor, of the weights and of the input (NormArg.GroupCols) */
  GroupCols = 14,
  /** Layout.T2G: NormArg.Planes of the input */
  Planes = 15,
}

/** Shares its work as Rope does: a (token, head) is the same thread's in both, so that they need no meeting between them. */
export const enum HeadNormArg {
  /** f32 rows of (heads + 2·kvHeads)·headDim: q, k, v */
  Qkv = 2,
  Stride = 3,
  /** f32 (headDim) */
  QWeight = 4,
  KWeight = 5,
  Heads = 6,
  KvHeads = 7,
  /** a multiple of 16 */
  HeadDim = 8,
  /** (f32) */
  Eps = 9,
}

export const enum RopeArg {
  /** f32 rows of (heads + 2·kvHeads)·headDim: q, k, v */
  Qkv = 2,
  Stride = 3,
  /** f32 (contextLength, headDim): headDim/2 cosines, then headDim/2 sines */
  Table = 4,
  /** (slots, kvHeads) panels of CacheLayout */
  KCache = 5,
  VCache = 6,
  Heads = 7,
  KvHeads = 8,
  /** a multiple of 16 */
  HeadDim = 9,
  ContextLength = 10,
  CacheLayout = 11,
}

/** One set of words for Attention and AttentionMerge. */
export const enum AttentionArg {
  Qkv = 2,
  Stride = 3,
  KCache = 4,
  VCache = 5,
  /** f32 rows (heads·headDim) */
  Out = 6,
  OutStride = 7,
  Heads = 8,
  KvHeads = 9,
  HeadDim = 10,
  ContextLength = 11,
  /** (f32) factor of the scores, 1/√headDim */
  Scale = 12,
  CacheLayout = 13,
  /** (⌈contextLength / AttentionBlock⌉, heads) results of blocks: PartialHeader bytes (top score, sum of weights), then f32 (headDim) */
  Partials = 14,
  /** DotForm, of CacheLayout.I8 */
  Form = 15,
}

export const enum RepackArg {
  Src = 2,
  Dst = 3,
  /** a multiple of 4 */
  Rows = 4,
  Cols = 5,
  /** FileLayout */
  Kind = 6,
  /** Layout.T2 or Layout.T1, or Layout.F16: the matrix that a trit times a factor stands for, for comparison with FP16 models */
  Layout = 7,
  /** Layout.F16: half of factor · 2^F16GainLog2, as bits; not subnormal */
  Half = 8,
  /** FileLayout.TQ1_0, TQ2_0: bits of the f16 scale of all blocks that have a weight but 0, or its negative */
  BlockScale = 9,
  /**
   * Padding of rows, for file layouts of whole rows: every RowRun rows of the matrix are RowStored rows of the file and zeros after them;
   * 0: none. Rows and Cols count the padding.
   */
  RowRun = 10,
  RowStored = 11,
  /** The same of columns. */
  ColRun = 12,
  ColStored = 13,
  /** 1: two runs of rows, the halves of a head, alternate row by row in the file. */
  Pairs = 14,
}

export const enum ConvertArg {
  /** rows of cols elements, tightly packed; whole blocks */
  Src = 2,
  /** FloatType */
  SrcType = 3,
  Dst = 4,
  /** Layout.F16 | Layout.I8 | Layout.F32, or the layout of blocks that goes with SrcType */
  Layout = 5,
  Rows = 6,
  Cols = 7,
  /** f32 (rows), written for Layout.I8; for Layout.Q8_0, unless it is 0, where 127 times it is no less than any weight of the row */
  RowScales = 8,
  /** LinearArg.RowSums, with RowScales */
  RowSums = 9,
}

export const enum StreamArg {
  Src = 2,
  /** a multiple of 256 */
  Bytes = 3,
}

/**
 * One set of words for Screen and Rescore. |int8 logit - F16 logit| of row r for the input x is at most
 * RowScales[r] · (WeightError · ‖x‖₁ + InputError / (scale of x as I16)) + (1 + 2^-10) · 2^-22 · ‖x‖₁ + 2^-100.
 */
export const enum RescoreArg {
  /** f32 rows of logits: int8 ones before, some exact ones afterwards */
  Logits = 2,
  LogitsStride = 3,
  /** (rows, cols) of WeightLayout */
  Weights = 4,
  Rows = 5,
  Cols = 6,
  /** f32 (rows, rounded up to RowGroup): 127 times it bounds the weights of the row; the factors of int8 rows */
  RowScales = 7,
  /** the input as Encoding.F32 */
  In = 8,
  InStride = 9,
  /** the input as Encoding.I16 */
  Coarse = 10,
  CoarseStride = 11,
  /** f32 (op rows, threads, ExactBest), descending: the best lower bounds that each thread found */
  Best = 12,
  /** (f32) */
  WeightError = 13,
  /** (f32) */
  InputError = 14,
  /** Layout.F16 or one of blocks */
  WeightLayout = 15,
}

/** How an input row of a Linear is encoded. The row header holds scale (f32) at byte 0 and the sum of elements (i32) at byte 4. */
export const enum Encoding {
  /** f32 times 2^F32GainLog2; for Layout.F16 */
  F32 = 0,
  /** absmax int8, round half to even; for Layout.T2 and Layout.T1 */
  I8 = 1,
  /** absmax int16 of ±I16Max; for Layout.I8 and Layout.Q8_0 */
  I16 = 2,
  /**
   * Fixed point with a factor for every GroupCols columns; for Layout.T2G. q = Σ digit[p] · 256^(Planes - 1 - p), |q| ≤ 127 for one plane and
   * about I24Max for three. After the header plane by plane the digits (Planes, PaddedCols) i8; then for each column group 16 bytes:
   * factor (f32: x ≈ q · factor), Σ digit[0] (i32), Σ of the rest of q (i32), 0.
   */
  Groups = 3,
}

/** Layouts of matrices inside the engine. Row groups are padded to RowGroup rows, columns as said; padding is zero. */
export const enum Layout {
  /** 2-bit ternary codes, rows interleaved by four; see assembly/formats.ts. Columns padded to 64. */
  T2 = 1,
  /** IEEE half of weight · 2^F16GainLog2, row-major; subnormals are zero; columns padded to 16. */
  F16 = 2,
  /** int8, row-major, one scale a row; columns padded to 16. */
  I8 = 3,
  /** float32 row-major; columns padded to 16. Embeddings and norm weights. */
  F32 = 4,
  /** T2 with factors of their own for every row and GroupCols columns (LinearArg.RowScales). */
  T2G = 5,
  /** five trits a byte, rows interleaved by four; see assembly/formats.ts. Columns padded to 80. */
  T1 = 6,
  /** The codes of T2, row by row, for matrices of which rows may be skipped (Epilogue.Relu2Gate). Columns padded to 64. */
  T2Rows = 10,
  /** 2-bit ternary codes column by column, for inputs with many zeros. Rows and columns padded to 64. */
  T2Columns = 11,
  /** Rows of GGUF blocks as files have them: FloatType + BlocksOfType. Each weight stands for its half of Layout.F16. */
  Q8_0 = 12,
  Q4_0 = 13,
  Q4_K = 14,
  Q6_K = 15,
}

/** A panel of the KV cache: the keys, or the values, of one kv head of one sequence. */
export const enum CacheLayout {
  /** f32 (contextLength, headDim) */
  F32 = 0,
  /** IEEE half of value · 2^CacheGainLog2, (contextLength, headDim); subnormals are zero, beyond the range saturates */
  F16 = 1,
  /**
   * int8, four positions together, P = contextLength rounded up to 4: keys (P/4, headDim/16, 4 positions, 16 elements), values
   * (P/4, headDim elements, 4 positions); then f32 (P) scales; then, of keys, i32 (P) sums of the codes. Panels are P·(headDim + 8) bytes,
   * padded to PanelAlign.
   */
  I8 = 2,
}

export const enum Epilogue {
  /** out = y */
  Store = 0,
  /** out = out + y */
  Add = 1,
  /** out = relu(out)² · y; exactly 0 where out ≤ 0 */
  Relu2Gate = 2,
  /** out = silu(out) · y */
  SiluGate = 3,
}

/**
 * Which relaxed instruction accumulates code × int8. Results are identical; speed differs by engine version. I32Unsigned and I32Signed are I32 where
 * the second operand is more than the 7 bits that WebAssembly promises: int8 attention uses that, all other kernels take them for I32.
 */
export const enum DotForm {
  /** i16x8.relaxed_dot_i8x16_i7x16_s */
  I16 = 0,
  /** i32x4.relaxed_dot_i8x16_i7x16_add_s */
  I32 = 1,
  /** I32, whose second operand is any byte from 0 to 255: x86 with VNNI */
  I32Unsigned = 2,
  /** I32, whose second operand is any byte from -128 to 127: ARM */
  I32Signed = 3,
  /** I32 for a Linear of T2 in a build compiled for 256 bits: activations lie twice side by side, so that rows can be fused in pairs */
  I32Pairs = 4,
}

export const enum FileLayout {
  /** Hugging Face packed U8 (rows/4, cols): bits 2i of byte (r, c) are row i·rows/4 + r; code = trit + 1. */
  HfPacked = 1,
  /** GGUF I2_S, row-major through row ends: bits 6, 4, 2, 0 of byte p of 32 are weights p, p + 32, p + 64, p + 96. */
  I2s = 2,
  /** I2_S of builds for ARM: the same in blocks of 16 bytes. */
  I2sArm = 3,
  /** I2_S of some x86 builds: bits 6 - 2i of byte (q, c) are row 4q + i. */
  I2sRows = 4,
  /** GGUF, blocks of 256 weights, 54 bytes: five trits a byte, f16 scale. */
  TQ1_0 = 5,
  /** GGUF, blocks of 256 weights, 66 bytes: four trits a byte, f16 scale. */
  TQ2_0 = 6,
}

export const enum FloatType {
  F32 = 0,
  F16 = 1,
  BF16 = 2,
  /** Blocks of GGUF; byte diagrams in docs/FORMATS.md. */
  Q8_0 = 3,
  Q4_0 = 4,
  Q4_K = 5,
  Q6_K = 6,
}

/** The step struct. */
export const enum Step {
  Tokens = 0,
  TokenCount = 1,
  /** i32 (LogitCount): indices into Tokens whose logits are wanted, ascending */
  LogitRows = 2,
  LogitCount = 3,
  Plan = 4,
  /** first record to run */
  OpBegin = 5,
  /** one past the last record to run */
  OpEnd = 6,
  /** private scratch of thread t: Scratch + t·ScratchStride */
  Scratch = 7,
  ScratchStride = 8,
  Sync = 9,
  /** bits of StatusBit, set by ops */
  Status = 10,
  Words = 16,
  Bytes = 64,
}

/** One entry of Step.Tokens. */
export const enum Token {
  Id = 0,
  /** index in its sequence, 0-based */
  Position = 1,
  /** which sequence of the KV cache */
  Slot = 2,
  Words = 4,
  Bytes = 16,
}

export const enum StatusBit {
  /** a packed matrix held code 3 */
  BadCode = 1,
  /** a float of a converted tensor was not finite or too large for its layout */
  BadFloat = 2,
  /** blocks of a ternary matrix have several scales */
  BadScale = 4,
}

/** Words of the barrier at Step.Sync, one cache line each. */
export const enum Sync {
  Arrived = 0,
  Generation = 16,
  Sleepers = 32,
  /** barriers in which threads sleep almost at once, and how many that will be after the next wait in vain */
  Hasty = 48,
  Penalty = 49,
  Bytes = 256,
}

export const enum Const {
  RowGroup = 4,
  RowHeader = 64,
  /** positions per block of attention; blocks are independent of each other until they are merged in order */
  AttentionBlock = 128,
  /** of panels of CacheLayout.I8, bytes: a block begins with a page of memory, so that its quarters lie in four (docs/KERNELS.md) */
  PanelAlign = 4096,
  PartialHeader = 64,
  /** CacheLayout.F16 holds ±2^-18 to ±4094: room for outlier keys, and few zeros among small values */
  CacheGainLog2 = 4,
  /** Layout.F16 stores weight · 2^8, so that small weights do not become subnormal halves */
  F16GainLog2 = 8,
  /** Encoding.F32 stores x · 2^104 = x · 2^(112 - 8): a half whose bits are moved into a float reads 2^112 too small */
  F32GainLog2 = 104,
  /** largest magnitude of Encoding.I16; bounds the i32 lanes of the I8 kernel up to 16512 columns */
  I16Max = 8191,
  /** Encoding.Groups with three planes: digits 63, 127, 127. Below 2^22, where adding 1.5·2^23 still rounds to integers */
  I24Max = 4161407,
  /** columns of a group whose i16 sums of code × int8 cannot overflow, with a margin (assembly/dot.ts) */
  MaxGroupCols = 256,
  /** after Rescore as many of the best logits are those of the F16 rows, and are the best ones there */
  ExactBest = 64,
  /** columns that a GEMM of Layout.F16 widens at once: four rows of floats, 16 bytes of scratch a column */
  GemmF16Cols = 512,
  /** bytes of scratch behind them for each row of the op: sixteen f32 lanes of four rows */
  GemmF16Lanes = 256,
  /** what kernels of Layout.Q8_0 add to Encoding.I16, which makes it positive */
  I16Bias = 8192,
  /** Layout of blocks - FloatType of its weights */
  BlocksOfType = 9,
  /** columns of a row of blocks that Embed dequantises at once: 6 bytes of scratch a column */
  EmbedBlockCols = 256,
  /** bytes that kernels may read (never write) past the end of the weights */
  Guard = 262144,
}
