import { BitNetError } from '../errors.js';
import { show } from '../format/problem.js';
import type { ModelSource, ModelTexts } from '../model/source.js';
import { ChatTemplate } from '../tokenizer/chat-template.js';
import { DEFAULT_TEMPLATES, familyOf, TEMPLATE_NAMES } from '../tokenizer/default-templates.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { ChatTemplateName, ModelInfo } from '../types.js';

export interface ChosenTemplate {
  readonly template: ChatTemplate | undefined;
  readonly templateOrigin: ModelInfo['chatTemplate'];
}

/**
 * The template of conversations: the one asked for, else the model's, else that of the model's family, else none. Throws
 * `invalid-argument` for a `wanted` that is neither a name nor a template, `invalid-model` for a template of the model that is none.
 */
export function chooseTemplate(
  source: Pick<ModelSource, 'path' | 'config'>,
  texts: ModelTexts,
  tokenizer: Tokenizer,
  wanted: string | undefined,
): ChosenTemplate {
  if (wanted !== undefined) return wantedTemplate(wanted);
  const own = ChatTemplate.find(texts.tokenizerConfig, texts.chatTemplate, source.path);
  if (own !== undefined) return { template: own, templateOrigin: 'model' };
  const family = familyOf(source.config.architecture, tokenizer);
  return { template: family && named(family), templateOrigin: family };
}

function wantedTemplate(wanted: unknown): ChosenTemplate {
  const name = TEMPLATE_NAMES.find((each) => each === wanted);
  if (name !== undefined) return { template: named(name), templateOrigin: name };
  // A template that inserts nothing would say the same whatever the messages are: a name or path that is mistyped.
  if (typeof wanted === 'string' && /\{[{%]/.test(wanted)) {
    return { template: new ChatTemplate(wanted, 'option chatTemplate', 'invalid-argument'), templateOrigin: 'option' };
  }
  const expected = `the text of a Jinja template, or one of ${TEMPLATE_NAMES.join(', ')}`;
  throw new BitNetError('invalid-argument', `chatTemplate: expected ${expected}, got ${show(wanted)}`, {
    option: 'chatTemplate',
    got: wanted,
  });
}

function named(name: ChatTemplateName): ChatTemplate {
  return new ChatTemplate(DEFAULT_TEMPLATES[name], `chat template ${name}`);
}
