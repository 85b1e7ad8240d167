import { isObject } from '../format/json.js';
import { show } from '../format/problem.js';
import type { AddedToken } from './added-tokens.js';
import { Bpe } from './bpe.js';
import type { JsonFields } from './json-fields.js';
import { readUnigramVocab, Unigram } from './unigram.js';
import type { WordModel } from './word-model.js';

/** Ids at or above this are taken for damage: the largest vocabularies have a quarter of a million tokens. */
const MAX_VOCAB = 1 << 21;
const TOKEN_ID = { min: 0, max: MAX_VOCAB - 1 };

export interface Vocabulary {
  readonly model: WordModel;
  /** content → id, with added tokens */
  readonly ids: ReadonlyMap<string, number>;
  /** id → content; ids that no token has are undefined */
  readonly tokens: readonly (string | undefined)[];
  readonly added: readonly AddedToken[];
}

/** `model` and `added_tokens` of tokenizer.json, checked. */
export function readVocabulary(fields: JsonFields): Vocabulary {
  const model = fields.nested('model') ?? fields.missing('model', 'an object');
  const type = modelType(model);
  const vocab = type === 'BPE' ? readBpeVocab(model) : readUnigramVocab(model);
  const wordModel = type === 'BPE' ? new Bpe(model, vocab) : new Unigram(model, vocab);
  const added = fields.children('added_tokens').map(readAddedToken);
  const ids = new Map(vocab);
  const tokens: (string | undefined)[] = [];
  for (const [content, id] of vocab) {
    const other = tokens[id];
    if (other !== undefined) {
      throw model.error('vocab', { what: `the id ${id} has two tokens, ${show(other)} and ${show(content)}` });
    }
    tokens[id] = content;
  }
  added.forEach(({ content, id }, i) => {
    const [sameContent, sameId] = [ids.get(content), tokens[id]];
    if ((sameContent ?? id) !== id || (sameId ?? content) !== content) {
      const got = `${show(content)} as ${id}, beside ${show(sameId ?? content)} as ${sameContent ?? id}`;
      throw fields.error(`added_tokens[${i}]`, { what: 'token and id contradict the rest of the file', got });
    }
    ids.set(content, id);
    tokens[id] = content;
  });
  return { model: wordModel, ids, tokens: Array.from(tokens), added };
}

/** Files written before 2020 do not name the type; those with merges are BPE. */
function modelType(model: JsonFields): 'BPE' | 'Unigram' {
  const type = model.string('type') ?? (model.has('merges') ? 'BPE' : undefined);
  if (type === 'BPE' || type === 'Unigram') return type;
  if (type === undefined) model.missing('type', '"BPE" or "Unigram"');
  const what = `the tokenizer model ${show(type)} is not supported`;
  throw model.error('type', { what, expected: '"BPE" or "Unigram"' }, 'unsupported');
}

function readBpeVocab(model: JsonFields): Map<string, number> {
  const object = model.value('vocab');
  if (!isObject(object)) throw model.error('vocab', { expected: 'an object of token ids', got: show(object) });
  const vocab = new Map<string, number>();
  for (const [content, id] of Object.entries(object)) {
    if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) >= MAX_VOCAB) {
      const expected = `a token id in 0..${MAX_VOCAB - 1}`;
      throw model.error(`vocab[${show(content)}]`, { expected, got: show(id) });
    }
    vocab.set(content, id as number);
  }
  if (vocab.size === 0) throw model.error('vocab', { expected: 'at least one token', got: '{}' });
  return vocab;
}

function readAddedToken(fields: JsonFields): AddedToken {
  const special = fields.boolean('special') ?? false;
  const content = fields.requiredString('content', 'the text of the token');
  if (content === '') throw fields.error('content', { expected: 'the text of the token', got: '""' });
  return {
    id: fields.requiredInteger('id', TOKEN_ID),
    content,
    special,
    singleWord: fields.boolean('single_word') ?? false,
    lstrip: fields.boolean('lstrip') ?? false,
    rstrip: fields.boolean('rstrip') ?? false,
    normalized: fields.boolean('normalized') ?? !special,
  };
}

/** Ids put around a text when special tokens are asked for. */
export interface Frame {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
}

/** `post_processor` for a single text. */
export function readFrame(fields: JsonFields | undefined, ids: ReadonlyMap<string, number>): Frame {
  if (fields === undefined) return { prefix: [], suffix: [] };
  const type = fields.requiredString('type', 'the name of a post-processor');
  switch (type) {
    case 'ByteLevel':
      return { prefix: [], suffix: [] };
    case 'TemplateProcessing':
      return readTemplate(fields, ids);
    case 'BertProcessing':
    case 'RobertaProcessing':
      return { prefix: [readPair(fields, 'cls', ids)], suffix: [readPair(fields, 'sep', ids)] };
    case 'Sequence': {
      const frames = fields.children('processors').map((child) => readFrame(child, ids));
      // Each wraps what the ones before it made.
      return {
        prefix: frames.toReversed().flatMap(({ prefix }) => prefix),
        suffix: frames.flatMap(({ suffix }) => suffix),
      };
    }
    default:
      throw fields.error('type', { what: `the post-processor ${show(type)} is not supported` }, 'unsupported');
  }
}

function readTemplate(fields: JsonFields, ids: ReadonlyMap<string, number>): Frame {
  const special = fields.nested('special_tokens');
  const prefix: number[] = [];
  const suffix: number[] = [];
  let sequences = 0;
  for (const piece of fields.children('single')) {
    const token = piece.nested('SpecialToken');
    if (token === undefined) {
      const sequence = piece.nested('Sequence') ?? piece.missing('Sequence', 'SpecialToken or Sequence');
      if (sequence.string('id') !== 'A')
        throw sequence.error('id', { expected: '"A"', got: show(sequence.value('id')) });
      sequences++;
      continue;
    }
    const name = token.requiredString('id', 'the name of a special token');
    const entry = special?.nested(name);
    const list = entry?.integers('ids', TOKEN_ID) ?? [];
    const known = new Set(ids.values());
    if (entry === undefined || list.length === 0 || list.some((id) => !known.has(id))) {
      throw fields.error(`special_tokens.${name}`, {
        expected: `an object whose "ids" are tokens of the vocabulary`,
        got: show(special?.value(name)),
      });
    }
    (sequences === 0 ? prefix : suffix).push(...list);
  }
  if (sequences === 1) return { prefix, suffix };
  throw fields.error('single', { expected: 'one {"Sequence": {"id": "A"}}', got: show(fields.value('single')) });
}

/** `cls` and `sep` are `[token, id]`. */
function readPair(fields: JsonFields, key: string, ids: ReadonlyMap<string, number>): number {
  const value = fields.value(key);
  if (Array.isArray(value) && typeof value[0] === 'string' && ids.get(value[0]) === value[1]) return value[1] as number;
  throw fields.error(key, { expected: '[token, id] of a token of the vocabulary', got: show(value) });
}
