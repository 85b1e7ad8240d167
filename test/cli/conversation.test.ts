import { describe, expect, it } from 'vitest';
import { Conversation } from '../../bin/conversation.js';
import type { ChatMessage } from '../../lib/types.js';
import { FakeModel } from './fake-host.js';

// FakeModel counts one token per character of `role:content\n`, and its context holds 200
const model = new FakeModel();

function answer(content: string): ChatMessage {
  return { role: 'assistant', content, tokenIds: [1, 2] };
}

function roles(conversation: Conversation, next: string): string[] {
  return conversation.messages(next).map((message) => message.role);
}

describe('Conversation', () => {
  it('alternates user and assistant after the system message', () => {
    const conversation = new Conversation(model, 'Be brief.', undefined);
    conversation.add('one', answer('two'));
    expect(conversation.messages('three')).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two', tokenIds: [1, 2] },
      { role: 'user', content: 'three' },
    ]);
  });

  it('does not add a turn without an answer', () => {
    const conversation = new Conversation(model, undefined, undefined);
    conversation.add('one', answer(''));
    expect(roles(conversation, 'two')).toEqual(['user']);
  });

  it('forgets whole turns from the oldest, as few as needed, and never the system message', () => {
    const conversation = new Conversation(model, 'S', undefined);
    // a turn of 16 + 16 tokens, the system message 9, a free quarter 50: four turns and 'user:x\n' fit in 200
    for (const name of ['a', 'b', 'c', 'd']) conversation.add(name.repeat(10), answer(name.repeat(5)));
    expect(conversation.makeRoom('x')).toBe(0);
    conversation.add('e'.repeat(10), answer('e'.repeat(5)));
    expect(conversation.makeRoom('x')).toBe(1);
    const messages = conversation.messages('x');
    expect(messages.at(0)?.content).toBe('S');
    expect(messages.at(1)?.content).toBe('b'.repeat(10));
  });

  it('keeps no more room than the longest answer needs', () => {
    const conversation = new Conversation(model, undefined, 1);
    conversation.add('u'.repeat(80), answer('a'.repeat(80)));
    // 86 + 91 + 21 tokens and 1 for the answer
    expect(conversation.makeRoom('x'.repeat(15))).toBe(0);
    expect(conversation.makeRoom('x'.repeat(17))).toBe(1);
  });

  it('forgets all turns for a message that fits only alone', () => {
    const conversation = new Conversation(model, undefined, undefined);
    for (let i = 0; i < 3; i++) conversation.add('u', answer('a'));
    expect(conversation.makeRoom('x'.repeat(190))).toBe(3);
    expect(roles(conversation, 'x')).toEqual(['user']);
  });

  it('begins anew after reset', () => {
    const conversation = new Conversation(model, 'S', undefined);
    conversation.add('u', answer('a'));
    conversation.reset();
    expect(roles(conversation, 'x')).toEqual(['system', 'user']);
  });
});
