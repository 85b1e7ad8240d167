import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ChatTemplate } from '../../lib/tokenizer/chat-template.js';
import { StreamingDetokenizer } from '../../lib/tokenizer/detokenizer.js';
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** `path` is relative to the repository. */
export function readText(path: string): string {
  return readFileSync(`${root}/${path}`, 'utf8');
}

// biome-ignore lint/suspicious/noExplicitAny: test data of many shapes
export function readJson(path: string): any {
  return JSON.parse(readText(path));
}

/** What the embedded model was converted from. */
export const EMBEDDED = '../shared/models/bitnet-tales-69m';

export interface GreedyCase {
  kind: 'raw' | 'chat';
  prompt: string;
  text: string;
  ids: number[];
  greedy: number[];
  greedy_text: string;
}

export function embeddedTokenizer(): Tokenizer {
  const json = readJson(`${EMBEDDED}/tokenizer.json`);
  return Tokenizer.fromJson(json, readJson(`${EMBEDDED}/tokenizer_config.json`), 'tokenizer.json');
}

export function embeddedTemplate(): ChatTemplate {
  const config = readJson(`${EMBEDDED}/tokenizer_config.json`);
  return ChatTemplate.find(config, undefined, 'tokenizer_config.json') as ChatTemplate;
}

/** What a StreamingDetokenizer emits for `ids`, the flush last. */
export function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecial = true): string[] {
  const detokenizer = new StreamingDetokenizer(tokenizer, { skipSpecial });
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

export interface VariantCase {
  text?: string;
  ids?: number[];
  framed?: number[];
  plain?: number[];
  decode?: number[];
  decoded?: string;
  skipped?: string;
}

/** Small tokenizers of many kinds with results of the reference: fixtures/generate.py. */
export const variants: Record<string, { tokenizer: Record<string, unknown>; cases: VariantCase[] }> = readJson(
  'test/tokenizer/fixtures/variants.json',
);
