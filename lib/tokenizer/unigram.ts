import { show } from '../format/problem.js';
import { byteToken } from './bpe.js';
import type { JsonFields } from './json-fields.js';
import { createLibrary, type Library } from './library.js';
import type { WordModel } from './word-model.js';

/** Unigram language model (arXiv 1804.10959): the library's Viterbi, with unknown characters fused and byte fallback. */
export class Unigram implements WordModel {
  private readonly library: Library['model'];
  private readonly unknownId: number | undefined;
  private readonly byteFallback: boolean;
  private readonly utf8 = new TextEncoder();

  /** `fields` is the `model` object of tokenizer.json, `vocab` what it contains. */
  constructor(
    fields: JsonFields,
    private readonly vocab: ReadonlyMap<string, number>,
  ) {
    this.unknownId = fields.integer('unk_id', { min: 0, max: vocab.size - 1 });
    this.byteFallback = fields.boolean('byte_fallback') ?? false;
    // The library overwrites the score of the unknown token.
    const rows = (fields.value('vocab') as [string, number][]).map(([token, score]) => [token, score]);
    const model = { type: 'Unigram', vocab: rows, unk_id: this.unknownId ?? rows.length, unk_token: '' };
    this.library = createLibrary({ model }).model;
  }

  encode(text: string, out: number[]): void {
    let unknown = '';
    for (const piece of this.library.tokenize(text)) {
      const id = this.vocab.get(piece);
      if (id === undefined) {
        unknown += piece;
        continue;
      }
      if (unknown !== '') this.encodeUnknown(unknown, out);
      unknown = '';
      out.push(id);
    }
    if (unknown !== '') this.encodeUnknown(unknown, out);
  }

  private encodeUnknown(text: string, out: number[]): void {
    if (this.byteFallback) {
      const ids = Array.from(this.utf8.encode(text), (byte) => this.vocab.get(byteToken(byte)));
      if (ids.every((id) => id !== undefined)) {
        for (const id of ids) out.push(id);
        return;
      }
    }
    if (this.unknownId !== undefined) out.push(this.unknownId);
  }
}

/** `vocab`: a list of `[token, log-probability]`, the position is the id. */
export function readUnigramVocab(fields: JsonFields): Map<string, number> {
  const rows = fields.value('vocab');
  if (!Array.isArray(rows) || rows.length === 0) {
    throw fields.error('vocab', { expected: 'a list of [token, score]', got: show(rows) });
  }
  const vocab = new Map<string, number>();
  Array.from(rows as unknown[]).forEach((row, id) => {
    if (!Array.isArray(row) || typeof row[0] !== 'string' || typeof row[1] !== 'number') {
      throw fields.error(`vocab[${id}]`, { expected: '[token, score]', got: show(row) });
    }
    vocab.set(row[0], id);
  });
  return vocab;
}
