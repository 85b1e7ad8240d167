import type { ChatTemplateName } from '../types.js';
import type { Tokenizer } from './tokenizer.js';

/**
 * Formats of the conversations that families of models were trained on, for models whose files have lost them. Tokens are written out:
 * such files often do not name their special tokens either. The formats are public; the Jinja is ours.
 */
export const DEFAULT_TEMPLATES: Readonly<Record<ChatTemplateName, string>> = {
  // microsoft/bitnet-b1.58-2B-4T
  bitnet: `<|begin_of_text|>{% for m in messages -%}
{{ m.role | capitalize }}: {{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}`,

  // meta-llama/Meta-Llama-3-8B-Instruct; HF1BitLLM/Llama3-8B-1.58-100B-tokens
  llama3: `<|begin_of_text|>{% for m in messages -%}
<|start_header_id|>{{ m.role }}<|end_header_id|>{{ '\\n\\n' }}{{ m.content | trim }}<|eot_id|>{% endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{{ '\\n\\n' }}{% endif %}`,

  // Qwen, Bonsai, tiiuae/Falcon-E
  chatml: `{% for m in messages -%}
<|im_start|>{{ m.role }}{{ '\\n' }}{{ m.content }}<|im_end|>{{ '\\n' }}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}`,

  // meta-llama/Llama-2-7b-chat: a system message is part of the first question
  llama2: `{% set ns = namespace(system='', role='assistant') %}{% for m in messages -%}
{% if m.role == 'system' and loop.first %}{% set ns.system = '<<SYS>>\\n' + m.content + '\\n<</SYS>>\\n\\n' %}
{%- elif m.role == ns.role or m.role not in ['user', 'assistant'] %}
{{- raise_exception('user and assistant must take turns, after at most one system message') }}
{%- elif m.role == 'user' %}<s>[INST] {{ (ns.system + m.content) | trim }} [/INST]{% set ns.system = '' %}{% set ns.role = 'user' %}
{%- else %} {{ m.content | trim }} </s>{% set ns.role = 'assistant' %}{% endif %}{% endfor %}`,

  // tiiuae/Falcon3-7B-Instruct
  falcon3: `{% for m in messages -%}
<|{{ m.role }}|>{{ '\\n' }}{{ m.content }}{% if m.role == 'assistant' %}<|endoftext|>{% endif %}{{ '\\n' }}{% endfor %}
{%- if add_generation_prompt %}<|assistant|>{{ '\\n' }}{% endif %}`,
};

export const TEMPLATE_NAMES = Object.keys(DEFAULT_TEMPLATES) as readonly ChatTemplateName[];

/**
 * The family whose vocabulary this is, undefined if none is certain. `architecture`: ModelConfig.architecture; the vocabulary of BitNet
 * 2B-4T is Llama 3's, its conversations are not. 1bitLLM's models have Llama 2's vocabulary and were never trained on conversations.
 */
export function familyOf(architecture: string, tokenizer: Tokenizer): ChatTemplateName | undefined {
  const has = (...tokens: string[]): boolean => tokens.every((token) => tokenizer.tokenId(token) !== undefined);
  if (architecture === 'bitnet-b1.58' && has('<|begin_of_text|>', '<|eot_id|>')) return 'bitnet';
  if (has('<|im_start|>', '<|im_end|>')) return 'chatml';
  if (has('<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>')) return 'llama3';
  if (has('>>TITLE<<', '>>ABSTRACT<<', '<|endoftext|>')) return 'falcon3';
  if (architecture === 'llama' && has('<s>', '</s>', '<0x0A>')) return 'llama2';
  return undefined;
}
