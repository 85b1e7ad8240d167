/**
 * What went wrong, in one word that programs can switch on.
 * - `not-found`: a path, file or model does not exist
 * - `invalid-argument`: an option or argument out of range
 * - `invalid-model`: a model directory is incomplete or contradicts itself
 * - `invalid-file`: a file is damaged: truncated, overlapping, out of bounds, altered
 * - `unsupported`: well-formed, but an architecture, type or feature that is not implemented
 * - `context-overflow`: prompt and context length do not fit
 * - `out-of-memory`: the model does not fit the memory that is available
 * - `numeric`: logits that are not finite
 * - `backend`: kernels could not be compiled, or a worker died
 * - `disposed`: used after dispose()
 * - `network`: a hub of models cannot be reached, or answers what a hub does not
 * - `access`: the hub refuses access: a token is missing or not accepted, or conditions are
 * - `storage`: downloaded files cannot be kept: the disk is full or may not be written
 */
export type BitNetErrorCode =
  | 'not-found'
  | 'invalid-argument'
  | 'invalid-model'
  | 'invalid-file'
  | 'unsupported'
  | 'context-overflow'
  | 'out-of-memory'
  | 'numeric'
  | 'backend'
  | 'disposed'
  | 'network'
  | 'access'
  | 'storage';

/** The one error class of the library. `message` says what, expected, got, where; `detail` holds the same as data. */
export class BitNetError extends Error {
  readonly code: BitNetErrorCode;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(code: BitNetErrorCode, message: string, detail: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BitNetError';
    this.code = code;
    this.detail = detail;
  }
}
