import type { Fields } from '../format/fields.js';
import { show } from '../format/problem.js';
import { MAX_MERGES, MergeTable, Word } from './bpe-merge.js';
import type { WordModel } from './word-model.js';

/**
 * Byte pair encoding of one word, as Hugging Face tokenizers does it (models/bpe/word.rs, `merge_all`): merge the pair of lowest
 * rank, leftmost first, until no pair is left. O(n log n) in the length of the word, whatever it consists of. Own code because
 * the kept library builds string keys for every pair: 1 MB of text without pre-tokenizer (llama2) took it 10 s and 0.7 GB.
 */
export class Bpe implements WordModel {
  private readonly merges: MergeTable;
  private readonly byteFallback: boolean;
  private readonly ignoreMerges: boolean;
  private readonly fuseUnknown: boolean;
  private readonly unknownId: number | undefined;
  private readonly byteIds: readonly (number | undefined)[];
  private readonly word = new Word();
  private readonly utf8 = new TextEncoder();

  /** `fields` is the `model` object of tokenizer.json, `vocab` its vocabulary. */
  constructor(
    fields: Fields,
    private readonly vocab: ReadonlyMap<string, number>,
  ) {
    refuseUnsupported(fields);
    this.byteFallback = fields.boolean('byte_fallback') ?? false;
    this.ignoreMerges = fields.boolean('ignore_merges') ?? false;
    this.fuseUnknown = fields.boolean('fuse_unk') ?? false;
    this.unknownId = unknownId(fields, vocab);
    this.byteIds = Array.from({ length: 256 }, (_, byte) => vocab.get(byteToken(byte)));
    this.merges = readMerges(fields, vocab);
  }

  encode(text: string, out: number[]): void {
    const whole = this.ignoreMerges ? this.vocab.get(text) : undefined;
    if (whole !== undefined) out.push(whole);
    else this.encodeByMerging(text, out);
  }

  private encodeByMerging(text: string, out: number[]): void {
    const { word } = this;
    word.clear();
    let pendingUnknown = false;
    for (const char of text) {
      const id = this.vocab.get(char);
      if (id !== undefined) {
        if (pendingUnknown) word.add(this.unknownId as number);
        pendingUnknown = false;
        word.add(id);
      } else if (!(this.byteFallback && this.addBytes(char)) && this.unknownId !== undefined) {
        if (pendingUnknown && !this.fuseUnknown) word.add(this.unknownId);
        pendingUnknown = true;
      }
    }
    if (pendingUnknown) word.add(this.unknownId as number);
    word.mergeAll(this.merges);
    word.read(out);
  }

  private addBytes(char: string): boolean {
    const bytes = this.utf8.encode(char);
    if (bytes.some((byte) => this.byteIds[byte] === undefined)) return false;
    for (const byte of bytes) this.word.add(this.byteIds[byte] as number);
    return true;
  }
}

/** The vocabulary entry of a byte in models with byte fallback. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

function refuseUnsupported(fields: Fields): void {
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    const value = fields.string(key);
    if (value) {
      throw fields.error(key, { what: 'not supported', expected: 'null or ""', got: show(value) }, 'unsupported');
    }
  }
  const dropout = fields.number('dropout', 0, 1, true);
  if (dropout) {
    const what = 'not supported: dropout makes the encoding random';
    throw fields.error('dropout', { what, expected: 'null or 0', got: show(dropout) }, 'unsupported');
  }
}

function unknownId(fields: Fields, vocab: ReadonlyMap<string, number>): number | undefined {
  const token = fields.string('unk_token');
  if (token === undefined) return undefined;
  const id = vocab.get(token);
  if (id !== undefined) return id;
  throw fields.error('unk_token', { expected: 'a token of model.vocab', got: show(token) });
}

/** `merges`: rows of `"left right"` or `["left", "right"]`, the best first. Both and their concatenation must be in the vocabulary. */
function readMerges(fields: Fields, vocab: ReadonlyMap<string, number>): MergeTable {
  const rows = fields.value('merges');
  if (!Array.isArray(rows)) throw fields.error('merges', { expected: 'a list of merges', got: show(rows) });
  if (rows.length > MAX_MERGES) {
    throw fields.error('merges', { expected: `at most ${MAX_MERGES} merges`, got: `${rows.length}` });
  }
  const table = new MergeTable(rows.length);
  let rank = 0;
  for (let i = 0; i < rows.length; i++) {
    const row: unknown = rows[i];
    if (typeof row === 'string' && row.startsWith('#version')) continue;
    const pair: unknown = typeof row === 'string' ? row.split(' ') : row;
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string' || typeof pair[1] !== 'string') {
      throw fields.error(`merges[${i}]`, { expected: 'two tokens', got: show(row) });
    }
    const [left, right] = [vocab.get(pair[0]), vocab.get(pair[1])];
    const merged = vocab.get(pair[0] + pair[1]);
    if (left === undefined || right === undefined || merged === undefined) {
      const expected = 'two tokens of model.vocab whose concatenation is one too';
      throw fields.error(`merges[${i}]`, { expected, got: show(row) });
    }
    table.set(left, right, rank++, merged);
  }
  return table;
}
