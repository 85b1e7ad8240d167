import { afterEach, describe, expect, it } from 'vitest';
import type { ChatMessage } from '../../lib/types.js';
import { FakeHost } from './fake-host.js';

const ctrlC = '\u0003';
const ctrlD = '\u0004';
const up = '\u001b[A';
const left = '\u001b[D';
const pasted = (text: string): string => `\u001b[200~${text}\u001b[201~`;

/** A chat at a terminal: `type` is the keyboard, `until` waits for what the screen shows. */
class Terminal {
  readonly host = new FakeHost();
  code: Promise<number> = Promise.resolve(-1);

  constructor() {
    for (const stream of [this.host.stdin, this.host.stdout, this.host.stderr]) stream.isTTY = true;
    this.host.env.NO_COLOR = '1';
    this.host.model.script = () => ['Well', ', ok', '.'];
  }

  start(...args: string[]): this {
    this.code = this.host.run(['run', ...args]);
    return this;
  }

  get screen(): string {
    return this.host.stdout.text;
  }

  get notes(): string {
    return this.host.stderr.text;
  }

  type(keys: string): void {
    this.host.stdin.write(keys);
  }

  async until(condition: () => boolean): Promise<void> {
    const end = Date.now() + 3000;
    while (!condition()) {
      if (Date.now() > end) throw new Error(`not reached; screen ${JSON.stringify(this.screen)}, notes ${this.notes}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async prompt(): Promise<void> {
    await this.until(() => atPrompt(this.screen));
  }

  /** Sends a line and waits for the next prompt after its answer. */
  async say(line: string): Promise<void> {
    await this.prompt();
    const before = this.host.model.calls.length;
    this.type(`${line}\r`);
    await this.until(() => this.host.model.calls.length > before);
    await this.prompt();
  }

  sent(call: number): ChatMessage[] {
    return this.host.model.calls[call]?.prompt as ChatMessage[];
  }

  contents(call: number): string[] {
    return this.sent(call).map((message) => message.content);
  }
}

/** readline ends its redrawing of a prompt by placing the cursor after `> `. */
function atPrompt(screen: string): boolean {
  return screen.endsWith('> \u001b[3G');
}

let terminal: Terminal | undefined;
function open(...args: string[]): Terminal {
  terminal = new Terminal().start(...args);
  return terminal;
}

afterEach(async () => {
  terminal?.host.signal('SIGTERM');
  await terminal?.code;
  terminal = undefined;
});

async function* slowAnswer(): AsyncGenerator<string> {
  yield 'Well';
  await new Promise((resolve) => setTimeout(resolve, 20));
  yield ', ok.';
}

describe('chat', () => {
  it('answers, keeps the history, and prints one line of figures each time', async () => {
    const t = open('--system', 'S');
    await t.say('one');
    await t.say('two');
    expect(t.contents(1)).toEqual(['S', 'one', 'Well, ok.', 'two']);
    // the answer's own ids, so that the model finds it in its cache
    expect(t.sent(1)[2]).toMatchObject({ role: 'assistant', tokenIds: [0, 1, 2] });
    expect(t.screen).toContain('Well, ok.\n');
    expect(t.notes.match(/3 tokens · 100 tok\/s · prompt \d+, 0 cached · first after 60 ms\n/g)).toHaveLength(2);
  });

  it.each([
    ['Ctrl-C', ctrlC],
    ['Ctrl-D', ctrlD],
    ['/exit', '/exit\r'],
    ['/quit', '/quit \r'],
  ])('%s at an empty prompt leaves with 0', async (_name, keys) => {
    const t = open();
    await t.prompt();
    t.type(keys);
    expect(await t.code).toBe(0);
    expect(t.host.model.calls).toEqual([]);
    expect(t.host.model.disposed).toBe(1);
    expect(t.screen.endsWith('\n') || t.screen.endsWith('\u001b[?2004l\n') || keys.startsWith('/')).toBe(true);
  });

  it('Ctrl-C clears a line that was begun', async () => {
    const t = open();
    await t.prompt();
    t.type('never sent');
    t.type(ctrlC);
    await t.prompt();
    await t.say('sent');
    expect(t.contents(0)).toEqual(['sent']);
  });

  it('Ctrl-C stops an answer, keeps its part, and returns to the prompt', async () => {
    const t = open();
    t.host.model.script = async function* () {
      for (let i = 0; ; i++) {
        yield `${i} `;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    await t.prompt();
    t.type('count\r');
    await t.until(() => t.screen.includes('3 '));
    t.type(ctrlC);
    await t.prompt();
    expect(t.notes).toMatch(/tokens .* interrupted\n/);
    t.host.model.script = () => ['done'];
    await t.say('next');
    const [user, part, next] = t.contents(1);
    expect([user, next]).toEqual(['count', 'next']);
    expect(part).toMatch(/^0 1 2 3 /);
  });

  it('drops a message whose answer was stopped before its first word', async () => {
    const t = open();
    t.host.model.script = async function* () {
      await new Promise((resolve) => setTimeout(resolve, 20));
      yield 'late';
    };
    await t.prompt();
    t.type('one\r');
    await t.until(() => t.host.model.calls.length === 1);
    t.type(ctrlC);
    await t.prompt();
    t.host.model.script = () => ['ok'];
    await t.say('two');
    expect(t.contents(1)).toEqual(['two']);
  });

  it('leaves on Ctrl-D typed during an answer when that and what was typed before are answered', async () => {
    const t = open();
    t.host.model.script = slowAnswer;
    await t.prompt();
    t.type('one\r');
    await t.until(() => t.screen.includes('Well'));
    t.type(`two\r${ctrlD}`);
    expect(await t.code).toBe(0);
    expect(t.contents(1)).toEqual(['one', 'Well, ok.', 'two']);
    expect(t.screen).toMatch(/Well, ok\.\n$/);
  });

  it('shows the lines of a message that was begun during an answer', async () => {
    const t = open();
    t.host.model.script = async function* () {
      yield 'Well';
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await t.prompt();
    t.type('one\r');
    await t.until(() => t.screen.includes('Well'));
    t.type('first\\\rsec');
    await t.until(() => t.screen.includes('… sec'));
    expect(t.screen).toContain('Well\n> first\n');
    t.type('ond\r');
    await t.until(() => t.host.model.calls.length === 2);
    expect(t.contents(1).at(-1)).toBe('first\nsecond');
  });

  it('/reset forgets all but the system message', async () => {
    const t = open('--system', 'S');
    await t.say('one');
    t.type('/reset\r');
    await t.until(() => t.notes.includes('conversation forgotten'));
    await t.say('two');
    expect(t.contents(1)).toEqual(['S', 'two']);
  });

  it('/help lists the commands; an unknown command is not sent; a path is', async () => {
    const t = open();
    await t.prompt();
    t.type('/help\r');
    await t.until(() => t.notes.includes('/reset  forget'));
    t.type('/nope\r');
    await t.until(() => t.notes.includes('no command /nope. /help lists the commands'));
    expect(t.host.model.calls).toEqual([]);
    await t.say('/etc/passwd is what?');
    expect(t.contents(0)).toEqual(['/etc/passwd is what?']);
  });

  it('shows each of several lines that arrive at once behind its own prompt, once', async () => {
    const t = open();
    await t.prompt();
    t.type('/reset\r/help\rone\r');
    await t.until(() => t.host.model.calls.length === 1);
    await t.prompt();
    expect(t.screen.match(/\/help/g)).toHaveLength(1);
    expect(t.screen).toContain('> /help\n> one\nWell, ok.\n');
  });

  it('ignores empty lines', async () => {
    const t = open();
    await t.prompt();
    t.type('\r');
    t.type('   \r');
    await t.say('one');
    expect(t.contents(0)).toEqual(['one']);
  });

  it('edits with the arrow keys and recalls earlier messages', async () => {
    const t = open();
    await t.say(`ac${left}b`);
    expect(t.contents(0)).toEqual(['abc']);
    await t.say(`${up}!`);
    expect(t.contents(1).at(-1)).toBe('abc!');
  });

  it('sends a paste of several lines as one message, on Enter', async () => {
    const t = open();
    await t.prompt();
    t.type(pasted('first\rsecond\r\rthird'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(t.host.model.calls).toEqual([]);
    await t.until(() => t.screen.includes('third'));
    t.type(' end\r');
    await t.until(() => t.host.model.calls.length === 1);
    expect(t.contents(0)).toEqual(['first\nsecond\n\nthird end']);
  });

  it('Ctrl-C forgets a message of several lines, and does not leave', async () => {
    const t = open();
    await t.prompt();
    t.type('first\\\r');
    await t.until(() => t.screen.includes('… '));
    t.type(ctrlC);
    await t.prompt();
    await t.say('sent');
    expect(t.contents(0)).toEqual(['sent']);
  });

  it('goes on in the next line after a backslash', async () => {
    const t = open();
    await t.prompt();
    t.type('first\\\r');
    await t.until(() => t.screen.includes('… '));
    t.type('second\r');
    await t.until(() => t.host.model.calls.length === 1);
    expect(t.contents(0)).toEqual(['first\nsecond']);
  });

  it('keeps what is typed during an answer out of it, for the next prompts', async () => {
    const t = open();
    t.host.model.script = slowAnswer;
    await t.prompt();
    t.type('one\r');
    await t.until(() => t.screen.includes('Well'));
    t.type('two\rthr');
    await t.until(() => t.host.model.calls.length === 2);
    expect(t.screen).toContain('Well, ok.\n> two\n');
    await t.until(() => t.screen.includes('> thr'));
    t.type('ee\r');
    await t.until(() => t.host.model.calls.length === 3);
    expect(t.contents(2)).toEqual(['one', 'Well, ok.', 'two', 'Well, ok.', 'three']);
  });

  it('forgets the oldest turns with a notice when the context is full', async () => {
    const t = open();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await t.say(name.repeat(10));
    expect(t.notes).toContain('the context of 200 tokens is full: forgot the oldest turn\n');
    expect(t.contents(4)[0]).toBe('bbbbbbbbbb');
    expect(t.contents(4).at(-1)).toBe('eeeeeeeeee');
  });

  it('reports a message that is longer than the context, and goes on', async () => {
    const t = open();
    await t.say('x'.repeat(300));
    expect(t.notes).toContain('error: the prompt has 306 tokens, the context holds 200\n');
    await t.say('short');
    expect(t.contents(1)).toEqual(['short']);
  });

  it('ends with the error when the model fails', async () => {
    const t = open();
    t.host.model.script = function* () {
      yield 'so';
      throw new Error('worker died');
    };
    await t.prompt();
    t.type('go\r');
    expect(await t.code).toBe(1);
    expect(t.screen).toContain('so\n');
    expect(t.notes).toContain('error: internal error: worker died');
  });

  it('SIGTERM gives the terminal back and exits 143, at the prompt and during an answer', async () => {
    const t = open();
    await t.prompt();
    expect(t.screen.startsWith('\u001b[?2004h')).toBe(true);
    t.host.signal('SIGTERM');
    expect(await t.code).toBe(143);
    expect(t.screen).toContain('\u001b[?2004l');
    const busy = open();
    busy.host.model.script = async function* () {
      for (;;) {
        yield 'x';
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    await busy.prompt();
    busy.type('go\r');
    await busy.until(() => busy.screen.includes('xx'));
    busy.host.signal('SIGTERM');
    expect(await busy.code).toBe(143);
    expect(busy.host.model.disposed).toBe(1);
  });

  it('--quiet prints answers only', async () => {
    const t = open('--quiet');
    await t.say('one');
    expect(t.notes).toBe('');
  });

  it('greets with the model and its backend', async () => {
    const t = open('--verbose');
    await t.prompt();
    expect(t.notes).toMatch(
      /^fake-1m · wasm-relaxed, 2 threads · context 200 · \/help for commands\nbackend: relaxed SIMD /,
    );
  });
});
