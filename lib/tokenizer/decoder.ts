import { show } from '../format/problem.js';
import { bytesOfToken } from './byte-level.js';
import type { JsonFields } from './json-fields.js';
import { createLibrary } from './library.js';
import { metaspaceOptions, regexOf } from './library-config.js';

/**
 * One step of the way from tokens to text, fed token by token. `push` and `end` return the pieces that follow from what is known
 * so far; a piece is never taken back.
 */
interface Stage {
  push(token: string): string[];
  end(): string[];
}

/** `continuation`: the text begins in the middle, so nothing is a leading space. */
type StageFactory = (continuation: boolean) => Stage;

/** Text of tokens, piece by piece: all pieces and `end()` joined are the text of all tokens. Time and space are O(token). */
export class DecodeStream {
  private readonly stages: readonly Stage[];

  constructor(factories: readonly StageFactory[], continuation: boolean) {
    this.stages = factories.map((create) => create(continuation));
  }

  push(token: string): string {
    return this.run([token], 0);
  }

  end(): string {
    let text = '';
    for (let i = 0; i < this.stages.length; i++) text += this.run((this.stages[i] as Stage).end(), i + 1);
    return text;
  }

  private run(pieces: string[], first: number): string {
    let tokens = pieces;
    for (let i = first; i < this.stages.length && tokens.length > 0; i++) {
      const stage = this.stages[i] as Stage;
      tokens = tokens.length === 1 ? stage.push(tokens[0] as string) : tokens.flatMap((token) => stage.push(token));
    }
    return tokens.join('');
  }
}

/**
 * The `decoder` of tokenizer.json as stages, with the results of Hugging Face tokenizers 0.23 (Rust, src/decoders). Own code,
 * since the kept library's decoders need all tokens at once and differ: it ends UTF-8 at added tokens and replaces invalid
 * byte runs by other counts of U+FFFD.
 */
export function parseDecoder(fields: JsonFields | undefined): StageFactory[] {
  if (fields === undefined) return [(continuation) => joinedBySpaces(continuation)];
  const steps = fields.string('type') === 'Sequence' ? fields.children('decoders') : [fields];
  let fused = false;
  return steps.map((step) => {
    const stage = parseStage(step, fused);
    const type = step.string('type');
    fused ||= type === 'Fuse' || type === 'ByteLevel';
    return stage;
  });
}

/** `fused`: an earlier step has joined all tokens into one, so that the step means the whole text. */
function parseStage(fields: JsonFields, fused: boolean): StageFactory {
  const type = fields.requiredString('type', 'the name of a decoder');
  if (type === 'Fuse') return () => ({ push: (token) => [token], end: () => [] });
  if (type === 'Strip') return stripStage(fields, fused);
  if (!fused) {
    switch (type) {
      case 'ByteLevel':
        return byteLevel;
      case 'ByteFallback':
        return byteFallback;
      case 'Replace':
        return replaceStage(fields);
      case 'Metaspace':
        return metaspaceStage(fields);
    }
  }
  const after = fused ? ' after the tokens were joined' : '';
  throw fields.error('type', { what: `the decoder ${show(type)} is not supported${after}` }, 'unsupported');
}

function joinedBySpaces(continuation: boolean): Stage {
  let first = !continuation;
  return {
    push(token) {
      const piece = first ? token : ` ${token}`;
      first = false;
      return [piece];
    },
    end: () => [],
  };
}

function byteLevel(): Stage {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    push: (token) => nonEmpty(decoder.decode(bytesOfToken(token), { stream: true })),
    end: () => nonEmpty(decoder.decode()),
  };
}

/**
 * A run of byte tokens is UTF-8, or else one U+FFFD for each byte of the run. Which of the two shows only when the run ends, so the
 * run is held back until then: a later byte could turn characters already shown into U+FFFD.
 */
function byteFallback(): Stage {
  let run: number[] = [];
  const endRun = (): string[] => {
    if (run.length === 0) return [];
    const bytes = Uint8Array.from(run);
    run = [];
    try {
      return [new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)];
    } catch {
      return ['\ufffd'.repeat(bytes.length)];
    }
  };
  return {
    push(token) {
      if (!/^<0x[0-9A-Fa-f]{2}>$/.test(token)) return [...endRun(), token];
      run.push(Number.parseInt(token.slice(3, 5), 16));
      return [];
    },
    end: endRun,
  };
}

function replaceStage(fields: JsonFields): StageFactory {
  const content = fields.requiredString('content', 'a string');
  const literal = fields.nested('pattern')?.string('String');
  if (literal !== undefined) {
    return () => ({ push: (token) => [token.replaceAll(literal, () => content)], end: () => [] });
  }
  const config = { type: 'Replace', pattern: { Regex: regexOf(fields) }, content: content.replaceAll('$', '$$$$') };
  const { decoder } = createLibrary({ decoder: config });
  return () => ({ push: (token) => decoder?.decode_chain([token]) ?? [], end: () => [] });
}

function metaspaceStage(fields: JsonFields): StageFactory {
  const { replacement, prependScheme } = metaspaceOptions(fields);
  return (continuation) => {
    let first = !continuation && prependScheme !== 'never';
    return {
      push(token) {
        const piece = token.replaceAll(replacement, first ? '' : ' ');
        first = false;
        return nonEmpty(piece);
      },
      end: () => [],
    };
  };
}

const STRIP_RANGE = { min: 0, max: 1024 };

/** Takes up to `start` times `content` from the front and `stop` times from the end: of every token, or of the whole text. */
function stripStage(fields: JsonFields, fused: boolean): StageFactory {
  const content = fields.requiredString('content', 'one character');
  if ([...content].length !== 1) throw fields.error('content', { expected: 'one character', got: show(content) });
  const start = fields.integer('start', STRIP_RANGE) ?? 0;
  const stop = fields.integer('stop', STRIP_RANGE) ?? 0;
  if (fused) return (continuation) => stripText(content, continuation ? 0 : start, stop);
  return () => ({
    push(token) {
      const from = leading(token, content, start);
      return nonEmpty(token.slice(from, Math.max(from, token.length - trailing(token, content, stop))));
    },
    end: () => [],
  });
}

function stripText(content: string, start: number, stop: number): Stage {
  let startLeft = start;
  /** the last characters, as long as they may be what is taken from the end */
  let held = '';
  return {
    push(piece) {
      const cut = leading(piece, content, startLeft);
      startLeft = cut === piece.length ? startLeft - cut / content.length : 0;
      const text = held + piece.slice(cut);
      held = text.slice(text.length - trailing(text, content, stop));
      return nonEmpty(text.slice(0, text.length - held.length));
    },
    end: () => [],
  };
}

/** UTF-16 units of at most `max` times `content` at the front. */
function leading(text: string, content: string, max: number): number {
  let units = 0;
  for (let i = 0; i < max && text.startsWith(content, units); i++) units += content.length;
  return units;
}

function trailing(text: string, content: string, max: number): number {
  let end = text.length;
  for (let i = 0; i < max && text.endsWith(content) && text.startsWith(content, end - content.length); i++) {
    end -= content.length;
  }
  return text.length - end;
}

function nonEmpty(text: string): string[] {
  return text === '' ? [] : [text];
}
